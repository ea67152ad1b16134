"""The same episode on the host and on both cores: the same lines, bit for bit."""

from __future__ import annotations

import dataclasses
import struct
import zlib

import numpy as np
import pytest

from emulators.helpers import PERCEPTRON, Emulated, FirmwareBuilder, HostBuilder, one_inference, perceptron_image
from mcutrain.emulators.base import Limits, RunTimeoutError
from mcutrain.emulators.build import BuildError, runtime_static_bytes
from mcutrain.emulators.host import HostModel, HostRunner
from mcutrain.emulators.lines import Line
from mcutrain.emulators.qemu import QemuRunner
from mcutrain.errors import MismatchError, UsageError

CORES = ("m4-256k", "m7-256k")


def content(lines: tuple[Line, ...]) -> list[tuple[str, dict[str, str]]]:
    """All that must not depend on the runner: every line but the first and the last, which tell about the port."""
    return [(line.kind, dict(line.values)) for line in lines[1:-1]]


@pytest.mark.qemu
@pytest.mark.parametrize("board", CORES)
def test_an_episode_has_the_same_lines_on_the_host_and_on_the_board(
    board: str, emulated: Emulated, firmware: FirmwareBuilder, host: HostBuilder
) -> None:
    image = perceptron_image(predictions=True, trace_step=3, dump_op=2)
    on_host = HostRunner(host(PERCEPTRON)).run(image)
    on_board = emulated(firmware(PERCEPTRON, board)).run(image)
    assert content(on_board.lines) == content(on_host.lines)
    assert len(on_host.of_kind("step")) == 60
    assert len(on_host.of_kind("prediction")) == 80
    assert {line.kind for line in on_host.lines} == {"boot", "prediction", "evaluation", "trace", "step", "dump", "end"}
    assert on_board.lines[0].text("board") == board
    assert (
        on_board.lines[0].text("image")
        == on_host.lines[0].text("image")
        == f"{struct.unpack_from('<I', image.to_bytes(), 12)[0]:08x}"
    )


def test_training_learns_and_every_digest_is_the_crc_of_the_state(host: HostBuilder) -> None:
    image = perceptron_image()
    result = HostRunner(host(PERCEPTRON)).run(image)
    before, after = (line.integer("correct") for line in result.of_kind("evaluation"))
    assert before < 10
    assert after > 30

    model = HostModel(host(PERCEPTRON))
    model.reset(image.seed)
    for step, line in enumerate(result.of_kind("step")):
        sample = int(image.order[step])
        loss, prediction = model.train(
            image.adapt_samples[sample], int(image.adapt_labels[sample]), float(image.learning_rate(step))
        )
        assert line.bits("loss") == int(loss.view(np.uint32))
        assert line.integer("prediction") == prediction
        assert line.bits("digest") == zlib.crc32(model.trainable())
    predictions = np.array([model.infer(sample)[0] for sample in image.test_samples], "<i4")
    assert result.of_kind("evaluation")[1].bits("digest") == zlib.crc32(predictions.tobytes())


def test_a_dump_is_the_bytes_that_the_trace_has_the_crc_of(host: HostBuilder) -> None:
    result = HostRunner(host(PERCEPTRON)).run(perceptron_image(trace_step=3, dump_op=2))
    traces = [line for line in result.of_kind("trace") if line.integer("op") == 2]
    assert [line.integer("output") for line in traces] == [0, 1]
    for trace in traces:
        parts = [line for line in result.of_kind("dump") if line.text("output") == trace.text("output")]
        assert zlib.crc32(b"".join(part.data() for part in parts)) == trace.bits("crc")


def test_digests_come_as_often_as_the_image_asks_and_at_the_last_step(host: HostBuilder) -> None:
    image = perceptron_image(23, digest_every=10)
    steps = HostRunner(host(PERCEPTRON)).run(image).of_kind("step")
    given = [step for step, line in enumerate(steps) if line.bits("digest") != 0]
    assert given == [9, 19, 22] == [step for step in range(23) if image.digest_due(step)]


@pytest.mark.qemu
@pytest.mark.parametrize("board", CORES)
def test_static_data_is_the_runtime_and_the_model_to_the_byte(board: str, firmware: FirmwareBuilder) -> None:
    built = firmware(PERCEPTRON, board)
    trainable, arena, io = 64, 16, 28
    assert built.data_bytes == 0
    assert built.bss_bytes == runtime_static_bytes() + trainable + arena + io
    boot = QemuRunner(built).run(perceptron_image()).lines[0]
    assert (boot.integer("data"), boot.integer("bss"), boot.integer("stack")) == (0, built.bss_bytes, built.stack_bytes)
    assert (boot.integer("arena"), boot.integer("trainable")) == (arena, trainable)


