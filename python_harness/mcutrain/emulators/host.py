"""The host build: HostRunner runs whole episodes at the speed of this machine, HostModel calls the model directly."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from mcutrain.emulators import host_worker
from mcutrain.emulators.base import Limits
from mcutrain.emulators.build import BuiltHost
from mcutrain.emulators.c_header import declarations
from mcutrain.emulators.observed import Observed, read_observed
from mcutrain.emulators.process import IMAGE_FILE, LINES_FILE, ProcessRunner
from mcutrain.emulators.profile import Profile
from mcutrain.emulators.request import Device
from mcutrain.errors import MismatchError, UsageError

_OBSERVED_FILE = "observed.json"


class HostRunner(ProcessRunner):
    """Runs a host library over episode images, in a process of its own."""

    name = "host"

    def __init__(self, built: BuiltHost) -> None:
        """Nothing runs yet."""
        super().__init__()
        self.built = built

    @property
    def device(self) -> Device:
        """No board: the memory of this machine has no bounds worth telling."""
        return Device("host")

    def version(self) -> str:
        """The machine."""
        return platform.machine()

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        """Start the process.

        Raises:
            UsageError: a profile is asked for; only emulators count.
        """
        if profile:
            raise UsageError("the host build counts no instructions; take a board on QEMU for a profile")
        super().launch(image, profile, limits)

    def command(self, profile: bool) -> list[str]:
        """The worker's command line. -P keeps this package's folder out of its module path."""
        worker = Path(host_worker.__file__)
        files = (IMAGE_FILE, LINES_FILE, _OBSERVED_FILE)
        return [sys.executable, "-P", str(worker), str(self.built.library.resolve()), *files]

    def observed(self) -> Observed | None:
        """The trainable state that the run left, and what its updates did."""
        return read_observed(self.folder / _OBSERVED_FILE)

    def profile(self) -> Profile:
        """There is none on the host."""
        raise UsageError("the host build counts no instructions; take a board on QEMU for a profile")


class HostModel:
    """The model of a host library in this very process, one inference or sample at a time.

    A library is loaded once in a process: build a changed model into another folder.
    """

    def __init__(self, built: BuiltHost) -> None:
        """Load the library and reset the model."""
        self._ffi = FFI()
        self._ffi.cdef(declarations("status", "model") + "extern mct_model episode_model;")
        self._library: Any = self._ffi.dlopen(str(built.library.resolve()))
        self._model: Any = self._ffi.addressof(self._library, "episode_model")
        # Eight bytes more: a plan that reads the caller's memory may load whole words of it.
        self._input: Any = self._ffi.new("int8_t[]", self._model.input_bytes + 8)
        self.reset()

    def reset(self, seed: int = 1) -> None:
        """Load the initial state, and seed the random numbers."""
        self._library.mct_reset(self._model)
        self._check(self._library.mct_seed(self._model, seed))

    def infer(self, codes: NDArray[np.int8]) -> tuple[int, NDArray[np.int8]]:
        """One inference over input codes (int8, input_bytes of them): the class, and the output codes where there are any."""
        self._check(self._library.mct_infer(self._model, self._sample(codes)))
        return int(self._library.mct_prediction(self._model)), self._copy(self._model.output, self._model.output_bytes)

    def logits(self) -> NDArray[np.float32]:
        """float32 logits of the last inference; empty where the model has none."""
        pointer = self._library.mct_logits(self._model)
        return self._copy(pointer, 4 * self._model.classes).view(np.float32) if pointer else np.zeros(0, np.float32)

    def probabilities(self) -> NDArray[np.float32]:
        """Softmax of the logits of the last inference."""
        values = self._ffi.new("float[]", self._model.classes)
        self._check(self._library.mct_probabilities(self._model, values))
        return self._copy(values, 4 * self._model.classes).view(np.float32)

    def train(self, codes: NDArray[np.int8], label: int, learning_rate: float) -> tuple[np.float32, int]:
        """Train on one sample: the loss before the update, and the class predicted before it."""
        self._check(self._library.mct_set_learning_rate(self._model, learning_rate))
        self._check(self._library.mct_train(self._model, self._sample(codes), label))
        return np.float32(self._library.mct_loss(self._model)), int(self._library.mct_prediction(self._model))

    def train_values(self, codes: NDArray[np.int8], target: NDArray[np.float32], learning_rate: float) -> np.float32:
        """Train on one sample and its float32 target, target_values of them: the mean squared error before the update."""
        self._check(self._library.mct_set_learning_rate(self._model, learning_rate))
        self._check(self._library.mct_train_values(self._model, self._sample(codes), self._values(target)))
        return np.float32(self._library.mct_loss(self._model))

    def squared_error(self, target: NDArray[np.float32]) -> np.float32:
        """Mean squared error of the last inference against float32 values, one an output."""
        error = self._ffi.new("float *")
        self._check(self._library.mct_squared_error(self._model, self._values(target), error))
        return np.float32(error[0])

    def end_batch(self) -> None:
        """The update of a minibatch."""
        self._check(self._library.mct_end_batch(self._model))

    def trainable(self) -> bytes:
        """The trainable state, which digests cover."""
        return self._copy(self._model.trainable, self._model.trainable_bytes + self._model.state_bytes).tobytes()

    def digest(self) -> int:
        """CRC-32 of the trainable state."""
        return int(self._library.mct_digest(self._model))

    def save(self) -> bytes:
        """The state with its header, as mct_save writes it."""
        size = self._library.mct_saved_bytes(self._model)
        buffer = self._ffi.new("uint8_t[]", size)
        self._check(self._library.mct_save(self._model, buffer, size))
        return bytes(self._ffi.buffer(buffer, size))

    def restore(self, saved: bytes) -> int:
        """Give saved bytes to mct_restore; returns its status."""
        return int(self._library.mct_restore(self._model, self._ffi.new("uint8_t[]", saved), len(saved)))

    def _sample(self, codes: NDArray[np.int8]) -> Any:
        if codes.dtype != np.int8 or codes.size != self._model.input_bytes:
            raise UsageError(f"the network takes {self._model.input_bytes} int8 codes, not {codes.size} {codes.dtype}")
        content = codes.tobytes()
        self._ffi.memmove(self._input, content, len(content))
        return self._input

    def _values(self, target: NDArray[np.float32]) -> Any:
        if target.dtype != np.float32 or target.size != self._model.classes:
            raise UsageError(f"the network puts out {self._model.classes} values, not {target.size} {target.dtype}")
        return self._ffi.new("float[]", target.reshape(-1).tolist())

    def _copy(self, pointer: Any, size_bytes: int) -> NDArray[np.int8]:
        return np.frombuffer(bytes(self._ffi.buffer(pointer, size_bytes)) if size_bytes else b"", np.int8)

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise MismatchError(f"the model returned status {status}")
