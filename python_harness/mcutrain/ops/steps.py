"""Buffers and steps: what operators become before they have an order and addresses.

A Step names a kernel, its parameters, and which buffer plays which role. A TrainingGraph is a set of steps with the buffers they
read and write; the compiler orders the steps and places the buffers, the golden executor interprets the result, and the code
generator prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Kernel, Params, mask_words
from mcutrain.ops.registry import KERNELS

Region = Literal["constant", "trainable", "arena", "io"]

_ELEMENT_BYTES = {"int8": 1, "uint8": 1, "scratch": 1, "int32": 4, "uint32": 4, "float32": 4, "mask": 4}
_BLOCK_ELEMENT_BYTES = {"b16": 2, "b32": 4}


class Phase(StrEnum):
    """The phase of a training step that an operator belongs to."""

    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True)
class Buffer:
    """A tensor of the training graph.

    dtype: int8, uint8, int32, uint32, float32, mask (shape in words), b16, b32 or scratch (shape in bytes). region: constant (flash),
    trainable (SRAM, covered by the digest, initialised from flash), arena (SRAM, planned) or io (mct_model_io). data: the values of a
    constant, the initial values of a trainable. alias: the buffer whose bytes this one is under another shape.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    region: Region
    data: NDArray[Any] | None = None
    alias: str | None = None

    @property
    def elements(self) -> int:
        """Number of elements (mask: words)."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def size_bytes(self) -> int:
        """Bytes it occupies, with the exponent of block floating point."""
        if self.dtype in _BLOCK_ELEMENT_BYTES:
            return 4 + self.elements * _BLOCK_ELEMENT_BYTES[self.dtype]
        return self.elements * _ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True)
class Step:
    """One call of a kernel. layer is the operator of the network it serves; operands maps each role to a buffer's name."""

    name: str
    kernel: str
    params: Params
    phase: Phase
    layer: str
    operands: Mapping[str, str]

    @property
    def definition(self) -> Kernel:
        """The kernel this step calls."""
        return KERNELS[self.kernel]

    @property
    def in_place(self) -> tuple[tuple[str, str], ...]:
        """(input role, output role) pairs that may begin at the same address in this step."""
        return self.definition.in_place if self.definition.in_place_where(self.params) else ()

    def reads(self) -> tuple[str, ...]:
        """Buffers it reads, those it updates included."""
        kernel = self.definition
        roles = [role.name for role in kernel.inputs] + list(kernel.updates)
        return tuple(self.operands[role] for role in roles if role in self.operands)

    def writes(self) -> tuple[str, ...]:
        """Buffers it writes, scratch included."""
        return tuple(self.operands[role.name] for role in self.definition.outputs if role.name in self.operands)


@dataclass
class StepBuilder:
    """Collects the buffers and steps of a training graph in a valid order."""

    buffers: dict[str, Buffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def buffer(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        region: Region = "arena",
        data: NDArray[Any] | None = None,
        alias: str | None = None,
    ) -> str:
        """Add a buffer and return its name; the same constant may be added again."""
        if name in self.buffers:
            known = self.buffers[name]
            same = (known.dtype, known.shape, known.region) == (dtype, shape, region)
            if not (same and region == "constant" and np.array_equal(known.data, data)):  # type: ignore[arg-type]
                raise ValueError(f"two different buffers are called {name!r}")
            return name
        self.buffers[name] = Buffer(name, dtype, shape, region, data, alias)
        return name

    def constant(self, name: str, data: NDArray[Any]) -> str:
        """Add a constant in flash; its dtype is the array's."""
        return self.buffer(name, data.dtype.name, data.shape, "constant", data)

    def trainable(self, name: str, data: NDArray[Any]) -> str:
        """Add trainable state with its initial values."""
        return self.buffer(name, data.dtype.name, data.shape, "trainable", data)

    def mask(self, name: str, elements: int) -> str:
        """Add a clip mask over ``elements`` elements."""
        return self.buffer(name, "mask", (mask_words(elements),))

    def view(self, name: str, of: str, shape: tuple[int, ...]) -> str:
        """Add another shape of an existing buffer."""
        base = self.buffers[of]
        return self.buffer(name, base.dtype, shape, base.region, alias=base.alias or of)

    def root(self, name: str) -> str:
        """The buffer that holds the bytes of ``name``."""
        return self.buffers[name].alias or name

    def step(
        self, name: str, kernel: str, params: Params, phase: Phase, layer: str, operands: Mapping[str, str | None]
    ) -> None:
        """Add a call of a kernel. Roles whose buffer is None are left out; the scratch buffer is added by itself."""
        definition = KERNELS[kernel]
        given = {role: buffer for role, buffer in operands.items() if buffer is not None}
        roles = {role.name: role for role in (*definition.inputs, *definition.outputs) if role.dtype != "scratch"}
        unknown = given.keys() - roles.keys()
        missing = {role.name for role in roles.values() if not role.optional} - given.keys()
        if unknown or missing:
            raise ValueError(f"{kernel}: unknown roles {sorted(unknown)}, missing roles {sorted(missing)}")
        for role, buffer in given.items():
            if self.buffers[buffer].dtype != roles[role].dtype:
                raise ValueError(
                    f"{name}: role {role} takes {roles[role].dtype}, {buffer} is {self.buffers[buffer].dtype}"
                )
        scratch = definition.scratch_bytes(params)
        if scratch > 0:
            given["scratch"] = self.buffer(f"{name}.scratch", "scratch", (scratch,))
        self.steps.append(Step(name, kernel, params, phase, layer, given))
