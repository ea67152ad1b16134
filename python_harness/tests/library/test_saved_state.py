"""mct_save and mct_restore: training goes on with the very bits, and nothing that is not a whole state of this plan gets in."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from mcutrain.compiler.codegen import SAVED_HEADER_BYTES
from mcutrain.golden.executor import GoldenExecutor
from support.host_models import ERROR_ARGUMENT, ERROR_FORMAT, OK, CModel, host_model, sample_codes
from support.traced_step import run_step

SEED, RATE = 77, 0.01
# Words of the header: magic, version, CRC, plan, bytes of state, random, samples.
VERSION, CRC, PLAN, STATE_BYTES, RANDOM, SAMPLES = range(1, 7)


def train(model: CModel, first: int, last: int) -> list[tuple[int, int, int]]:
    """Train on samples first to last - 1; (digest, bits of the loss, prediction) of each."""
    found = []
    codes = sample_codes(model, last)
    for n in range(first, last):
        loss, prediction = model.train(codes[n], n % model.plan.training.classes, RATE)
        if (n + 1) % model.plan.training.batch == 0:
            model.end_batch()
        found.append((model.digest(), int(loss.view(np.uint32)), prediction))
    return found


def golden(model: CModel, count: int) -> list[tuple[int, int, int]]:
    """The same of the NumPy reference, without a stop."""
    executor = GoldenExecutor(model.plan)
    executor.seed(SEED)
    found = []
    for n, codes in enumerate(sample_codes(model, count)):
        run_step(executor, codes, n % model.plan.training.classes, RATE)
        found.append((executor.digest(), int(executor.loss.view(np.uint32)), executor.prediction))
    return found


def with_words(saved: bytes, words: dict[int, int], *, sealed: bool = True) -> bytes:
    """The saved state with words of its header replaced, and its CRC made right again."""
    header = list(struct.unpack_from("<7I", saved))
    for place, value in words.items():
        header[place] = value
    if sealed:
        header[CRC] = zlib.crc32(struct.pack("<4I", *header[PLAN:]) + saved[SAVED_HEADER_BYTES:])
    return struct.pack("<7I", *header) + saved[SAVED_HEADER_BYTES:]


@pytest.fixture(params=["stochastic8", "master16"])
def model(request: pytest.FixtureRequest) -> CModel:
    """A model with state in one minibatch, and one that draws random numbers."""
    found = host_model("perceptron", request.param, 1 if request.param == "stochastic8" else 4)
    found.reset(SEED)
    return found


@pytest.mark.parametrize("stop", [1, 2, 4, 6])
def test_training_goes_on_with_the_very_bits(model: CModel, stop: int) -> None:
    """The stops at 1, 2 and 6 are within a minibatch of four; with batch 1 the random numbers must go on where they were."""
    expected = golden(model, 8)
    assert train(model, 0, stop) == expected[:stop]
    saved = model.save()
    train(model, stop, stop + 1)
    model.reset(5)
    model.infer(sample_codes(model, 1, seed=9)[0])
    assert model.restore(saved) == OK
    assert model.save() == saved
    assert train(model, stop, 8) == expected[stop:]


def test_a_saved_state_is_its_header_and_the_state(model: CModel) -> None:
    train(model, 0, 3)
    saved = model.save()
    state = model.trainable()
    assert len(saved) == SAVED_HEADER_BYTES + len(state) == model.call("saved_bytes")
    assert saved[SAVED_HEADER_BYTES:] == state
    words = struct.unpack_from("<7I", saved)
    assert words[PLAN] == model.plan.crc32 and words[STATE_BYTES] == len(state)
    assert words[SAMPLES] == (3 if model.plan.training.batch == 4 else 0)
    assert with_words(saved, {}) == saved  # the CRC is what with_words takes it for


def refused(model: CModel, damaged: bytes) -> bool:
    """Whether mct_restore refuses this, and nothing has changed."""
    before = model.save()
    return model.restore(damaged) == ERROR_FORMAT and model.save() == before


def test_a_damaged_byte_anywhere_is_refused_and_changes_nothing(model: CModel) -> None:
    train(model, 0, 3)
    saved = model.save()
    model.reset(SEED)  # another state than the one that is saved
    for place in range(len(saved)):
        damaged = bytearray(saved)
        damaged[place] ^= 1 << place % 8
        assert refused(model, bytes(damaged)), f"byte {place}"
    assert model.restore(saved) == OK


def test_a_truncated_state_is_refused_and_changes_nothing(model: CModel) -> None:
    train(model, 0, 3)
    saved = model.save()
    model.reset(SEED)
    for length in (0, 1, SAVED_HEADER_BYTES - 1, SAVED_HEADER_BYTES, len(saved) // 2, len(saved) - 1):
        assert refused(model, saved[:length]), f"{length} bytes"
    assert model.restore(saved + b"whatever lies behind it in flash") == OK


@pytest.mark.parametrize(
    ("what", "words", "sealed"),
    [
        ("another magic number", {0: 0x4554434D}, False),
        ("another version", {VERSION: 2}, False),
        ("the state of another plan", {PLAN: 0x12345678}, True),
        ("another size", {STATE_BYTES: 8}, True),
        ("random numbers that stand still", {RANDOM: 0}, True),
        ("more samples than a minibatch has", {SAMPLES: 5}, True),
        ("a negative number of samples", {SAMPLES: 0xFFFFFFFF}, True),
    ],
)
def test_what_is_whole_but_does_not_belong_here_is_refused(
    model: CModel, what: str, words: dict[int, int], sealed: bool
) -> None:
    saved = model.save()
    assert refused(model, with_words(saved, words, sealed=sealed)), what
    assert model.restore(with_words(saved, {RANDOM: 3})) == OK  # so it is the word, and not the sealing


def test_the_state_of_another_network_is_refused() -> None:
    model, other = host_model("perceptron", "stochastic8"), host_model("chain")
    model.reset(SEED)
    other.reset(SEED)
    assert refused(model, other.save()) and refused(other, model.save() + bytes(other.call("saved_bytes")))


def test_buffers_need_no_alignment_and_small_ones_are_left_alone(model: CModel) -> None:
    size = model.call("saved_bytes")
    for offset in range(4):
        buffer = model.memory(bytes(size), offset)
        assert model.call("save", buffer, size) == OK
        assert model.bytes_at(buffer, size) == model.save()
        assert model.call("restore", buffer, size) == OK
    buffer = model.memory(b"\xa5" * size)
    assert model.call("save", buffer, size - 1) == ERROR_ARGUMENT
    assert model.bytes_at(buffer, size) == b"\xa5" * size
    assert model.call("save", None, size) == ERROR_ARGUMENT
    assert model.call("restore", None, size) == ERROR_ARGUMENT
