"""Every backward and update kernel is declared in C under its name, and refuses a pointer that is missing."""

from __future__ import annotations

import re

import pytest
from cffi import FFI

from mcutrain.ops import (
    bias_gradient,
    broadcast,
    conv2d_gradient,
    copy,
    depthwise_conv2d_gradient,
    error_quantize,
    error_scale,
    grouped_conv2d_gradient,
    mean_rate,
    pad_gradient,
    pool_gradient,
    prelu,
    resize_nearest,
    table,
    update_bias,
    update_weights,
)
from mcutrain.ops.base import Kernel, Params, Window
from mcutrain.ops.registry import KERNELS as REGISTRY
from support.backward_cases import ERROR_ARGUMENT
from support.ckernels import HEADERS, c_function, c_params, forms

DECLARED = re.findall(
    r"mct_status mct_(\w+)\(",
    "".join((HEADERS / "mcutrain" / name).read_text() for name in ("backward.h", "update.h")),
)
KERNELS = [kernel for kernel in REGISTRY.values() if kernel.name in DECLARED]
# What they are called: kernels of errors, of gradients and of updates, but for those of the head and its loss.
_NAMES = re.compile(r"(?!head_|mean_squared_error).*(_error_(b16|f32)$|_gradient_)|error_|gradient_|update_|mean_rate")

ONE = Window(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)
VALID: dict[type[Params], Params] = {
    error_quantize.ElementsParams: error_quantize.ElementsParams(1),
    error_scale.ErrorScaleParams: error_scale.ErrorScaleParams(1, 1, 0, 11),
    conv2d_gradient.Conv2dGradientParams: conv2d_gradient.Conv2dGradientParams(ONE, 0),
    depthwise_conv2d_gradient.DepthwiseWeightGradientParams: depthwise_conv2d_gradient.DepthwiseWeightGradientParams(
        ONE, 0, 1
    ),
    broadcast.BroadcastErrorParams: broadcast.BroadcastErrorParams(broadcast.broadcast((1,), (1,)), 0, 0),
    bias_gradient.BiasGradientParams: bias_gradient.BiasGradientParams(1, 1),
    pool_gradient.AveragePoolErrorParams: pool_gradient.AveragePoolErrorParams(ONE, 0),
    pool_gradient.MaxPoolErrorParams: pool_gradient.MaxPoolErrorParams(ONE),
    pad_gradient.PadErrorParams: pad_gradient.PadErrorParams(1, 1, 1, 0, 0, 0, 0),
    update_weights.UpdateWeightsParams: update_weights.UpdateWeightsParams(1, 1, 1, 1, 1, -127, 0.0),
    update_bias.UpdateBiasParams: update_bias.UpdateBiasParams(1, 1000, 0.0),
    mean_rate.MeanRateParams: mean_rate.MeanRateParams(1),
    copy.CopyParams: copy.copy_params((1,), copy.Side(0, (1,), 1), copy.Side(0, (1,), 1)),
    grouped_conv2d_gradient.GroupedConv2dGradientParams: grouped_conv2d_gradient.GroupedConv2dGradientParams(
        ONE, 1, 1, 1, 0, 1
    ),
    prelu.PreluErrorParams: prelu.PreluErrorParams(1, 1, 0, 0),
    # The tables of this test say row 1 and column 1.
    resize_nearest.ResizeNearestParams: resize_nearest.ResizeNearestParams(2, 2, 1, 1, 1),
    table.TableErrorParams: table.TableErrorParams(1, 0),
}


def test_the_headers_declare_exactly_these_kernels() -> None:
    assert sorted(DECLARED) == sorted(name for name in REGISTRY if _NAMES.match(name))


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_missing_pointer_is_refused_before_anything_is_written(form: str, kernel: Kernel) -> None:
    ffi = FFI()
    function = c_function(form, f"mct_{kernel.name}")
    roles = (*kernel.inputs, *kernel.outputs)
    buffers = [ffi.new("uint32_t[256]", [1] * 256) for _ in roles]
    params = c_params(form, kernel, VALID[kernel.params])

    def call_with(present: list[bool], with_params: bool = True) -> int:
        pointers = [ffi.cast("void *", buffer) if p else ffi.NULL for buffer, p in zip(buffers, present, strict=True)]
        return int(function(params if with_params else ffi.NULL, *pointers))

    required = [not role.optional for role in roles]
    for missing, role in enumerate(roles):
        if not role.optional:
            assert call_with([r and i != missing for i, r in enumerate(required)]) == ERROR_ARGUMENT, role.name
    assert call_with(required, with_params=False) == ERROR_ARGUMENT
    assert all(list(buffer) == [1] * 256 for buffer in buffers)
    assert call_with(required) == 0
