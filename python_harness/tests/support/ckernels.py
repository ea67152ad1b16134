"""Call the C kernels from tests, through the same Kernel objects that the golden executor and code generation use.

    status = call("dsp", CONV2D, params, {"x": x, "weights": w, ..., "y": y})

Both forms are compiled once per state of the sources. Arguments are checked against the real headers: a Kernel whose
roles or parameters differ from its C function fails here. Every buffer is passed as a copy between a guard zone and a page that
cannot be read: writing before a buffer fails the test, reading there changes the result, and behind it both end the process.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import (
    Block,
    IndexList,
    Kernel,
    Params,
    Role,
    RuntimeQuantization,
    View,
    dtype_bytes,
    view_of,
)

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "src" / "kernels"
HEADERS = ROOT / "src" / "include"
CACHE = ROOT / "build" / "test-kernels"

forms = ("portable", "dsp")

# Other flags for the same tests, as a user may have them: the results must not change.
FLAGS_VARIABLE = "MCUTRAIN_KERNEL_FLAGS"
_OWN_FLAGS = "-std=c11 -O3 -fno-strict-aliasing"

CFLAGS = (
    *os.environ.get(FLAGS_VARIABLE, _OWN_FLAGS).split(),
    *("-fPIC", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion"),
)

# Headers that declare kernels; each includes what it needs.
_PUBLIC_HEADERS = ("forward.h", "loss.h", "backward.h", "update.h")
_C_TYPES = {
    "mask": "uint32_t",
    "b16": "mct_b16",
    "b32": "mct_b32",
    "b64": "mct_b64",
    "quantization": "mct_quantization",
    "index": "mct_index",
    "float32": "float",
    "scratch": "void",
}
_ALIGNMENT = {"int8": 1, "uint8": 1, "b64": 8}  # all others: 4
_GUARD_BYTES = 64
_GUARD = 0xA5
_PROT_NONE = 0

Bytes = NDArray[np.uint8]
Array = NDArray[Any]


def block16(shape: tuple[int, ...], memory: Bytes | None = None) -> Block:
    """A mct_b16 of ``shape``, zero; or a view at the start of ``memory``."""
    return _block("b16", shape, memory)


def block32(shape: tuple[int, ...], memory: Bytes | None = None) -> Block:
    """A mct_b32 of ``shape``, zero; or a view at the start of ``memory``."""
    return _block("b32", shape, memory)


def block64(shape: tuple[int, ...], memory: Bytes | None = None) -> Block:
    """A mct_b64 of ``shape``, zero; or a view at the start of ``memory``."""
    return _block("b64", shape, memory)


def index_list(elements: Sequence[int] | NDArray[Any], count: int | None = None) -> IndexList:
    """A mct_index whose memory ends behind these elements. count: what it says of their number, where that is not true."""
    words = np.array([len(elements) if count is None else count, *elements], np.int32)
    view = view_of(words.view(np.uint8), "index", (len(elements),))
    assert isinstance(view, IndexList)
    return view


def quantization(scale: float, zero_point: int) -> RuntimeQuantization:
    """A mct_quantization."""
    memory = np.frombuffer(np.float32(scale).tobytes() + np.int32(zero_point).tobytes(), np.uint8).copy()
    view = view_of(memory, "quantization", (1,))
    assert isinstance(view, RuntimeQuantization)
    return view


def call(form: str, kernel: Kernel, params: Params, views: Mapping[str, View]) -> int:
    """Run ``mct_<kernel>`` on the views (written in place) and return its status.

    Absent optional roles are NULL. A scratch role that is absent is allocated in the size that the kernel asks for.
    Views that begin at the same address are one buffer, for kernels that may run in place.
    """
    ffi, library = _library(form)
    function = getattr(library, f"mct_{kernel.name}")
    types = ffi.typeof(function).args
    roles = (*kernel.inputs, *kernel.outputs)
    assert len(types) == len(roles) + 1, f"{kernel.name}: {len(roles)} roles, the C function takes {len(types) - 1}"
    unknown = set(views) - {role.name for role in roles}
    assert not unknown, f"{kernel.name} has no role {sorted(unknown)}"

    struct = c_params(form, kernel, params)
    arguments = [struct]
    guarded: dict[int, _Guarded] = {}
    for role, c_type in zip(roles, types[1:], strict=True):
        expected = _C_TYPES.get(role.dtype, f"{role.dtype}_t")
        assert c_type.item.cname.removeprefix("const ") == expected, f"{kernel.name}: {role} is {c_type.cname} in C"
        memory = _memory(kernel, params, role, views)
        if memory is None:
            arguments.append(ffi.NULL)
            continue
        address = memory.ctypes.data
        if address not in guarded:
            guarded[address] = _Guarded(memory, _ALIGNMENT.get(role.dtype, 4))
        buffer = guarded[address]
        assert buffer.memory.size >= memory.size, f"{kernel.name}: the first view of shared memory must be the largest"
        arguments.append(ffi.cast(c_type, buffer.address))
    status = int(function(*arguments))
    for buffer in guarded.values():
        buffer.copy_back(kernel.name)
    return status


def run_everywhere(
    kernel: Kernel, params: Params, inputs: Mapping[str, View], outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Run the golden kernel and both C forms on copies, and assert that all of them leave the same bits.

    outputs: the initial contents of the outputs. Returns the contents that golden leaves.
    """
    golden = {name: value.copy() for name, value in outputs.items()}
    kernel.golden(params, {**inputs, **golden})
    for form in forms:
        got = {name: value.copy() for name, value in outputs.items()}
        assert call(form, kernel, params, {**inputs, **got}) == 0, f"{kernel.name} ({form}) refused {params}"
        for name, value in golden.items():
            same = np.array_equal(value.reshape(-1).view(np.uint8), got[name].reshape(-1).view(np.uint8))
            assert same, f"{kernel.name} ({form}): {name} differs\ngolden {value}\nC      {got[name]}"
    return golden


