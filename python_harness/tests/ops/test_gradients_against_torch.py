"""Every gradient rule, in float32 mode, against torch autograd in double precision over torch's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.ops.base import Window
from support.real_operators import (
    CASES,
    AddCase,
    Case,
    Clamp,
    ConvCase,
    DepthwiseCase,
    PadCase,
    PoolCase,
    add_case,
    assert_gradient_equals,
    conv_case,
    scaled_error,
    summed_error,
)

torch = pytest.importorskip("torch", reason="torch is not installed: install requirements-torch.txt for this oracle")


def leaf(values: NDArray[np.float64]) -> Any:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def padded(w: Window, x: Any, value: float) -> Any:
    """NCHW of an image (height, width, channels), padded as far as its windows reach."""
    bottom = (w.out_height - 1) * w.stride_height + w.kernel_height - w.pad_top - w.in_height
    right = (w.out_width - 1) * w.stride_width + w.kernel_width - w.pad_left - w.in_width
    image = x.permute(2, 0, 1)[None]
    return torch.nn.functional.pad(image, (w.pad_left, right, w.pad_top, bottom), value=value)


def image_of(y: Any) -> Any:
    return y[0].permute(1, 2, 0)


def clamped(clamp: Clamp, y: Any) -> Any:
    return torch.clamp(y + clamp.zero_point, clamp.low, clamp.high)


def convolution(case: ConvCase, x: Any, weights: Any, bias: Any) -> Any:
    w = case.window
    depthwise = isinstance(case, DepthwiseCase)
    kernels = weights[:, None] if depthwise else weights.permute(0, 3, 1, 2)
    groups = w.in_channels if depthwise else 1
    image = padded(w, x - case.zero_point, 0.0)
    y = torch.nn.functional.conv2d(image, kernels, bias, stride=(w.stride_height, w.stride_width), groups=groups)
    return clamped(case.clamp, image_of(y) * torch.tensor(case.scale))


def pool(case: PoolCase, x: Any) -> Any:
    w = case.window
    kernel, stride = (w.kernel_height, w.kernel_width), (w.stride_height, w.stride_width)
    if case.maximum:
        return image_of(torch.nn.functional.max_pool2d(padded(w, x, float("-inf")), kernel, stride))

    def total(values: Any) -> Any:
        return image_of(torch.nn.functional.avg_pool2d(padded(w, values, 0.0), kernel, stride, divisor_override=1))

    return total(x) / total(torch.ones_like(x))


def output(case: Case, leaves: dict[str, Any]) -> Any:
    if isinstance(case, ConvCase):
        return convolution(case, **leaves)
    if isinstance(case, PoolCase):
        return pool(case, **leaves)
    if isinstance(case, AddCase):
        scaled = [(value - case.zero_points[name]) * case.scales[name] for name, value in leaves.items()]
        return clamped(case.clamp, sum(scaled))
    assert isinstance(case, PadCase)
    top, bottom, left, right = case.border
    return torch.nn.functional.pad(leaves["x"], (0, 0, left, right, top, bottom))


@pytest.mark.parametrize("name", CASES)
def test_gradients_equal_torch_autograd(name: str) -> None:
    case = CASES[name]
    leaves = {operand: leaf(values) for operand, values in case.operands().items()}
    (output(case, leaves) * torch.tensor(case.error)).sum().backward()
    gradients = case.gradients()
    assert gradients.keys() == leaves.keys()
    for operand, gradient in gradients.items():
        assert_gradient_equals(gradient, leaves[operand].grad.numpy())


def test_the_gradient_of_a_branch_is_the_sum_of_both_paths() -> None:
    """x feeds a convolution and, beside it, the sum behind it."""
    window = Window(4, 3, 5, 4, 3, 5, 3, 3, 1, 1, 1, 1)
    conv, add = conv_case(window), add_case(2)
    x = leaf(conv.x)
    leaves = {"weights": leaf(conv.weights), "bias": leaf(conv.bias)}
    middle = convolution(conv, x, **leaves)
    scale, zero = add.scales, add.zero_points
    y = clamped(add.clamp, (middle - zero["a"]) * scale["a"] + (x - zero["b"]) * scale["b"])
    (y * torch.tensor(add.error)).sum().backward()

    codes = conv.output(conv.operands())
    inside = add.clamp.inside(add.sums({"a": codes, "b": conv.x}))
    error = add.error.astype(np.float32)
    through, beside = (scaled_error(error, inside, np.array([scale[name]])) for name in "ab")
    before = ConvCase(**{**conv.__dict__, "error": through.astype(np.float64)})
    gradients = before.gradients()
    assert_gradient_equals(summed_error(gradients["x"], beside), x.grad.numpy())
    for name, value in leaves.items():
        assert_gradient_equals(gradients[name], value.grad.numpy())
