"""The bits and limits that planning chooses, where they bind: the largest operands fit int32, and with one bit more they do not.

The worst case is counted here, pixel by pixel in Python's integers; then golden and C run at the very operands that reach it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph import Graph, Padding
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.base import Block, Window
from mcutrain.ops.bias_gradient import BIAS_GRADIENT_B16, BiasGradientParams
from mcutrain.ops.bounds import forward_terms, largest_bias
from mcutrain.ops.conv2d import CONV2D_S8, Conv2dS8Params
from mcutrain.ops.conv2d_gradient import (
    CONV2D_ERROR_B16,
    CONV2D_WEIGHT_GRADIENT_B16,
    Conv2dGradientParams,
    input_shape,
    output_shape,
    weight_shape,
)
from mcutrain.ops.depthwise_conv2d import DEPTHWISE_CONV2D_S8, DepthwiseConv2dS8Params
from mcutrain.ops.depthwise_conv2d_gradient import (
    DEPTHWISE_CONV2D_ERROR_B16,
    DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16,
    DepthwiseWeightGradientParams,
    depthwise_weight_shape,
)
from mcutrain.ops.error_normalize import ERROR_NORMALIZE_B16
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ERROR_SCALE_B16, ErrorScaleParams
from mcutrain.ops.errors import FULL_MANTISSA_BITS, GRADIENT_MANTISSA_BITS, conv_mantissa_bits, scale_to_int32
from mcutrain.ops.pool_gradient import (
    AVERAGE_POOL_ERROR_B16,
    MAX_POOL_ERROR_B16,
    AveragePoolErrorParams,
    MaxPoolErrorParams,
)
from mcutrain.ops.rules.pool import average_headroom_bits
from support.backward_cases import golden_and_c_agree, windows
from support.ckernels import block16, block32, forms
from support.examples import examples
from support.networks import NetBuilder

INT32_MAX = 2**31 - 1
FULL_MANTISSA = 2**15 - 1

both_forms = pytest.mark.parametrize("form", forms)
both_signs = pytest.mark.parametrize("sign", [-1, 1])


def meetings(size: int, outputs: int, kernel: int, stride: int, pad: int) -> list[list[int]]:
    """The outputs that read each pixel, along one axis."""
    readers: list[list[int]] = [[] for _ in range(size)]
    for output in range(outputs):
        for pixel in range(output * stride - pad, output * stride - pad + kernel):
            if 0 <= pixel < size:
                readers[pixel].append(output)
    return readers


def rows_and_columns(w: Window) -> tuple[list[list[int]], list[list[int]]]:
    rows = meetings(w.in_height, w.out_height, w.kernel_height, w.stride_height, w.pad_top)
    return rows, meetings(w.in_width, w.out_width, w.kernel_width, w.stride_width, w.pad_left)


def saturated(shape: tuple[int, ...], bits: int, sign: int = 1) -> Block:
    block = block16(shape)
    block.mantissa[...] = sign * (2**bits - 1)
    return block


# The scaled error of a convolution


def most_products_of_dx(w: Window) -> int:
    """In the sum of the input pixel that the most outputs read."""
    rows, columns = rows_and_columns(w)
    return max(map(len, rows)) * max(map(len, columns)) * w.out_channels


def most_products_of_dw(w: Window) -> int:
    """In the sum of the tap that lies inside the image for the most outputs."""

    def along(size: int, outputs: int, kernel: int, stride: int, pad: int) -> int:
        return max(sum(0 <= o * stride + tap - pad < size for o in range(outputs)) for tap in range(kernel))

    rows = along(w.in_height, w.out_height, w.kernel_height, w.stride_height, w.pad_top)
    return rows * along(w.in_width, w.out_width, w.kernel_width, w.stride_width, w.pad_left)


def worst_sums(w: Window, bits: int) -> dict[str, int]:
    """The largest magnitude of each backward sum: mantissas of ``bits`` bits, weights of -128, codes 255 from their zero point."""
    mantissa = 2**bits - 1
    return {
        "dX": most_products_of_dx(w) * 128 * mantissa,
        "dW": most_products_of_dw(w) * 255 * mantissa,
        "db": w.out_height * w.out_width * mantissa,
    }


def image(side: int, kernel: int, stride: int = 1, channels: int = 1) -> Window:
    """A square convolution with SAME padding, one input channel and ``channels`` output channels."""
    out, pad = -(-side // stride), (kernel - 1) // 2
    return Window(side, side, 1, out, out, channels, kernel, kernel, stride, stride, pad, pad)


# One pixel, one output channel or one tap more costs a bit: 128 * 8196 * 2047 and 255 * 4114 * 2047 are the last within int32.
BINDING = {
    "96 x 96": (image(96, 3), 9),
    "128 x 128": (image(128, 1), 9),
    "192 x 192 of stride 2": (image(192, 3, stride=2), 9),
    "the most pixels of 11 bits": (Window(2, 2057, 1, 2, 2057, 1, 1, 1, 1, 1, 0, 0), 11),
    "one row of pixels more": (Window(5, 823, 1, 5, 823, 1, 1, 1, 1, 1, 0, 0), 10),
    "the most channels of 11 bits": (image(5, 3, channels=910), 11),
    "3 x 3 taps of one channel more than 11 bits take": (image(5, 3, channels=911), 10),
    "5 x 5 taps of stride 2 and 911 channels": (image(9, 5, stride=2, channels=911), 10),
    "3 x 5 taps of stride 3 and 1": (Window(7, 9, 1, 3, 9, 1640, 3, 5, 3, 1, 1, 2), 10),
    "a fully connected layer of 8,196": (Window(1, 1, 3, 1, 1, 8196, 1, 1, 1, 1, 0, 0), 11),
    "a fully connected layer of 8,197": (Window(1, 1, 3, 1, 1, 8197, 1, 1, 1, 1, 0, 0), 10),
}

binding = pytest.mark.parametrize(("w", "bits"), BINDING.values(), ids=BINDING)


@binding
def test_the_largest_sums_fit_and_with_one_bit_more_they_do_not(w: Window, bits: int) -> None:
    assert conv_mantissa_bits(w) == bits
    assert max(worst_sums(w, bits).values()) <= INT32_MAX
    assert bits == GRADIENT_MANTISSA_BITS or max(worst_sums(w, bits + 1).values()) > INT32_MAX


@examples(60)
@given(w=windows())
def test_the_largest_sums_of_any_convolution_fit(w: Window) -> None:
    for wide in (w, replace(w, out_channels=w.out_channels * 400)):
        assert max(worst_sums(wide, conv_mantissa_bits(wide)).values()) <= INT32_MAX


@both_signs
@both_forms
@binding
def test_the_kernels_reach_the_largest_sums_at_the_chosen_bits(w: Window, bits: int, form: str, sign: int) -> None:
    """And golden refuses the first bit that planning refuses."""
    expected = worst_sums(w, conv_mantissa_bits(w))
    views: dict[str, Any] = {
        "g": saturated(output_shape(w), conv_mantissa_bits(w), sign),
        "x": np.full(input_shape(w), 127, np.int8),
        "weights": np.full(weight_shape(w), -128, np.int8),
        "sums": block32(input_shape(w)),
        "gradient": block32(weight_shape(w)),
    }
    dx = {name: views[name] for name in ("g", "weights", "sums")}
    dw = {name: views[name] for name in ("x", "g", "gradient")}
    db = {"g": views["g"], "gradient": block32((w.out_channels,))}
    params = Conv2dGradientParams(w, -128)
    pixels = BiasGradientParams(w.out_height * w.out_width, w.out_channels)
    sums = golden_and_c_agree(form, CONV2D_ERROR_B16, params, dx)["sums"].mantissa
    assert int(np.abs(sums.astype(np.int64)).max()) == expected["dX"] and np.sign(sums).min() == -sign
    gradient = golden_and_c_agree(form, CONV2D_WEIGHT_GRADIENT_B16, params, dw)["gradient"].mantissa
    assert int(np.abs(gradient.astype(np.int64)).max()) == expected["dW"] and np.sign(gradient).max() == sign
    biases = golden_and_c_agree(form, BIAS_GRADIENT_B16, pixels, db)["gradient"].mantissa
    assert (biases == sign * expected["db"]).all()
    if bits < GRADIENT_MANTISSA_BITS:
        views["g"].mantissa[...] = sign * (2 ** (bits + 1) - 1)
        beyond = worst_sums(w, bits + 1)
        kernel = CONV2D_ERROR_B16 if beyond["dX"] > INT32_MAX else CONV2D_WEIGHT_GRADIENT_B16
        with pytest.raises(OverflowError, match="too many bits"):
            kernel.golden(params, views)


# The layers of a network


def mantissa_bits_of(graph: Graph) -> dict[str, int]:
    """What planning chose for the scaled error of each layer."""
    training = sparse_update(graph, SparseUpdateOptions(scheme="full"))
    scaled = [step for step in training.steps if step.name.endswith(".scaled_error")]
    return {step.layer: step.params.mantissa_bits for step in scaled}  # type: ignore[attr-defined]


def test_each_layer_of_a_network_has_the_bits_of_its_own_sums() -> None:
    """Pixels bind in the first two, channels in conv4; a depthwise layer counts its multiplier alone."""
    net = NetBuilder(1, (96, 96, 1))
    y = net.depthwise(net.conv("x", 1, kernel=1), 3)
    y = net.windowed("conv2d", y, 2, (1, 1), (2, 3), Padding())
    y = net.conv(net.global_pool(y), 8197, kernel=1)
    y = net.depthwise(y, 1)
    graph = net.graph(net.dense(net.dense(net.flatten(y), 3), 2))
    assert mantissa_bits_of(graph) == {
        "conv0": 9,
        "depthwise1": 9,
        "conv2": 11,  # 48 x 32 pixels
        "conv4": 10,
        "depthwise5": 11,
        "fully_connected7": 11,
    }


@both_forms
@pytest.mark.parametrize(("outputs", "bits"), [(8196, 11), (8197, 10)])
def test_the_input_of_a_depthwise_convolution_sums_all_outputs_of_its_channel(
    outputs: int, bits: int, form: str
) -> None:
    w = Window(1, 1, 1, 1, 1, outputs, 1, 1, 1, 1, 0, 0)
    net = NetBuilder(2, (1, 1, 1))
    graph = net.graph(net.dense(net.flatten(net.depthwise(net.conv("x", 1, kernel=1), 1, outputs=outputs)), 2))
    assert mantissa_bits_of(graph)["depthwise1"] == bits
    assert outputs * 128 * (2**bits - 1) <= INT32_MAX < outputs * 128 * (2 ** (bits + 1) - 1)
    views: dict[str, Any] = {
        "g": saturated(output_shape(w), bits),
        "weights": np.full(depthwise_weight_shape(w), -128, np.int8),
        "sums": block32(input_shape(w)),
    }
    sums = golden_and_c_agree(form, DEPTHWISE_CONV2D_ERROR_B16, Conv2dGradientParams(w, 0), views)["sums"]
    assert sums.mantissa.item() == -outputs * 128 * (2**bits - 1)


@both_signs
@both_forms
def test_a_depthwise_weight_gradient_over_96_x_96_pixels_fits_with_9_bits_and_not_with_10(form: str, sign: int) -> None:
    w = Window(96, 96, 1, 96, 96, 2, 3, 3, 1, 1, 1, 1)
    bits = conv_mantissa_bits(w)
    views: dict[str, Any] = {
        "x": np.full(input_shape(w), 127, np.int8),
        "g": saturated(output_shape(w), bits, sign),
        "gradient": block32(depthwise_weight_shape(w)),
    }
    params = DepthwiseWeightGradientParams(w, -128, 2)
    gradient = golden_and_c_agree(form, DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16, params, views)["gradient"].mantissa
    assert (gradient[:, 1, 1] == sign * 96 * 96 * 255 * (2**9 - 1)).all()
    views["g"].mantissa[...] = sign * (2**10 - 1)
    with pytest.raises(OverflowError, match="too many bits"):
        DEPTHWISE_CONV2D_WEIGHT_GRADIENT_B16.golden(params, views)


# The forward and its bias


@both_signs
@both_forms
@pytest.mark.parametrize("kind", ["conv2d", "fully_connected", "depthwise_conv2d"])
def test_the_largest_bias_and_the_largest_products_reach_int32_and_one_more_is_refused(
    kind: str, form: str, sign: int
) -> None:
    """A sum of +-(2^31 - 1), rescaled by 2^-25 to +-64: one that wraps around ends on the other side."""
    channels = 1 if kind == "depthwise_conv2d" else 40
    side = 1 if kind == "fully_connected" else 3
    terms = side * side * channels
    bias = largest_bias(terms)
    assert bias + terms * 255 * 128 == INT32_MAX
    forward_terms(kind, (side, side), channels, np.array([sign * bias], np.int32))
    with pytest.raises(UsageError, match="could overflow"):
        forward_terms(kind, (side, side), channels, np.array([sign * (bias + 1)], np.int32))
    w = Window(side, side, channels, 1, 1, 1, side, side, 1, 1, 0, 0)
    # codes 255 above the zero point; a negative weight's largest magnitude is 128, so a positive sum takes codes 255 below it.
    code, zero_point = (127, -128) if sign < 0 else (-128, 127)
    views: dict[str, Any] = {
        "x": np.full(input_shape(w), code, np.int8),
        "weights": np.full((1, side, side, channels), -128, np.int8),
        "bias": np.array([sign * bias], np.int32),
        "multiplier": np.array([2**30], np.int32),
        "shift": np.array([-24], np.int32),
        "y": np.zeros(1, np.int8),
        "inside": np.zeros(1, np.uint32),
    }
    if kind == "depthwise_conv2d":
        kernel, params = DEPTHWISE_CONV2D_S8, DepthwiseConv2dS8Params(w, zero_point, 0, -128, 127)
        views["weights"] = views["weights"][..., 0].copy()
    else:
        rounds_once = int(kind == "fully_connected")
        kernel, params = CONV2D_S8, Conv2dS8Params(w, zero_point, 0, -128, 127, rounds_once)  # type: ignore[assignment]
    assert golden_and_c_agree(form, kernel, params, views)["y"].item() == sign * 64


def test_a_trained_bias_is_kept_where_the_forward_still_fits() -> None:
    net = NetBuilder(3, (6, 6, 2))
    y = net.depthwise(net.conv("x", 4), 5)
    graph = net.graph(net.dense(net.dense(net.flatten(y), 7), 2))
    training = sparse_update(graph, SparseUpdateOptions(scheme="full"))
    limits = {s.layer: s.params.bias_limit for s in training.steps if s.name.endswith(".update_bias")}  # type: ignore[attr-defined]
    terms = {"conv0": 3 * 3 * 2, "depthwise1": 5 * 5, "fully_connected3": 6 * 6 * 4}
    assert limits == {layer: INT32_MAX - 255 * 128 * count for layer, count in terms.items()}


# Pools


def worst_average_sum(w: Window, headroom: int, sign: int) -> int:
    """The largest magnitude of a sum of average_pool_error for errors of +-32767, whose shares are rounded down."""
    rows, columns = rows_and_columns(w)

    def inside(outputs: int, size: int, kernel: int, stride: int, pad: int) -> list[int]:
        return [sum(0 <= o * stride + tap - pad < size for tap in range(kernel)) for o in range(outputs)]

    heights = inside(w.out_height, w.in_height, w.kernel_height, w.stride_height, w.pad_top)
    widths = inside(w.out_width, w.in_width, w.kernel_width, w.stride_width, w.pad_left)

    def share(count: int) -> int:
        reciprocal, rest = divmod(2**30, count)
        reciprocal += 2 * rest > count or (2 * rest == count and reciprocal % 2)
        return (sign * FULL_MANTISSA * reciprocal) >> (16 + headroom)

    return max(
        abs(sum(share(heights[i] * widths[j]) for i in row for j in column)) for row in rows for column in columns
    )


# One pixel that all windows read alone: each adds a whole 2^29 (count 1), so four fit and a fifth needs a bit.
ALONE = {
    "3 x 3 windows on one pixel": (Window(1, 1, 2, 3, 3, 2, 3, 3, 1, 1, 2, 2), 2),
    "a row of 5 windows on one pixel": (Window(1, 1, 1, 1, 5, 1, 1, 5, 1, 1, 0, 4), 1),
    "4 x 5 windows on one pixel": (Window(1, 1, 1, 4, 5, 1, 4, 5, 1, 1, 3, 4), 3),
    "5 x 5 windows of stride 2 on one pixel": (Window(1, 1, 1, 3, 3, 1, 5, 5, 2, 2, 4, 4), 2),
    "a column of 17 windows on one pixel": (Window(1, 1, 1, 17, 1, 1, 17, 1, 1, 1, 16, 0), 3),
}


@both_signs
@pytest.mark.parametrize(("w", "headroom"), ALONE.values(), ids=ALONE)
def test_overlapping_windows_fit_with_the_chosen_headroom_and_not_with_a_bit_less(
    w: Window, headroom: int, sign: int
) -> None:
    assert average_headroom_bits(w) == headroom
    assert worst_average_sum(w, headroom, sign) <= INT32_MAX < worst_average_sum(w, headroom - 1, sign)


@both_signs
@both_forms
@pytest.mark.parametrize(("w", "headroom"), ALONE.values(), ids=ALONE)
def test_the_kernel_reaches_the_largest_sum_of_overlapping_windows(
    w: Window, headroom: int, form: str, sign: int
) -> None:
    views: dict[str, Any] = {"error": saturated(output_shape(w), 15, sign), "sums": block32(input_shape(w))}
    params = AveragePoolErrorParams(w, average_headroom_bits(w))
    sums = golden_and_c_agree(form, AVERAGE_POOL_ERROR_B16, params, views)["sums"].mantissa.astype(np.int64)
    assert int(np.abs(sums).max()) == worst_average_sum(w, headroom, sign)
    with pytest.raises(OverflowError, match="too many bits"):
        AVERAGE_POOL_ERROR_B16.golden(AveragePoolErrorParams(w, headroom - 1), views)


@examples(60)
@given(w=windows(pool=True, channels=(1,)), sign=st.sampled_from([-1, 1]))
def test_the_largest_sums_of_any_average_pool_fit(w: Window, sign: int) -> None:
    assert worst_average_sum(w, average_headroom_bits(w), sign) <= INT32_MAX


def test_the_smallest_window_of_an_image_sets_the_headroom() -> None:
    """Sixteen windows of 1 to 16 pixels meet in each corner: were all as large as the largest, none would be needed."""
    w = Window(4, 4, 1, 7, 7, 1, 4, 4, 1, 1, 3, 3)
    assert worst_average_sum(w, average_headroom_bits(w), 1) <= INT32_MAX < worst_average_sum(w, 0, 1)


@pytest.mark.parametrize("side", [2, 3, 8, 15])
def test_windows_that_do_not_overlap_need_no_headroom(side: int) -> None:
    """A share is below 2^29: precision would be lost for nothing."""
    w = Window(2 * side, 2 * side, 1, 2, 2, 1, side, side, side, side, 0, 0)
    assert average_headroom_bits(w) == 0
    assert (
        average_headroom_bits(replace(w, out_height=1, out_width=1, kernel_height=2 * side, kernel_width=2 * side)) == 0
    )


def test_the_share_of_a_mean_needs_no_headroom() -> None:
    """It is one window."""
    net = NetBuilder(4, (5, 6, 2))
    graph = net.graph(net.dense(net.mean(net.conv("x", 3)), 2))
    steps = sparse_update(graph, SparseUpdateOptions(scheme="full")).steps
    headroom = [step.params.headroom_bits for step in steps if step.kernel == "average_pool_error_b16"]  # type: ignore[attr-defined]
    assert headroom == [0]


@both_signs
@both_forms
def test_the_largest_max_pool_sums_a_whole_mantissa_of_each_of_its_256_windows(form: str, sign: int) -> None:
    """The one large pixel wins in all of them."""
    w = Window(16, 16, 1, 16, 16, 1, 16, 16, 1, 1, 15, 15)
    argmax = np.zeros(output_shape(w), np.uint8)
    for row, column in np.ndindex(16, 16):  # where pixel (0, 0) stands in the window
        argmax[row, column] = (15 - row) * 16 + 15 - column
    views: dict[str, Any] = {
        "error": saturated(output_shape(w), 15, sign),
        "argmax": argmax,
        "sums": block32(input_shape(w)),
    }
    sums = golden_and_c_agree(form, MAX_POOL_ERROR_B16, MaxPoolErrorParams(w), views)["sums"].mantissa
    assert sums[0, 0, 0] == sign * 256 * FULL_MANTISSA and np.count_nonzero(sums) == 1


# Scaling and normalising


def factor_sets() -> Iterator[NDArray[np.float64]]:
    for power in (-60, -31, -1, 0, 1, 20):
        for top in (1.0, 1.5, 2.0 - 2.0**-31, 2.0 - 2.0**-40):  # the last rounds up to the next power of two
            yield np.ldexp(np.array([top, 0.3, 1e-9]), power)


def test_the_largest_factor_of_a_layer_has_31_bits_and_none_has_more() -> None:
    for factors in factor_sets():
        scale, exponent = scale_to_int32(factors)
        assert 2**30 <= int(scale.max()) <= INT32_MAX
        assert np.abs(scale.astype(np.float64) - np.ldexp(factors, -exponent)).max() <= 0.5 + 2.0**-9


@both_signs
@both_forms
@pytest.mark.parametrize("bits", [1, 9, 10, 11, 15])
def test_the_largest_scaled_error_fits_its_bits(bits: int, form: str, sign: int) -> None:
    """32767 * (2^31 - 1) / 2^16, rounded down, then half away from zero to what the bits hold."""
    params = ErrorScaleParams(2, 2, -3, bits)
    views: dict[str, Any] = {
        "error": saturated((1, 2), 15, sign),
        "scale": np.array([INT32_MAX, 2**30], np.int32),
        "out": block16((1, 2)),
    }
    out = golden_and_c_agree(form, ERROR_SCALE_B16, params, views)["out"]
    products = [(sign * FULL_MANTISSA * factor) >> 16 for factor in (INT32_MAX, 2**30)]
    r = 0
    while (rounded := [half_away(product, r) for product in products]) and max(map(abs, rounded)) > 2**bits - 1:
        r += 1
    assert max(map(abs, products)) < 2**30
    assert out.mantissa.reshape(-1).tolist() == rounded
    assert int(out.exponent[0]) == -3 + 16 + r


@both_signs
@both_forms
@pytest.mark.parametrize("largest", [INT32_MAX, INT32_MAX - 2**15, 2**30, 2**15, FULL_MANTISSA])
def test_the_largest_sum_is_normalised_to_15_bits(largest: int, form: str, sign: int) -> None:
    views: dict[str, Any] = {"sums": block32((2,)), "out": block16((2,))}
    views["sums"].mantissa[...] = [sign * largest, 1]
    out = golden_and_c_agree(form, ERROR_NORMALIZE_B16, ElementsParams(2), views)["out"]
    r = next(r for r in range(32) if abs(half_away(largest, r)) <= 2**FULL_MANTISSA_BITS - 1)
    assert out.mantissa.tolist() == [half_away(sign * largest, r), half_away(1, r)]
    assert int(out.exponent[0]) == r


def half_away(value: int, shift: int) -> int:
    """value / 2^shift in Python's integers, ties away from zero."""
    magnitude: int = (abs(value) + (1 << shift) // 2) >> shift
    return magnitude if value >= 0 else -magnitude
