"""A kernel is described in C and in Python: both say the same of its parameters, its operands and what it may write."""

from __future__ import annotations

import dataclasses
import functools
from typing import get_type_hints

import cffi
import pytest

from mcutrain.emulators.c_header import declarations
from mcutrain.ops.base import Window
from mcutrain.ops.broadcast import Broadcast
from mcutrain.ops.registry import KERNELS

_HEADERS = ("status", "types", "forward", "loss", "backward", "update")
_FIELDS = {int: "int32_t", float: "float", Broadcast: "mct_broadcast", Window: "mct_window"}
_ROLES = {
    "mask": "uint32_t",
    "b16": "mct_b16",
    "b32": "mct_b32",
    "b64": "mct_b64",
    "float32": "float",
    "scratch": "void",
}
_ROLES |= {"quantization": "mct_quantization", "index": "mct_index"}


@functools.cache
def headers() -> cffi.FFI:
    """The public headers."""
    text = declarations(*_HEADERS)
    ffi = cffi.FFI()
    start = text.index("static inline")  # cffi takes no bodies
    ffi.cdef(text[:start] + text[text.index("}", start) + 1 :])
    return ffi


def struct_fields(name: str) -> list[tuple[str, str]]:
    """(name, type) of the fields of a C struct."""
    return [(field, kind.type.cname) for field, kind in headers().typeof(name).fields]


def arguments(name: str) -> list[tuple[str, str, bool]]:
    """(name, type pointed to, whether const) of the arguments of a declared function, all of them pointers."""
    text = " ".join(declarations(*_HEADERS).split())
    listed = text[text.index(f"mct_{name}(") :].partition("(")[2].partition(")")[0].split(", ")
    found = []
    for argument in listed:
        kind, _, own_name = argument.partition(" *")
        found.append((own_name, kind.removeprefix("const "), kind.startswith("const ")))
    return found


@pytest.mark.parametrize("name", KERNELS)
def test_parameters_have_the_fields_of_the_c_struct(name: str) -> None:
    kernel = KERNELS[name]
    hints = get_type_hints(kernel.params)
    fields = [(field.name, _FIELDS[hints[field.name]]) for field in dataclasses.fields(kernel.params)]
    assert fields == struct_fields(kernel.c_params)


@pytest.mark.parametrize("name", KERNELS)
def test_operands_are_the_arguments_of_the_c_function_and_inputs_are_const(name: str) -> None:
    kernel = KERNELS[name]
    written = {role.name for role in kernel.outputs}
    expected = [("params", kernel.c_params, True)]
    for role in (*kernel.inputs, *kernel.outputs):
        expected.append((role.name, _ROLES.get(role.dtype, f"{role.dtype}_t"), role.name not in written))
    assert arguments(name) == expected


def test_a_window_has_the_fields_of_the_c_struct() -> None:
    assert [(field.name, "int32_t") for field in dataclasses.fields(Window)] == struct_fields("mct_window")


def test_a_broadcast_has_the_fields_of_the_c_struct() -> None:
    assert [(field.name, "int32_t") for field in dataclasses.fields(Broadcast)] == struct_fields("mct_broadcast")
