"""The catalogue of ``bench kernels``: which kernels are benched, on which shapes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from mcutrain.bench.cases import (
    INPUT_ZERO_POINT,
    OUTPUT_ZERO_POINT,
    Case,
    Data,
    Operand,
    Output,
    codes,
    generator,
    mantissas,
)
from mcutrain.bench.small_kernels import small_kernels
from mcutrain.ops.add import AddS8Params
from mcutrain.ops.add_linear import with_linear_form
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.average_pool import PoolS8Params
from mcutrain.ops.base import Block, Window, mask_words
from mcutrain.ops.bias_gradient import BiasGradientParams
from mcutrain.ops.conv2d import Conv2dS8Params, window_taps
from mcutrain.ops.conv2d_gradient import Conv2dGradientParams
from mcutrain.ops.depthwise_conv2d import DepthwiseConv2dS8Params
from mcutrain.ops.depthwise_conv2d_gradient import DepthwiseWeightGradientParams
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.error_scale import ErrorScaleParams
from mcutrain.ops.grouped_conv2d import GroupedConv2dS8Params
from mcutrain.ops.grouped_conv2d_gradient import GroupedConv2dGradientParams
from mcutrain.ops.registry import KERNELS
from mcutrain.ops.steps import Phase
from mcutrain.ops.update_weights import UpdateWeightsParams


def cases() -> tuple[Case, ...]:
    """All cases, forward ones first, and the float32 reference kernels last."""
    quantised = (*_forward(), *_backward(), *_grouped(), *small_kernels(), *_update(), *_minibatch())
    return (*quantised, *(_reference(case) for case in _first_of_each(quantised) if _reference_kernel(case) in KERNELS))


def _window(side: int, channels: tuple[int, int], kernel: int = 1, stride: int = 1) -> Window:
    out = -(-side // stride)
    pad = max((out - 1) * stride + kernel - side, 0) // 2
    return Window(side, side, channels[0], out, out, channels[1], kernel, kernel, stride, stride, pad, pad)


def _name(window: Window) -> str:
    kernel = f"{window.kernel_height}x{window.kernel_width}"
    stride = f" /{window.stride_height}" if window.stride_height > 1 else ""
    return f"{kernel}{stride} {window.in_height}x{window.in_width}x{window.in_channels}->{window.out_channels}"


def _input(window: Window) -> tuple[int, int, int]:
    return window.in_height, window.in_width, window.in_channels


def _output(window: Window) -> tuple[int, int, int]:
    return window.out_height, window.out_width, window.out_channels


def _weights(window: Window) -> tuple[int, int, int, int]:
    return window.out_channels, window.kernel_height, window.kernel_width, window.in_channels


def _rescaling(channels: int, taps: int, name: str) -> dict[str, Data]:
    """Bias, multiplier and shift that spread sums of ``taps`` products of codes over the output codes."""
    random = generator(name)
    spread = 60 / (74 * 74 * math.sqrt(taps))
    pairs = [quantise_multiplier(spread * factor) for factor in random.uniform(0.5, 1.5, channels)]
    return {
        "bias": random.integers(-2000, 2000, channels).astype(np.int32),
        "multiplier": np.array([multiplier for multiplier, _ in pairs], np.int32),
        "shift": np.array([shift for _, shift in pairs], np.int32),
    }


def _conv2d(window: Window, *, mask: bool = False, single_rounding: int = 0) -> Case:
    name = _name(window)
    outputs = math.prod(_output(window))
    operands: dict[str, Data | Output] = {
        "x": codes(_input(window), f"x {name}"),
        "weights": codes(_weights(window), f"weights {name}", -127),
        **_rescaling(window.out_channels, window_taps(window), name),
        "y": Output(_output(window)),
    }
    if mask:
        operands["inside"] = Output((mask_words(outputs),))
    params = Conv2dS8Params(window, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, -128, 127, single_rounding)
    return Case("conv2d_s8", name + (" mask" if mask else ""), params, Phase.FORWARD, operands, outputs)


def _depthwise(window: Window) -> Case:
    name = _name(window)
    operands: dict[str, Data | Output] = {
        "x": codes(_input(window), f"x {name}"),
        "weights": codes((window.out_channels, window.kernel_height, window.kernel_width, 1), f"weights {name}", -127),
        **_rescaling(window.out_channels, window.kernel_height * window.kernel_width, name),
        "y": Output(_output(window)),
    }
    params = DepthwiseConv2dS8Params(window, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, -128, 127)
    return Case("depthwise_conv2d_s8", name, params, Phase.FORWARD, operands, math.prod(_output(window)))


def _add(elements: int, *, mask: bool = False) -> Case:
    # Two inputs of scales 0.9 and 1.0 to one of 1.6, as LiteRT rescales them.
    a, b, output = quantise_multiplier(0.45), quantise_multiplier(0.5), quantise_multiplier(2.0 / (1.6 * (1 << 20)))
    params = with_linear_form(
        AddS8Params(elements, INPUT_ZERO_POINT, 7, OUTPUT_ZERO_POINT, *a, *b, *output, 20, -128, 127)
    )
    operands: dict[str, Data | Output] = {
        "a": codes((elements,), "a"),
        "b": codes((elements,), "b"),
        "y": Output((elements,)),
    }
    if mask:
        operands["inside"] = Output((mask_words(elements),))
    return Case("add_s8", f"{elements}" + (" mask" if mask else ""), params, Phase.FORWARD, operands, elements)


def _average_pool(side: int, channels: int) -> Case:
    window = Window(side, side, channels, 1, 1, channels, side, side, 1, 1, 0, 0)
    operands: dict[str, Data | Output] = {"x": codes(_input(window), "pool"), "y": Output(_output(window))}
    return Case(
        "average_pool_s8",
        f"{side}x{side}x{channels}",
        PoolS8Params(window),
        Phase.FORWARD,
        operands,
        side**2 * channels,
    )


def _pointwise() -> tuple[Window, ...]:
    return _window(8, (96, 96)), _window(16, (48, 192)), _window(4, (576, 160))


def _forward() -> Iterator[Case]:
    for window in _pointwise():
        yield _conv2d(window)
    yield _conv2d(_pointwise()[0], mask=True)
    yield _conv2d(_window(32, (16, 48)))
    for side, channels in ((32, 16), (16, 32), (8, 64)):
        yield _conv2d(_window(side, (channels, channels), 3))
    yield _conv2d(_window(32, (3, 16), 3))
    yield _conv2d(_window(1, (64, 10)), single_rounding=1)
    for side, channels, kernel in ((16, 120, 3), (8, 160, 5), (8, 160, 7)):
        yield _depthwise(_window(side, (channels, channels), kernel))
    yield _add(4096)
    yield _add(4096, mask=True)
    yield _average_pool(8, 64)


def _backward() -> Iterator[Case]:
    windows = (*_pointwise(), _window(8, (64, 64), 3), _window(16, (16, 32), 3, 2), _window(1, (64, 10)))
    for window in windows:
        name, params = _name(window), Conv2dGradientParams(window, INPUT_ZERO_POINT)
        g = mantissas(_output(window), f"g {name}")
        weights = codes(_weights(window), f"weights {name}", -127)
        errors: dict[str, Data | Output] = {"g": g, "weights": weights, "sums": Output(_input(window))}
        yield Case("conv2d_error_b16", name, params, Phase.BACKWARD, errors, math.prod(_input(window)))
        x = codes(_input(window), f"x {name}")
        gradient: dict[str, Data | Output] = {"x": x, "g": g, "gradient": Output(_weights(window))}
        yield Case("conv2d_weight_gradient_b16", name, params, Phase.BACKWARD, gradient, math.prod(_weights(window)))
    for side, channels, kernel in ((16, 120, 3), (8, 160, 5), (8, 160, 7)):
        yield from _depthwise_backward(_window(side, (channels, channels), kernel))
    yield _error_scale(4096, 16, mask=True)
    yield _error_scale(4096, 16)
    yield _error_scale(4096, 1, mask=True)
    yield _error_sum(4096)
    yield _error_normalize(4096)
    yield _bias_gradient(256, 16)


def _depthwise_backward(window: Window) -> Iterator[Case]:
    name, params = _name(window), Conv2dGradientParams(window, INPUT_ZERO_POINT)
    shape = (window.out_channels, window.kernel_height, window.kernel_width, 1)
    g = mantissas(_output(window), f"g {name}")
    weights = codes(shape, f"weights {name}", -127)
    errors: dict[str, Data | Output] = {"g": g, "weights": weights, "sums": Output(_input(window))}
    yield Case("depthwise_conv2d_error_b16", name, params, Phase.BACKWARD, errors, math.prod(_input(window)))
    x = codes(_input(window), f"x {name}")
    gradient: dict[str, Data | Output] = {"x": x, "g": g, "gradient": Output(shape)}
    whole = DepthwiseWeightGradientParams(window, INPUT_ZERO_POINT, window.out_channels)
    yield Case("depthwise_conv2d_weight_gradient_b16", name, whole, Phase.BACKWARD, gradient, math.prod(shape))


def _grouped() -> Iterator[Case]:
    """Dilated, in groups, and a dilated depthwise one: forward, then the gradients of each."""
    shapes = (
        (_window(8, (64, 64), 3), 2, 1),
        (_window(16, (32, 64), 3), 1, 4),
        (_window(16, (120, 120), 3), 2, 120),
    )
    whole = [(_spread(window, dilation), dilation, groups) for window, dilation, groups in shapes]
    for case in zip(*(_grouped_kernels(*shape) for shape in whole), strict=True):
        yield from case


def _spread(window: Window, dilation: int) -> Window:
    """The window with the border that a dilated kernel needs for an output of the same size."""
    return dataclasses.replace(window, pad_top=dilation * window.pad_top, pad_left=dilation * window.pad_left)


def _grouped_kernels(window: Window, dilation: int, groups: int) -> Iterator[Case]:
    said = [f"dilation {dilation}"] * (dilation > 1) + [f"{groups} groups"] * (groups > 1)
    name, shape = f"{_name(window)} {', '.join(said)}", (*_weights(window)[:3], window.in_channels // groups)
    geometry = (window, dilation, dilation, groups)
    x, weights = codes(_input(window), f"x {name}"), codes(shape, f"weights {name}", -127)
    operands: dict[str, Operand] = {
        "x": x,
        "weights": weights,
        **_rescaling(window.out_channels, math.prod(shape[1:]), name),
        "y": Output(_output(window)),
    }
    params = GroupedConv2dS8Params(*geometry, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, -128, 127)
    yield Case("grouped_conv2d_s8", name, params, Phase.FORWARD, operands, math.prod(_output(window)))
    g, most = mantissas(_output(window), f"g {name}"), window.out_channels if shape[3] == 1 else shape[3]
    whole = GroupedConv2dGradientParams(*geometry, INPUT_ZERO_POINT, most)
    errors: dict[str, Operand] = {"g": g, "weights": weights, "sums": Output(_input(window))}
    yield Case("grouped_conv2d_error_b16", name, whole, Phase.BACKWARD, errors, math.prod(_input(window)))
    gradient: dict[str, Operand] = {"x": x, "g": g, "gradient": Output(shape)}
    yield Case("grouped_conv2d_weight_gradient_b16", name, whole, Phase.BACKWARD, gradient, math.prod(shape))


def _error_scale(elements: int, channels: int, *, mask: bool = False) -> Case:
    operands: dict[str, Data | Output] = {
        "error": mantissas((elements,), "error"),
        "inside": generator("inside").integers(0, 2**32, mask_words(elements), np.uint32),
        "scale": generator("scale").integers(1 << 28, (1 << 31) - 1, channels, np.int32),
        "out": Output((elements,)),
    }
    if not mask:
        del operands["inside"]
    params = ErrorScaleParams(elements, channels, -31, 11)
    name = f"{elements // channels}x{channels}" + (" mask" if mask else "")
    return Case("error_scale_b16", name, params, Phase.BACKWARD, operands, elements)


def _error_sum(elements: int) -> Case:
    operands: dict[str, Data | Output] = {
        "a": mantissas((elements,), "a"),
        "b": mantissas((elements,), "b"),
        "out": Output((elements,)),
    }
    return Case("error_sum_b16", f"{elements}", ElementsParams(elements), Phase.BACKWARD, operands, elements)


def _error_normalize(elements: int) -> Case:
    sums = generator("sums").integers(-(1 << 26), 1 << 26, elements).astype(np.int32)
    operands: dict[str, Data | Output] = {"sums": sums, "out": Output((elements,))}
    return Case("error_normalize_b16", f"{elements}", ElementsParams(elements), Phase.BACKWARD, operands, elements)


def _bias_gradient(pixels: int, channels: int) -> Case:
    operands: dict[str, Data | Output] = {
        "g": mantissas((pixels, channels), "g"),
        "gradient": Output((channels,)),
    }
    params = BiasGradientParams(pixels, channels)
    return Case("bias_gradient_b16", f"{pixels}x{channels}", params, Phase.BACKWARD, operands, pixels * channels)


def _update() -> Iterator[Case]:
    channels, taps, inputs = 64, 9, 16
    shape = (channels, taps, inputs)
    limit = 1 << 20
    for kernel, state in (
        ("update_weights_master16_b16", {"fraction": np.zeros(shape, np.int8)}),
        ("update_weights_stochastic8_b16", {"random": np.ones(1, np.uint32)}),
        ("update_weights_nearest8_b16", {}),
    ):
        operands: dict[str, Data | Output] = {
            "gradient": generator("gradient").integers(-limit, limit, shape).astype(np.int32),
            "factor": generator("factor").uniform(0.5, 1.5, channels).astype(np.float32),
            "learning_rate": np.array([2.0**-20], np.float32),
            "weights": codes(shape, "weights", -127),
            **state,
        }
        params = UpdateWeightsParams(channels, taps, inputs, channels, inputs, -127, 0.5)
        yield Case(kernel, f"{channels}x{taps}x{inputs}", params, Phase.UPDATE, operands, math.prod(shape))
    yield _listed_update(channels, taps, 64, 16)


def _listed_update(channels: int, taps: int, inputs: int, count: int) -> Case:
    """An update of ``count`` input channels, spread over all of them, by a list that could hold them all."""
    shape = (channels, taps, count)
    operands: dict[str, Data | Output] = {
        "gradient": generator("gradient").integers(-(1 << 20), 1 << 20, shape).astype(np.int32),
        "factor": generator("factor").uniform(0.5, 1.5, channels).astype(np.float32),
        "index": np.arange(0, inputs, inputs // count, dtype=np.int32),
        "learning_rate": np.array([2.0**-20], np.float32),
        "weights": codes((channels, taps, inputs), "weights", -127),
        "fraction": np.zeros(shape, np.int8),
    }
    params = UpdateWeightsParams(channels, taps, inputs, channels, inputs, -127, 0.5)
    name = f"{channels}x{taps}x{inputs}, {count} listed"
    return Case("update_weights_master16_b16", name, params, Phase.UPDATE, operands, math.prod(shape))


def _minibatch() -> Iterator[Case]:
    """A gradient of the sums' exponent, and one of a smaller one, for which the sums are shifted. Then what ends a minibatch."""
    elements = 64 * 9 * 16
    random = generator("minibatch")
    sums = random.integers(-(1 << 36), 1 << 36, elements)
    gradient = random.integers(-(1 << 20), 1 << 20, elements).astype(np.int32)
    for exponent, name in ((0, f"{elements}"), (-6, f"{elements} shifted")):
        given = Block(np.array([exponent], np.int32), gradient)
        operands: dict[str, Operand] = {"gradient": given if exponent else gradient, "accumulator": sums}
        yield Case("gradient_accumulate_b16", name, ElementsParams(elements), Phase.UPDATE, operands, elements)
    drained: dict[str, Operand] = {"accumulator": sums, "gradient": Output((elements,))}
    yield Case("gradient_drain_b16", f"{elements}", ElementsParams(elements), Phase.UPDATE, drained, elements)


