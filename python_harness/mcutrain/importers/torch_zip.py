"""Read NumPy arrays and plain containers out of a file that torch.save wrote, trusting nothing in it and without torch.

Such a file is a zip whose ``data.pkl`` is a pickle, and a pickle is a program: here its opcodes are those that build
containers, the four names it may import are stand-ins that only collect values, and no array is made before its bytes
are counted.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.importers.common import MAX_RANK, damaged, quoted

# What torch.save writes for such values (protocol 2). None of them reserves memory that the file does not fill.
_OPCODES = frozenset(
    """PROTO EMPTY_DICT EMPTY_LIST EMPTY_TUPLE MARK TUPLE TUPLE1 TUPLE2 TUPLE3 SETITEM SETITEMS APPEND APPENDS NONE NEWTRUE
    NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD
    STOP""".split()  # noqa: SIM905
)
_MOST_DEPTH = 32
_MEMO_OPCODES = ("BINPUT", "LONG_BINPUT")
_DTYPES: dict[str, np.dtype[Any]] = {
    "i1": np.dtype("<i1"),
    "i4": np.dtype("<i4"),
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
}


class _WrongError(Exception):
    """The file contradicts its format."""


class _DtypeStandIn:
    """What the file calls a numpy.dtype: its name."""

    __slots__ = ("name",)

    def __init__(self, name: object) -> None:
        if not isinstance(name, str) or name not in _DTYPES:
            raise _WrongError(f"an array is of type {quoted(str(name))}, not one of {', '.join(_DTYPES)}")
        self.name = name

    def __setstate__(self, state: object) -> None:
        # (version, byte order, ...): the rest describes structured types.
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("|", "<"):
            raise _WrongError("an array is not little-endian")


class _ArrayStandIn:
    """What the file calls a numpy.ndarray: shape, type and bytes, counted before they become one."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _WrongError("an array's description is incomplete")
        _, shape, dtype, in_fortran_order, content = state
        integers = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not integers or len(shape) > MAX_RANK or not isinstance(dtype, _DtypeStandIn):
            raise _WrongError("an array has no usable shape or type")
        kind = _DTYPES[dtype.name]
        if not isinstance(content, bytes) or len(content) != math.prod(shape) * kind.itemsize:
            raise _WrongError(f"an array's bytes are not those of its shape {list(shape)}")
        self.array = np.frombuffer(content, kind).reshape(shape, order="F" if in_fortran_order else "C")


@dataclass(frozen=True)
class _Name:
    """A name that the file may import. Calling it gives a stand-in, or for _codecs.encode the bytes of a Latin-1 text."""

    name: str

    def __call__(self, *arguments: object) -> object:
        if self.name == "_codecs.encode":
            text = arguments[0] if len(arguments) == 2 and arguments[1] == "latin1" else None
            if not isinstance(text, str):
                raise _WrongError("the bytes of an array are not Latin-1 text")
            return text.encode("latin1")
        if self.name == "numpy.dtype" and arguments:
            return _DtypeStandIn(arguments[0])
        if self.name == "numpy.core.multiarray._reconstruct" and arguments[:1] == (_Name("numpy.ndarray"),):
            return _ArrayStandIn()
        raise _WrongError(f"it calls {self.name} as no array does")


_NAMES = ("_codecs.encode", "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise _WrongError(f"its pickle asks for {quoted(full)}, which no array needs")
        return _Name(full)


def read_torch_zip(path: Path, content: bytes) -> Any:
    """The containers (dict, list, tuple), numbers, texts and NumPy arrays that ``content``, the bytes of ``path``, holds.

    Raises UsageError (damaged, or a pickle that does more than hold data).
    """
    try:
        return _plain(_unpickle(_member(content)), [len(content)], 0)
    except _WrongError as error:
        raise damaged(path, str(error)) from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OSError):
        raise damaged(path, "its zip cannot be read") from None
    except (pickle.UnpicklingError, ValueError, TypeError, LookupError, EOFError, AttributeError, OverflowError):
        raise damaged(path, "its data.pkl is not a sound pickle") from None


def _member(content: bytes) -> bytes:
    """The bytes of data.pkl."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [entry for entry in archive.infolist() if entry.filename.split("/")[-1] == "data.pkl"]
        if len(members) != 1:
            raise _WrongError(f"its zip holds {len(members)} files data.pkl, not 1")
        if members[0].compress_type != zipfile.ZIP_STORED or members[0].file_size > len(content):
            raise _WrongError("its data.pkl is compressed, or larger than the file")
        return archive.read(members[0])


def _unpickle(program: bytes) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about texts of opcodes that are refused all the same
        for opcode, argument, position in pickletools.genops(program):
            if opcode.name not in _OPCODES:
                raise _WrongError(f"its pickle has the opcode {opcode.name} at byte {position}, which no array needs")
            # Unpicklers make room for all memo entries up to the largest number.
            if opcode.name in _MEMO_OPCODES and not (isinstance(argument, int) and argument < len(program)):
                raise _WrongError(f"its pickle numbers a value {argument}, more than it can hold")
    return _Unpickler(io.BytesIO(program)).load()


def _plain(value: object, budget: list[int], depth: int) -> Any:
    """``value`` with arrays for their stand-ins. A small file can refer to one value from many places: ``budget`` bounds it."""
    budget[0] -= 1
    if depth > _MOST_DEPTH:
        raise _WrongError(f"its parts are nested deeper than {_MOST_DEPTH}")
    if budget[0] < 0:
        raise _WrongError("it refers to its parts more often than it has bytes")
    if isinstance(value, _ArrayStandIn):
        if value.array is None:
            raise _WrongError("an array is empty")
        budget[0] -= value.array.nbytes
        return value.array
    if isinstance(value, dict):
        return {str(key): _plain(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, budget, depth + 1) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _WrongError("it holds something that is no number, text, array, list or dictionary")
