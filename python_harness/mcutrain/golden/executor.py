"""GoldenExecutor: interpret a plan with NumPy, step by step, in the same bytes at the same offsets as the firmware."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.methods.training_graph import INPUT, LABEL, LEARNING_RATE, LOSS, PREDICTION, RANDOM
from mcutrain.ops.base import Block, View, view_of
from mcutrain.ops.steps import Buffer, Step

_DTYPES = {
    "int8": np.int8,
    "uint8": np.uint8,
    "int32": np.int32,
    "uint32": np.uint32,
    "float32": np.float32,
    "mask": np.uint32,
    "scratch": np.uint8,
}


def typed_view(memory: NDArray[np.uint8], buffer: Buffer, offset: int) -> View:
    """A view of ``buffer`` at byte ``offset`` of ``memory``: an array of its shape, or a Block."""
    raw = memory[offset : offset + buffer.size_bytes]
    if buffer.dtype in ("b16", "b32"):
        mantissa = raw[4:].view(np.int16 if buffer.dtype == "b16" else np.int32)
        return Block(raw[:4].view(np.int32), mantissa.reshape(buffer.shape))
    return raw.view(_DTYPES[buffer.dtype]).reshape(buffer.shape)


class GoldenExecutor:
    """The state of one golden run.

    The arena is filled with a pattern first: a step that reads what nobody wrote shows as a difference between two patterns.
    """

    def __init__(self, plan: Plan, *, arena_pattern: int = 0xA5) -> None:
        self.plan = plan
        self._arena = np.full(plan.arena_bytes, arena_pattern, dtype=np.uint8)
        self.trainable: NDArray[np.uint8] = np.zeros(plan.trainable_bytes, dtype=np.uint8)
        self._io: dict[str, NDArray[Any]] = {
            INPUT: np.zeros(plan.buffers[INPUT].shape, dtype=np.int8),
            LABEL: np.zeros(1, dtype=np.int32),
            LEARNING_RATE: np.zeros(1, dtype=np.float32),
            RANDOM: np.ones(1, dtype=np.uint32),
            LOSS: np.zeros(1, dtype=np.float32),
            PREDICTION: np.zeros(1, dtype=np.int32),
        }
        self._views = {name: self._view(name) for name in plan.buffers}
        self.reset()

    def _view(self, name: str) -> View:
        buffer = self.plan.buffers[name]
        root = self.plan.training.root(name)
        if buffer.region == "io":
            return self._io[root].reshape(buffer.shape)
        if buffer.region == "constant":
            data = self.plan.buffers[root].data
            assert data is not None
            if buffer.dtype in ("index", "quantization"):
                return view_of(np.frombuffer(buffer.stored(), np.uint8), buffer.dtype, buffer.shape)
            constant = np.array(data).reshape(buffer.shape)
            constant.flags.writeable = False
            return constant
        memory = self._arena if buffer.region == "arena" else self.trainable
        return typed_view(memory, buffer, self.plan.offsets[root])

    def reset(self) -> None:
        """Load the trainable state from its initial values."""
        self.trainable[...] = 0
        for name, buffer in self.plan.buffers.items():
            if buffer.region == "trainable" and buffer.alias is None:
                assert buffer.data is not None
                stored = np.ascontiguousarray(buffer.data).reshape(-1).view(np.uint8)
                start = self.plan.offsets[name]
                self.trainable[start : start + stored.size] = stored

    def seed(self, random: int) -> None:
        """Set the xorshift32 state."""
        self._io[RANDOM][0] = random

    def run(self, step: Step) -> None:
        """Execute one step of the plan."""
        step.definition.golden(step.params, {role: self._views[name] for role, name in step.operands.items()})

    def infer(self, sample: NDArray[np.int8]) -> int:
        """One inference; returns the prediction."""
        self._io[INPUT][...] = sample.reshape(self._io[INPUT].shape)
        for step in self.plan.steps[: self.plan.inference_op_count]:
            self.run(step)
        if self.plan.training.output is not None:
            self._io[PREDICTION][0] = int(np.argmax(self.output()))
        return self.prediction

    def prepare(self, sample: NDArray[np.int8], label: int, learning_rate: np.float32) -> None:
        """Set what a training step reads; the caller then runs every step of the plan."""
        self._io[INPUT][...] = sample.reshape(self._io[INPUT].shape)
        self._io[LABEL][0] = label
        self._io[LEARNING_RATE][0] = learning_rate

    def output(self) -> NDArray[np.int8]:
        """The network's own int8 output (inference plans)."""
        assert self.plan.training.output is not None
        view = self._views[self.plan.training.output]
        assert isinstance(view, np.ndarray)
        return view.reshape(-1)

    def bytes_of(self, name: str) -> bytes:
        """The bytes of a buffer now, as the board holds them."""
        view = self._views[name]
        if isinstance(view, Block):
            return view.exponent.tobytes() + view.mantissa.tobytes()
        return view.tobytes()

    @property
    def prediction(self) -> int:
        """Class of the largest logit of the last inference or step."""
        return int(self._io[PREDICTION][0])

    @property
    def loss(self) -> np.float32:
        """Loss of the last training step."""
        return np.float32(self._io[LOSS][0])

    def digest(self) -> int:
        """CRC-32 of the trainable state."""
        return zlib.crc32(self.trainable.tobytes())
