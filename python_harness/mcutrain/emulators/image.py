"""EpisodeImage: the data of an episode as every runner takes it (docs/protocol.md, "The episode image")."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError

MAGIC = 0x4554434D
VERSION = 3
HEADER_BYTES = 96
MOST_BYTES = (1 << 32) - 4  # offsets are uint32, the whole is a multiple of 4
NO_OPERATOR = 0xFFFFFFFF

Unsigned = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]

_NO_LABELS: NDArray[np.uint32] = np.zeros(0, np.uint32)
_HEADER = struct.Struct("<24I")
_EVALUATE_BEFORE, _EVALUATE_AFTER, _PREDICTIONS, _TRACE, _ENDS = 1, 2, 4, 8, 16


@dataclass(frozen=True, eq=False)
class EpisodeImage:
    """One episode's samples, order, learning rates and seed.

    adapt_samples, test_samples: int8, shape (count, sample_bytes), the network's input codes. What a sample is to be, its class or
    values: adapt_labels, test_labels, unsigned integers, shape (count,); or adapt_targets, test_targets, float32, shape (count, values),
    and no label then. order: unsigned integers, shape (steps,), which adapt sample each step trains on. learning_rates: float32, at
    least one if there are steps. seed: the first xorshift32 state. trace_step: the step to trace, None for none; dump_op: the operator
    to dump in it, at its visit dump_visit. digest_every: a digest after every so many steps, and after the last.
    ends: the schedule ends with these steps, so that a last minibatch that is cut short is an update, too.
    """

    plan_crc32: int
    adapt_samples: NDArray[np.int8]
    adapt_labels: Unsigned
    test_samples: NDArray[np.int8]
    test_labels: Unsigned
    order: Unsigned
    learning_rates: NDArray[np.float32]
    steps_per_learning_rate: int = 1
    seed: int = 1
    evaluate_before: bool = True
    evaluate_after: bool = True
    predictions: bool = False
    trace_step: int | None = None
    dump_op: int | None = None
    dump_visit: int = 0
    digest_every: int = 1
    ends: bool = False
    adapt_targets: NDArray[np.float32] | None = None
    test_targets: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check everything that the device will check, so that a bad image is refused here, in words."""
        problem = self._wrong_array() or self._problem()
        if problem is not None:
            raise UsageError(f"episode image: {problem}")

    def _wrong_array(self) -> str | None:
        for name, kind, dimensions in (
            ("adapt_samples", "int8", 2),
            ("adapt_labels", "uint32", 1),
            ("adapt_targets", "float32", 2),
            ("test_samples", "int8", 2),
            ("test_labels", "uint32", 1),
            ("test_targets", "float32", 2),
            ("order", "uint32", 1),
            ("learning_rates", "float32", 1),
        ):
            array = getattr(self, name)
            if array is None:
                continue
            narrower = kind == "uint32" and array.dtype in (np.uint8, np.uint16)
            if array.ndim != dimensions or not (array.dtype == kind or narrower):
                return f"{name} must be {kind} of {dimensions} dimensions, not {array.dtype} {array.shape}"
        return None

    def _problem(self) -> str | None:
        if self.adapt_samples.shape[1] != self.test_samples.shape[1] or self.sample_bytes == 0:
            return f"adapt samples of {self.adapt_samples.shape[1]} bytes, test samples of {self.test_samples.shape[1]}"
        wrong = self._wrong_targets()
        if wrong is not None:
            return wrong
        if self.steps and int(self.order.max()) >= self.adapt_count:
            return f"the order names sample {int(self.order.max())}, but there are {self.adapt_count}"
        if self.steps and self.learning_rates.size == 0:
            return "there are steps but no learning rate"
        if not np.isfinite(self.learning_rates).all():
            return "a learning rate is not finite"
        if not 0 < self.seed < 2**32:
            return f"the seed is {self.seed}; it must be 1 to 2^32 - 1"
        if self.steps_per_learning_rate < 1 or self.digest_every < 1:
            return "steps_per_learning_rate and digest_every must be 1 or more"
        if self.dump_op is not None and self.trace_step is None:
            return f"operator {self.dump_op} is to be dumped, but no step is traced"
        if self.size_bytes > MOST_BYTES:
            return (
                f"{self.size_bytes:,} B of samples and steps, at most {MOST_BYTES:,} B fit; use fewer samples or steps"
            )
        return None

    def _wrong_targets(self) -> str | None:
        """What is wrong with the labels, or with the targets in their place."""
        if (self.adapt_targets is None) != (self.test_targets is None):
            return "give targets for the adapt samples and for the test samples, or for neither"
        for name in ("adapt", "test"):
            samples, labels = len(getattr(self, f"{name}_samples")), len(getattr(self, f"{name}_labels"))
            targets: NDArray[np.float32] | None = getattr(self, f"{name}_targets")
            if targets is None:
                if samples != labels:
                    return f"{samples} {name} samples, but {labels} {name} labels"
                continue
            if len(targets) != samples or labels:
                return f"{samples} {name} samples, but {len(targets)} {name} targets and {labels} labels"
            if targets.shape[1] != self.target_values or targets.shape[1] == 0:
                return f"{name} targets of {targets.shape[1]} values"
            if not np.isfinite(targets).all():
                return f"a value of the {name} targets is not finite"
        return None

    @property
    def target_values(self) -> int:
        """Values of a sample's target; 0 where samples have labels."""
        return 0 if self.adapt_targets is None else int(self.adapt_targets.shape[1])

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole image."""
        of_one = (self.sample_bytes + 3 & ~3) + 4 * (self.target_values or 1)
        samples = (self.adapt_count + self.test_count) * of_one
        return HEADER_BYTES + samples + 4 * (self.steps + len(self.learning_rates))

    def adapt_target(self, sample: int) -> int | NDArray[np.float32]:
        """What adapt sample ``sample`` is to be: its label, or its values."""
        return int(self.adapt_labels[sample]) if self.adapt_targets is None else self.adapt_targets[sample]

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return int(self.adapt_samples.shape[1])

    @property
    def adapt_count(self) -> int:
        """Samples to train on."""
        return len(self.adapt_samples)

    @property
    def test_count(self) -> int:
        """Samples to evaluate."""
        return len(self.test_samples)

    @property
    def steps(self) -> int:
        """Training steps."""
        return len(self.order)

    def learning_rate(self, step: int) -> np.float32:
        """The learning rate of step ``step``."""
        return np.float32(self.learning_rates[min(step // self.steps_per_learning_rate, len(self.learning_rates) - 1)])

    def ends_batch(self, step: int, batch: int) -> bool:
        """Whether a minibatch of ``batch`` samples ends with step ``step``."""
        return (step + 1) % batch == 0 or (self.ends and step + 1 == self.steps)

    def digest_due(self, step: int) -> bool:
        """Whether the line of step ``step`` carries a digest: the steps digest_every - 1, 2 * digest_every - 1, ..., and the last."""
        return (step + 1) % self.digest_every == 0 or step + 1 == self.steps

    @cached_property
    def crc32(self) -> int:
        """The CRC-32 of its header, which ``boot`` repeats."""
        return zlib.crc32(self.to_bytes()[16:])

    def to_bytes(self) -> bytes:
        """The image as the device reads it."""
        parts: list[bytes] = []
        offsets: list[int] = []
        end = HEADER_BYTES
        for part in (
            _padded_rows(self.adapt_samples),
            _target_bytes(self.adapt_labels, self.adapt_targets),
            _padded_rows(self.test_samples),
            _target_bytes(self.test_labels, self.test_targets),
            self.order.astype("<u4").tobytes(),
            self.learning_rates.astype("<f4").tobytes(),
        ):
            offsets.append(end)
            parts.append(part)
            end += len(part)
        flags = (
            _EVALUATE_BEFORE * self.evaluate_before
            | _EVALUATE_AFTER * self.evaluate_after
            | _PREDICTIONS * self.predictions
            | _TRACE * (self.trace_step is not None)
            | _ENDS * self.ends
        )
        words = (
            *(self.plan_crc32, self.sample_bytes, self.adapt_count, self.test_count, self.steps, self.seed),
            *offsets,
            *(len(self.learning_rates), self.steps_per_learning_rate, flags, self.trace_step or 0),
            *(NO_OPERATOR if self.dump_op is None else self.dump_op, self.digest_every, self.dump_visit),
            self.target_values,
        )
        covered = struct.pack("<20I", *words) + b"".join(parts)
        return struct.pack("<4I", MAGIC, VERSION, end, zlib.crc32(covered)) + covered

    @classmethod
    def from_bytes(cls, data: bytes) -> EpisodeImage:
        """Read an image back.

        Raises:
            UsageError: it is truncated, damaged, of another version, or its parts do not lie inside it.
        """
        if len(data) < HEADER_BYTES:
            raise UsageError(f"episode image: {len(data)} bytes are too few for its header of {HEADER_BYTES}")
        (magic, version, image_bytes, crc, plan, sample_bytes, adapts, tests, steps, seed, *rest) = _HEADER.unpack_from(
            data
        )
        offsets, (rates, per_rate, flags, trace_step, dump_op, digest_every, dump_visit, values) = rest[:6], rest[6:]
        if magic != MAGIC or version != VERSION:
            raise UsageError(f"episode image: magic {magic:08x}, version {version}; expected {MAGIC:08x}, {VERSION}")
        if image_bytes != len(data):
            raise UsageError(f"episode image: its header says {image_bytes} bytes, but it has {len(data)}")
        if crc != zlib.crc32(data[16:]):
            raise UsageError("episode image: wrong CRC; it is damaged, make it again")
        traced = bool(flags & _TRACE)
        stride = (sample_bytes + 3) & ~3
        adapt_labels, adapt_targets = _targets(data, offsets[1], adapts, values)
        test_labels, test_targets = _targets(data, offsets[3], tests, values)
        return cls(
            plan_crc32=plan,
            adapt_samples=_part(data, offsets[0], "<i1", adapts * stride).reshape(adapts, stride)[:, :sample_bytes],
            adapt_labels=adapt_labels,
            adapt_targets=adapt_targets,
            test_samples=_part(data, offsets[2], "<i1", tests * stride).reshape(tests, stride)[:, :sample_bytes],
            test_labels=test_labels,
            test_targets=test_targets,
            order=_part(data, offsets[4], "<u4", steps),
            learning_rates=_part(data, offsets[5], "<f4", rates),
            steps_per_learning_rate=per_rate,
            seed=seed,
            evaluate_before=bool(flags & _EVALUATE_BEFORE),
            evaluate_after=bool(flags & _EVALUATE_AFTER),
            predictions=bool(flags & _PREDICTIONS),
            trace_step=trace_step if traced else None,
            dump_op=dump_op if traced and dump_op != NO_OPERATOR else None,
            dump_visit=dump_visit if traced and dump_op != NO_OPERATOR else 0,
            digest_every=digest_every,
            ends=bool(flags & _ENDS),
        )


def _target_bytes(labels: Unsigned, targets: NDArray[np.float32] | None) -> bytes:
    return labels.astype("<u4").tobytes() if targets is None else targets.astype("<f4").tobytes()


def _targets(data: bytes, offset: int, count: int, values: int) -> tuple[Unsigned, NDArray[np.float32] | None]:
    """The labels of ``count`` samples, or none and their targets."""
    if values == 0:
        return _part(data, offset, "<u4", count), None
    return _NO_LABELS, _part(data, offset, "<f4", count * values).reshape(count, values)


def _padded_rows(samples: NDArray[np.int8]) -> bytes:
    return np.pad(samples, ((0, 0), (0, -samples.shape[1] % 4))).tobytes()


def _part(data: bytes, offset: int, dtype: str, count: int) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if count and (offset < HEADER_BYTES or offset + count * kind.itemsize > len(data)):
        raise UsageError(
            f"episode image: {count} {kind.name} at offset {offset} do not lie inside its {len(data)} bytes"
        )
    return np.frombuffer(data, kind, count, offset if count else 0).astype(kind.newbyteorder("="))