def damaged_images() -> dict[str, bytes]:
    """One image for each thing that a device checks, with a right CRC except where that is what is wrong."""
    good = perceptron_image(5).to_bytes()

    def with_word(index: int, value: int) -> bytes:
        data = bytearray(good)
        struct.pack_into("<I", data, 4 * index, value)
        if index >= 4:
            struct.pack_into("<I", data, 12, zlib.crc32(data[16:]))
        return bytes(data)

    size = len(good)
    return {
        "magic": with_word(0, 0),
        "version": with_word(1, 1),
        "size 0": with_word(2, 0),
        "size beyond the memory": with_word(2, 0xFFFFFFFC),
        "crc": with_word(3, 0),
        "a flipped bit in a sample": good[:100] + bytes([good[100] ^ 1]) + good[101:],
        "plan": with_word(4, 1),
        "sample size": with_word(5, 3),
        "adapt samples behind the end": with_word(6, 0x40000001),
        "steps that wrap": with_word(8, 0x80000000),
        "seed": with_word(9, 0),
        "samples in the header": with_word(10, 92),
        "samples out of line": with_word(12, 98),
        "labels behind the end": with_word(13, size - 2),
        "order behind the end": with_word(14, 0xFFFFFFFE),
        "no learning rate": with_word(16, 0),
        "a division by zero": with_word(17, 0),
        "unknown flags": with_word(18, 32),
        "digest never": with_word(21, 0),
        "values for labels": with_word(23, 3),
        "order beyond the samples": with_word(14, 96),  # reads sample bytes as indices
        "labels beyond the classes": with_word(11, 96),
    }


@pytest.mark.parametrize("what", damaged_images())
def test_a_damaged_image_ends_with_status_3_and_nothing_runs(what: str, host: HostBuilder) -> None:
    result = HostRunner(host(PERCEPTRON)).run(damaged_images()[what], expect_status=3)
    assert [line.kind for line in result.lines] == ["boot", "end"]
    assert result.lines[0].text("image") == "00000000"


@pytest.mark.qemu
@pytest.mark.parametrize("what", ["crc", "size beyond the memory", "order behind the end"])
def test_a_board_refuses_a_damaged_image_too(what: str, emulated: Emulated, firmware: FirmwareBuilder) -> None:
    result = emulated(firmware(PERCEPTRON, "m4-256k")).run(damaged_images()[what], expect_status=3)
    assert [line.kind for line in result.lines] == ["boot", "end"]


def test_a_model_that_cannot_train_says_so(emulated: Emulated, host: HostBuilder, firmware: FirmwareBuilder) -> None:
    built = firmware('#include "minimal.h"\nstatic void misbehave(void) {}\n', "m4-256k")
    assert emulated(built).run(perceptron_image(2), expect_status=1).status == 1


def test_an_image_larger_than_the_external_memory_is_refused_before_the_run(firmware: FirmwareBuilder) -> None:
    with pytest.raises(UsageError, match="external memory of m4-256k 16,777,216"):
        QemuRunner(firmware(PERCEPTRON, "m4-256k")).run(bytes(16 * 1024 * 1024 + 4))


def test_a_firmware_that_does_not_fit_is_refused_with_the_number_of_bytes(firmware: FirmwareBuilder) -> None:
    source = '#include "minimal.h"\nuint8_t big[262144];\nstatic void misbehave(void) { big[*word_at(0x20000000u) & 7u] = 1; }\n'
    with pytest.raises(UsageError, match=r"does not fit: SRAM overflows by 4,\d\d\d bytes"):
        firmware(source, "m4-256k")
    assert firmware(source, "m4-1m").bss_bytes == 262144 + runtime_static_bytes() + 32 + 28


@pytest.mark.qemu
def test_the_same_sources_give_the_same_firmware_wherever_they_are_built(firmware: FirmwareBuilder) -> None:
    twice = [
        firmware(f'#include "minimal.h"\n{space}static void misbehave(void) {{}}\n', "m7-1m") for space in ("", " ")
    ]
    assert twice[0].elf != twice[1].elf
    assert twice[0].sha256 == twice[1].sha256


def test_a_host_run_that_hangs_is_stopped_by_the_time_limit(host: HostBuilder) -> None:
    built = host('#include "minimal.h"\nstatic void misbehave(void) { for (volatile int i = 0;; i++) {} }\n')
    with pytest.raises(RunTimeoutError, match="host: no line for 1 s"):
        HostRunner(built).run(one_inference(), limits=Limits(silence_seconds=1))


def test_a_host_run_that_crashes_is_a_failure_and_not_a_crash_of_ours(host: HostBuilder) -> None:
    built = host('#include "minimal.h"\nstatic void misbehave(void) { *word_at(16u) = 1; }\n')
    with pytest.raises(MismatchError, match=r"broke off after 1 lines .* host ended with signal 11"):
        HostRunner(built).run(one_inference())


def test_a_model_that_does_not_compile_is_one_line_with_the_compilers(host: HostBuilder) -> None:
    with pytest.raises(BuildError, match=r"^the build failed: .*error: .*; see .*build.log$") as caught:
        host('#include "minimal.h"\nstatic void misbehave(void) { nonsense }\n')
    assert "\n" not in str(caught.value)


def test_the_host_gives_no_profile(host: HostBuilder) -> None:
    with pytest.raises(UsageError, match="counts no instructions"):
        HostRunner(host(PERCEPTRON)).run(one_inference(), profile=True)


def test_a_diverging_status_is_a_failure_unless_it_is_expected(host: HostBuilder) -> None:
    image = dataclasses.replace(perceptron_image(3), plan_crc32=1)
    with pytest.raises(MismatchError, match=r"status 3 .the episode image was refused"):
        HostRunner(host(PERCEPTRON)).run(image)
