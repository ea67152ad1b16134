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

from mcutrain.errors import UsageError
from mcutrain.ops.base import Kernel, Params, Window, dtype_bytes, mask_words, window_problem
from mcutrain.ops.registry import KERNELS

Region = Literal["constant", "trainable", "state", "arena", "io"]
PERSISTENT: tuple[Region, ...] = (
    "trainable",
    "state",
)  # what lasts from one sample to the next, and what the digest covers


class Phase(StrEnum):
    """The phase of a training step that an operator belongs to."""

    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True)
class Buffer:
    """A tensor of the training graph.

    dtype: one of Role's (a mask's shape is in words, scratch is in bytes; the shape of an index list says how many elements it can
    hold, that of a quantization is (1,)). region: constant (flash), trainable (SRAM, covered by the digest, initialised from flash), state
    (SRAM, covered by the digest, zero after a reset, no bytes in flash), arena (SRAM, planned, lost between programs) or io
    (mct_model_io). data: the values of a constant, the initial values of a trainable; of an index list its elements, of a
    quantization the scale and the zero point as float64. alias: the buffer whose bytes this one is under another shape.
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
        """Bytes it occupies, with the exponent of block floating point and the count of an index list."""
        return dtype_bytes(self.dtype, self.elements)

    def stored(self) -> bytes:
        """The bytes of its data in memory."""
        assert self.data is not None, self.name
        if self.dtype == "index":
            return np.array([self.elements, *self.data], np.int32).tobytes()
        if self.dtype == "quantization":
            return np.float32(self.data[0]).tobytes() + np.int32(self.data[1]).tobytes()
        return np.ascontiguousarray(self.data).tobytes()


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
    """Collects the buffers and steps of a training graph in a valid order.

    steps: what runs for each sample. update_steps: what runs once a minibatch.
    """

    buffers: dict[str, Buffer] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    update_steps: list[Step] = field(default_factory=list)

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

    def index(self, name: str, elements: NDArray[np.int32]) -> str:
        """Add a constant index list: ascending, as int32."""
        return self.buffer(name, "index", elements.shape, "constant", elements)

    def quantization(self, name: str, scale: float, zero_point: int) -> str:
        """Add a constant quantisation."""
        return self.buffer(name, "quantization", (1,), "constant", np.array([scale, zero_point], np.float64))

    def trainable(self, name: str, data: NDArray[Any]) -> str:
        """Add trainable state with its initial values."""
        return self.buffer(name, data.dtype.name, data.shape, "trainable", data)

    def state(self, name: str, dtype: str, shape: tuple[int, ...]) -> str:
        """Add state that is zero after a reset and lasts from sample to sample."""
        return self.buffer(name, dtype, shape, "state")

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
        self,
        name: str,
        kernel: str,
        params: Params,
        phase: Phase,
        layer: str,
        operands: Mapping[str, str | None],
        *,
        once_a_batch: bool = False,
    ) -> None:
        """Add a call of a kernel. Roles whose buffer is None are left out; the scratch buffer is added by itself.

        Raises UsageError naming the layer where the kernel would refuse its window.
        """
        window = getattr(params, "window", None)
        # The kernels of dilated and grouped convolutions take windows that lie anywhere.
        anywhere = hasattr(params, "dilation_height")
        problem = window_problem(window) if isinstance(window, Window) and not anywhere else None
        if problem is not None:
            raise UsageError(f"{layer}: {problem}")
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
        steps = self.update_steps if once_a_batch else self.steps
        steps.append(Step(name, kernel, params, phase, layer, given))
