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
from mcutrain.emulators.build import BuiltHost
from mcutrain.emulators.process import IMAGE_FILE, LINES_FILE, ProcessRunner
from mcutrain.emulators.profile import Profile
from mcutrain.errors import MismatchError, UsageError

_DECLARATIONS = """
typedef struct {
    const int8_t *input; int32_t label; float learning_rate; uint32_t random; float loss; int32_t prediction;
} mct_model_state;
typedef struct { uint16_t op; uint16_t output; uint32_t size_bytes; const void *data; } mct_model_tensor;
typedef struct {
    uint32_t plan_crc32, input_bytes, classes, op_count, inference_op_count, arena_bytes, trainable_bytes, output_bytes;
    const uint8_t *trainable;
    const uint8_t *output;
    uint32_t trace_count;
    const mct_model_tensor *trace;
} mct_model_info;
extern mct_model_info mct_model;
extern mct_model_state mct_model_io;
void mct_model_reset(void);
int mct_model_infer(void);
int mct_model_train(void);
"""


class HostRunner(ProcessRunner):
    """Runs a host library over episode images, in a process of its own."""

    name = "host"

    def __init__(self, built: BuiltHost) -> None:
        """Nothing runs yet."""
        super().__init__()
        self.built = built

    def version(self) -> str:
        """The machine."""
        return platform.machine()

    def launch(self, image: bytes, profile: bool) -> None:
        """Start the process.

        Raises:
            UsageError: a profile is asked for; only emulators count.
        """
        if profile:
            raise UsageError("the host build counts no instructions; take a board on QEMU for a profile")
        super().launch(image, profile)

    def command(self, profile: bool) -> list[str]:
        """The worker's command line. -P keeps this package's folder out of its module path."""
        worker = Path(host_worker.__file__)
        return [sys.executable, "-P", str(worker), str(self.built.library.resolve()), IMAGE_FILE, LINES_FILE]

    def profile(self) -> Profile:
        """There is none on the host."""
        raise UsageError("the host build counts no instructions; take a board on QEMU for a profile")


class HostModel:
    """The model of a host library in this very process, one inference or step at a time.

    A library is loaded once in a process: build a changed model into another folder.
    """

    def __init__(self, built: BuiltHost) -> None:
        """Load the library and reset the model."""
        self._ffi = FFI()
        self._ffi.cdef(_DECLARATIONS)
        self._library: Any = self._ffi.dlopen(str(built.library.resolve()))
        self._input: Any = self._ffi.new("int8_t[]", self._library.mct_model.input_bytes + 8)
        self.reset()

    def reset(self, seed: int = 1) -> None:
        """Load the initial trainable state, and seed the random numbers."""
        self._library.mct_model_reset()
        self._library.mct_model_io.random = seed

    def infer(self, codes: NDArray[np.int8]) -> tuple[int, NDArray[np.int8]]:
        """One inference over input codes (int8, input_bytes of them): the class, and the output codes where there are any."""
        self._set_input(codes)
        self._check(self._library.mct_model_infer())
        return int(self._library.mct_model_io.prediction), self._codes("output")

    def train(self, codes: NDArray[np.int8], label: int, learning_rate: float) -> tuple[np.float32, int]:
        """One training step: the loss before the update, and the class predicted before it."""
        self._set_input(codes)
        self._library.mct_model_io.label = label
        self._library.mct_model_io.learning_rate = learning_rate
        self._check(self._library.mct_model_train())
        return np.float32(self._library.mct_model_io.loss), int(self._library.mct_model_io.prediction)

    def trainable(self) -> bytes:
        """The trainable state, which digests cover."""
        return self._codes("trainable").tobytes()

    def _set_input(self, codes: NDArray[np.int8]) -> None:
        if codes.dtype != np.int8 or codes.size != self._library.mct_model.input_bytes:
            raise UsageError(
                f"the network takes {self._library.mct_model.input_bytes} int8 codes, not {codes.size} {codes.dtype}"
            )
        content = codes.tobytes()
        self._ffi.memmove(self._input, content, len(content))
        self._library.mct_model_io.input = self._input

    def _codes(self, name: str) -> NDArray[np.int8]:
        count = getattr(self._library.mct_model, f"{name}_bytes")
        content = bytes(self._ffi.buffer(getattr(self._library.mct_model, name), count)) if count else b""
        return np.frombuffer(content, np.int8)

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise MismatchError(f"the model returned status {status}")
