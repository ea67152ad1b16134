"""Scratch memory is read and written in words: every kernel that takes some refuses an address between two words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cffi import FFI

from mcutrain.ops.base import Kernel, Window
from mcutrain.ops.registry import KERNELS
from support.backward_cases import ERROR_ARGUMENT, OK
from support.ckernels import c_function, c_params, forms

WITH_SCRATCH = [kernel for kernel in KERNELS.values() if any(role.dtype == "scratch" for role in kernel.outputs)]
WINDOW = Window(6, 6, 4, 6, 6, 4, 3, 3, 1, 1, 1, 1)

# Of any of the kernels' parameters, by name.
VALID: dict[str, Any] = {
    "window": WINDOW,
    "dilation_height": 1,
    "dilation_width": 1,
    "groups": 2,
    "input_zero_point": 0,
    "output_zero_point": 0,
    "clamp_min": -128,
    "clamp_max": 127,
    "half_even": 0,
    "single_rounding": 0,
    "most_selected": WINDOW.out_channels,
}
WORDS, UNTOUCHED = 4096, 0x5A5A5A5A


def test_the_kernels_with_scratch_are_the_convolutions_and_their_gradients() -> None:
    assert {kernel.name for kernel in WITH_SCRATCH} == {
        "conv2d_s8",
        "depthwise_conv2d_s8",
        "grouped_conv2d_s8",
        "conv2d_error_b16",
        "conv2d_weight_gradient_b16",
        "depthwise_conv2d_error_b16",
        "depthwise_conv2d_weight_gradient_b16",
    }


@pytest.mark.parametrize("form", forms)
@pytest.mark.parametrize("kernel", WITH_SCRATCH, ids=lambda kernel: kernel.name)
def test_scratch_between_two_words_is_refused_before_anything_is_written(form: str, kernel: Kernel) -> None:
    ffi = FFI()
    params = kernel.params(**{field.name: VALID[field.name] for field in dataclasses.fields(kernel.params)})
    assert kernel.scratch_bytes(params) + 3 <= 4 * WORDS
    function, struct = c_function(form, f"mct_{kernel.name}"), c_params(form, kernel, params)
    inputs = [ffi.NULL if role.optional else ffi.new("int32_t[]", WORDS) for role in kernel.inputs]
    outputs = [ffi.NULL if role.optional else ffi.new("int32_t[]", [UNTOUCHED] * WORDS) for role in kernel.outputs]
    scratch = next(index for index, role in enumerate(kernel.outputs) if role.dtype == "scratch")

    def call(offset_bytes: int) -> int:
        addresses = [ffi.cast("char *", buffer) for buffer in (*inputs, *outputs)]
        addresses[len(inputs) + scratch] += offset_bytes
        return int(function(struct, *(ffi.cast("void *", address) for address in addresses)))

    for offset_bytes in (1, 2, 3):
        assert call(offset_bytes) == ERROR_ARGUMENT, offset_bytes
    assert all(set(buffer) == {UNTOUCHED} for buffer in outputs if buffer != ffi.NULL)
    assert call(0) == OK