def _first_of_each(given: tuple[Case, ...]) -> list[Case]:
    """Reference kernels are portable C for comparison, not for speed: one shape each shows what they cost."""
    first: dict[str, Case] = {}
    for case in given:
        first.setdefault(case.kernel, case)
    return list(first.values())


def _reference_kernel(case: Case) -> str:
    """The float32 twin of a kernel on block floating point errors, or a name that no kernel has."""
    return case.kernel.removesuffix("_b16") + "_f32"


def _reference(case: Case) -> Case:
    """The same case for the float32 twin: errors as float32."""
    kernel = KERNELS[_reference_kernel(case)]
    quantised = {role.name: role for role in (*KERNELS[case.kernel].inputs, *KERNELS[case.kernel].outputs)}
    operands: dict[str, Operand] = {}
    for role in (*kernel.inputs, *kernel.outputs):
        # Sums are a value like any other here, and have its name.
        given = case.operands.get(role.name if role.name in quantised else "sums")
        if given is None:
            continue
        assert not isinstance(given, Block), "the first case of a kernel has plain arrays"
        if not isinstance(given, Output) and role.dtype == "float32" and given.dtype != np.float32:
            given = (given / np.float32(1 << 15)).astype(np.float32)
        operands[role.name] = given
    return dataclasses.replace(case, kernel=kernel.name, operands=operands)