def c_function(form: str, name: str) -> Any:
    """Any function of the headers, e.g. ``c_function("portable", "mct_conv2d_s8_scratch_bytes")``."""
    return getattr(_library(form)[1], name)


def c_params(form: str, kernel: Kernel, params: Params) -> Any:
    """Pointer to a new C struct of ``params``; its fields must be the dataclass's, in the same order."""
    ffi, _ = _library(form)
    pointer = ffi.new(f"{kernel.c_params} *")
    _fill(ffi, pointer[0], params)
    return pointer


def _fill(ffi: cffi.FFI, struct: Any, values: Any) -> None:
    fields = [field.name for field in dataclasses.fields(values)]
    c_fields = [name for name, _ in ffi.typeof(struct).fields]
    assert fields == c_fields, f"{type(values).__name__} has {fields}, the C struct has {c_fields}"
    for name in fields:
        value = getattr(values, name)
        if dataclasses.is_dataclass(value):
            _fill(ffi, getattr(struct, name), value)
        else:
            setattr(struct, name, value)


class _Guarded:
    """A copy of a buffer between a guard zone and a page that cannot be read.

    It ends where that page begins: a kernel that reads behind its buffer ends the test process with a fault. So int8 buffers begin at
    any address, as a network's may; the others at multiples of ``alignment``, which leaves less than that of guard behind them.
    """

    def __init__(self, memory: Bytes, alignment: int) -> None:
        self.memory = memory
        room = memory.size + _GUARD_BYTES + alignment - 1
        pages = -(-room // mmap.PAGESIZE) * mmap.PAGESIZE
        self._pages = mmap.mmap(-1, pages + mmap.PAGESIZE)
        self._zone = np.frombuffer(self._pages, np.uint8)
        _forbid(self._zone.ctypes.data + pages)
        self._zone = self._zone[:pages]
        self._zone[...] = _GUARD
        self._start = (pages - memory.size) // alignment * alignment
        self._zone[self._start : self._start + memory.size] = memory
        self.address = self._zone.ctypes.data + self._start

    def copy_back(self, kernel: str) -> None:
        end = self._start + self.memory.size
        outside = np.concatenate([self._zone[: self._start], self._zone[end:]])
        assert (outside == _GUARD).all(), f"{kernel} wrote outside of a buffer"
        if self.memory.flags.writeable:
            self.memory[...] = self._zone[self._start : end]


def _forbid(page: int) -> None:
    """Take all access from the page at an address."""
    assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, _PROT_NONE) == 0


