"""GoldenExecutor: interpret a plan with NumPy, step by step, in the same bytes at the same offsets as the firmware."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.compiler.plan import Plan
from mcutrain.methods.training_graph import INPUT, LABEL, LEARNING_RATE, LOSS, PREDICTION, RANDOM, SAMPLES, TARGET
from mcutrain.ops.base import NotFiniteError, View, view_of
from mcutrain.ops.loss import mean_squared_error
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Program, Run, moments
from mcutrain.ops.steps import PERSISTENT, Step

# Called behind every step of a training sample, with the number of its visit (see `Plan.first_visits`).
Watch = Callable[[Step, int], None]


class GoldenExecutor:
    """The state of one golden run.

    The arena is filled with a pattern first: a step that reads what nobody wrote shows as a difference between two patterns.
    """

    def __init__(self, plan: Plan, *, arena_pattern: int = 0xA5) -> None:
        self.plan = plan
        self._arena = np.full(plan.arena_bytes, arena_pattern, dtype=np.uint8)
        self.persistent: NDArray[np.uint8] = np.zeros(plan.persistent_bytes, dtype=np.uint8)
        self._io: dict[str, NDArray[Any]] = {
            INPUT: np.zeros(plan.buffers[INPUT].shape, dtype=np.int8),
            LABEL: np.zeros(1, dtype=np.int32),
            TARGET: np.zeros(plan.training.target_values, dtype=np.float32),
            LEARNING_RATE: np.zeros(1, dtype=np.float32),
            RANDOM: np.ones(1, dtype=np.uint32),
            SAMPLES: np.zeros(1, dtype=np.int32),
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
            # Bytes are read-only, and so is a view of them.
            return view_of(np.frombuffer(self.plan.buffers[root].stored(), np.uint8), buffer.dtype, buffer.shape)
        memory = self.persistent if buffer.region in PERSISTENT else self._arena
        start = self.plan.offsets[root]
        return view_of(memory[start : start + buffer.size_bytes], buffer.dtype, buffer.shape)

    def reset(self) -> None:
        """Load the trainables from their initial values, and clear the state."""
        self.persistent[...] = 0
        self._io[SAMPLES][0] = 0
        for name, buffer in self.plan.buffers.items():
            if buffer.region == "trainable" and buffer.alias is None:
                stored = np.frombuffer(buffer.stored(), np.uint8)
                start = self.plan.offsets[name]
                self.persistent[start : start + stored.size] = stored

    def seed(self, random: int) -> None:
        """Set the xorshift32 state."""
        self._io[RANDOM][0] = random

    def run(self, step: Step) -> None:
        """Execute one step of the plan."""
        step.definition.golden(step.params, {role: self._views[name] for role, name in step.operands.items()})

    def run_program(self, name: str, watch: Watch | None = None) -> None:
        """Execute a program; nothing where the plan has none of this name. ``watch`` sees every step and its visit."""
        program = self.plan.training.programs.get(name, ())
        seen = self.plan.first_visits(name)
        at = 0

        def interpret(nodes: Program, rounds: int) -> None:
            nonlocal at
            for node in nodes:
                if isinstance(node, Run):
                    for step in node.steps:
                        self.run(step)
                        if watch is not None:
                            watch(step, seen[at] + rounds)
                        at += 1
                    continue
                begin = at
                for count in range(node.count):
                    at = begin
                    if node.counter is not None:
                        self._views[node.counter][0] = count  # type: ignore[index]
                    interpret(node.body, rounds * node.count + count)

        interpret(program, 0)
        assert at == len(moments(program))

    def load(self, sample: NDArray[np.int8]) -> None:
        """Copy a sample to where the plan has the input."""
        view = self._views[INPUT]
        assert isinstance(view, np.ndarray)
        view[...] = sample.reshape(view.shape)

    def infer(self, sample: NDArray[np.int8]) -> int:
        """One inference; returns the prediction."""
        self.load(sample)
        self.run_program(INFER)
        if self.plan.training.output is not None:
            self._io[PREDICTION][0] = int(np.argmax(self.output()))
        return self.prediction

    def prepare(self, sample: NDArray[np.int8], target: int | NDArray[np.float32], learning_rate: np.float32) -> None:
        """Set what the training of one sample reads. target: its label; or its values, float32 (target_values,)."""
        self.load(sample)
        self._io[TARGET if isinstance(target, np.ndarray) else LABEL][...] = target
        self._io[LEARNING_RATE][0] = learning_rate

    def train(self, watch: Watch | None = None) -> None:
        """The program ``sample`` over what `prepare` has set."""
        self.run_program(SAMPLE, watch)
        self._io[SAMPLES][0] += 1

    def update(self, watch: Watch | None = None) -> None:
        """The end of a minibatch: the program ``update``."""
        self.run_program(UPDATE, watch)
        self._io[SAMPLES][0] = 0

    def output(self) -> NDArray[np.int8]:
        """The network's own int8 output (inference plans)."""
        assert self.plan.training.output is not None
        view = self._views[self.plan.training.output]
        assert isinstance(view, np.ndarray)
        return view.reshape(-1)

    def squared_error(self, target: NDArray[np.float32]) -> np.float32:
        """Mean squared error of what the last inference put out, dequantised where that is int8, against float32 (outputs,).

        Raises NotFiniteError where it is not finite.
        """
        training = self.plan.training
        if training.logits is not None:
            values = self._views[training.logits]
            assert isinstance(values, np.ndarray)
        else:
            tensor = training.graph.tensors[training.graph.output]
            codes = self.output().astype(np.int32) - np.int32(tensor.zero_point)
            values = codes.astype(np.float32) * np.float32(tensor.scale)
        error = mean_squared_error(values.reshape(-1), target)
        if not np.isfinite(error):
            raise NotFiniteError("an output is NaN or infinite: training diverged; lower the learning rate")
        return error

    def view(self, name: str) -> View:
        """A buffer as kernels see it; writing into the view writes the run's memory."""
        return self._views[name]

    def bytes_of(self, name: str) -> bytes:
        """The bytes of a buffer now, as the board holds them."""
        buffer, root = self.plan.buffers[name], self.plan.training.root(name)
        if buffer.region == "io":
            return self._io[root].tobytes()
        if buffer.region == "constant":
            return self.plan.buffers[root].stored()
        memory = self.persistent if buffer.region in PERSISTENT else self._arena
        start = self.plan.offsets[root]
        return memory[start : start + buffer.size_bytes].tobytes()

    @property
    def prediction(self) -> int:
        """Class of the largest logit of the last inference or step."""
        return int(self._io[PREDICTION][0])

    @property
    def loss(self) -> np.float32:
        """Loss of the last training step."""
        return np.float32(self._io[LOSS][0])

    @property
    def samples(self) -> int:
        """Samples trained since the last update."""
        return int(self._io[SAMPLES][0])

    def digest(self) -> int:
        """CRC-32 of the persistent memory."""
        return zlib.crc32(self.persistent.tobytes())
