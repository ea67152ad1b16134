"""Bound what parsing an ONNX file can cost, before protobuf parses it.

An empty message takes two bytes in the file and about a hundred times that once parsed, so a file within the size limit
could still take gigabytes. A model's bytes are its weights; this walk over the wire format counts everything else.
"""

from __future__ import annotations

from collections.abc import Mapping

_MAX_FIELDS = 300_000
_MAX_OTHER_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 8
_MAX_VARINT_BYTES = 16 * 1024 * 1024

# Of each message of onnx.proto that is walked: its fields that are walked again, and those that hold plain numbers.
_WALKED: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph"},
    "Graph": {1: "Node", 5: "Tensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
    "Tensor": {},
}
_NUMBERS: Mapping[str, frozenset[int]] = {"Tensor": frozenset({4, 5, 7, 9, 10, 11})}
_VARINTS = frozenset(
    {5, 7, 11}
)  # of the numbers of a Tensor: a zero takes one byte in the file and up to eight once parsed


class OutsizedError(Exception):
    """The file is no protobuf message, or has more parts than any model needs."""


def check_size(content: bytes) -> None:
    """Raise OutsizedError unless parsing ``content``, a ModelProto, takes a modest multiple of its size."""
    _Walk(content).message("Model", 0, len(content), 0)


class _Walk:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fields = 0
        self._other_bytes = 0
        self._varint_bytes = 0

    def message(self, kind: str, at: int, end: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise OutsizedError("its graphs are nested too deep")
        nested, numbers = _WALKED[kind], _NUMBERS.get(kind, frozenset())
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise OutsizedError(f"it has more than {_MAX_FIELDS} parts")
            key, at = self._varint(at, end)
            field, wire = key >> 3, key & 7
            if wire == 0:
                _, at = self._varint(at, end)
                continue
            if wire == 2:
                length, at = self._varint(at, end)
            elif wire in (1, 5):
                length = 8 if wire == 1 else 4
            else:
                raise OutsizedError("it is not a protobuf message")
            if length > end - at:
                raise OutsizedError("a part of it is longer than the file")
            if wire == 2 and field in nested:
                self.message(nested[field], at, at + length, depth + 1)
            elif wire == 2 and field not in numbers:
                self._other_bytes += length
                if self._other_bytes > _MAX_OTHER_BYTES:
                    raise OutsizedError(f"it has more than {_MAX_OTHER_BYTES} bytes that are no weights")
            elif wire == 2 and field in numbers & _VARINTS:
                self._varint_bytes += length
                if self._varint_bytes > _MAX_VARINT_BYTES:
                    raise OutsizedError(
                        f"it has more than {_MAX_VARINT_BYTES} bytes of numbers of changing length; save the weights as raw_data"
                    )
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._content[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise OutsizedError("a number in it is cut off")