def _block(dtype: str, shape: tuple[int, ...], memory: Bytes | None) -> Block:
    size = dtype_bytes(dtype, int(np.prod(shape, dtype=np.int64)))
    block = view_of(np.zeros(size, np.uint8) if memory is None else memory[:size], dtype, shape)
    assert isinstance(block, Block)
    return block


def _memory(kernel: Kernel, params: Params, role: Role, views: Mapping[str, View]) -> Bytes | None:
    view = views.get(role.name)
    if view is None:
        if role.dtype == "scratch":
            return np.full(kernel.scratch_bytes(params), _GUARD, np.uint8)
        assert role.optional, f"{kernel.name} needs {role.name}"
        return None
    header, values, expected = _parts(view, role.dtype)
    assert values.dtype.name == expected, f"{role.name} is {values.dtype}, expected {expected}"
    assert values.flags.c_contiguous, f"{role.name} is not contiguous"
    if header is None:
        return values.reshape(-1).view(np.uint8)
    ahead = 4 if role.dtype == "quantization" else dtype_bytes(role.dtype, 0)
    if values.size > 0:
        assert values.ctypes.data == header.ctypes.data + ahead, f"{role.name}: not one piece of memory"
    # The header's view ends where the values begin: widen it to both.
    return np.lib.stride_tricks.as_strided(header.view(np.uint8), (ahead + values.nbytes,), (1,))


def _parts(view: View, dtype: str) -> tuple[Array | None, Array, str]:
    """The word that a view begins with, if it does; the values behind it; and what these have to be."""
    if isinstance(view, Block):
        return view.exponent, view.mantissa, {"b16": "int16", "b32": "int32", "b64": "int64"}[dtype]
    if isinstance(view, IndexList):
        return view.count, view.index, {"index": "int32"}[dtype]
    if isinstance(view, RuntimeQuantization):
        return view.scale, view.zero_point, {"quantization": "int32"}[dtype]
    return None, view, {"mask": "uint32", "scratch": "uint8"}.get(dtype, dtype)


@functools.cache
def _library(form: str) -> tuple[cffi.FFI, Any]:
    ffi = cffi.FFI()
    ffi.cdef(_declarations())
    return ffi, ffi.dlopen(str(_build(form)))


@functools.cache
def _declarations() -> str:
    """The public headers as cffi reads them: preprocessed, without inline functions."""
    with tempfile.TemporaryDirectory() as empty:
        # cffi knows these types by itself, and could not read the system's own headers.
        for name in ("stdint.h", "stddef.h"):
            (Path(empty) / name).touch()
        includes = "".join(f'#include "mcutrain/{name}"\n' for name in _PUBLIC_HEADERS)
        command = ["gcc", "-E", "-P", "-U__GNUC__", "-nostdinc", "-I", empty, "-I", str(HEADERS), "-"]
        text = subprocess.run(command, input=includes, capture_output=True, text=True, check=True).stdout
    return re.sub(r"static inline[^{]*\{[^}]*\}", "", text)


def _build(form: str) -> Path:
    """Compile src/kernels into a shared library, or find the one compiled before from the same sources."""
    flags = [*CFLAGS, f"-DMCT_DSP={int(form == 'dsp')}", "-I", str(HEADERS), "-I", str(SOURCES.parent)]
    headers = sorted(SOURCES.parent.rglob("*.h"))
    common = hashlib.sha256(" ".join(flags).encode() + b"".join(path.read_bytes() for path in headers)).hexdigest()
    objects = []
    for source in sorted(SOURCES.glob("*/*.c")):
        key = hashlib.sha256(common.encode() + source.read_bytes()).hexdigest()[:20]
        objects.append(_made(CACHE / f"{source.stem}-{key}.o", ["gcc", *flags, "-c", str(source)]))
    key = hashlib.sha256(" ".join(path.name for path in objects).encode()).hexdigest()[:20]
    return _made(CACHE / f"{form}-{key}.so", ["gcc", "-shared", *map(str, objects)])


def _made(target: Path, command: list[str]) -> Path:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Test processes run side by side: each writes its own file, and the rename is atomic.
        own = target.with_name(f"{target.name}.{os.getpid()}")
        result = subprocess.run([*command, "-o", str(own)], capture_output=True, text=True)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
        own.replace(target)
    return target
