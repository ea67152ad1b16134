from __future__ import annotations

import time

import pytest

from emulators.helpers import one_step
from emulators.test_lines import BOOT, DEVICE, STEP, boot, end
from mcutrain.emulators.base import FaultError, Limits, Runner, RunTimeoutError
from mcutrain.emulators.lines import Line, LineReader, format_line
from mcutrain.emulators.profile import Profile
from mcutrain.emulators.request import Device
from mcutrain.errors import MismatchError


class MockRunner(Runner):
    """A device of chunks: each read gives one, then it has ended, unless it hangs."""

    name = "mock"

    def __init__(self, *chunks: str, exit_code: int = 0, hangs: bool = False) -> None:
        self.chunks = [chunk.encode() for chunk in chunks]
        self.exit_code = exit_code
        self.hangs = hangs
        self.calls: list[str] = []

    @property
    def device(self) -> Device:
        return DEVICE

    def version(self) -> str:
        return "1"

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        self.calls.append("launch")

    def read(self) -> bytes:
        self.calls.append("read")
        if self.chunks:
            return self.chunks.pop(0)
        time.sleep(0.01)
        return b""

    def exit_status(self) -> int | None:
        return None if self.chunks or self.hangs else self.exit_code

    def profile(self) -> Profile:
        self.calls.append("profile")
        return Profile(0, {}, (), ())

    def close(self) -> None:
        self.calls.append("close")


def lines(*content: str) -> str:
    return "".join(f"{line}\n" for line in content)


def test_a_run_is_launched_read_profiled_and_closed_in_this_order() -> None:
    runner = MockRunner(lines(BOOT), lines(STEP, end(2)))
    result = runner.run(one_step(), profile=True)
    assert [line.kind for line in result.lines] == ["boot", "step", "end"]
    assert runner.calls == ["launch", "read", "read", "read", "profile", "close"]


def test_each_line_is_handed_on_as_it_arrives() -> None:
    seen: list[Line] = []
    MockRunner(lines(BOOT), lines(STEP, end(2))).run(one_step(), on_line=seen.append)
    assert [line.kind for line in seen] == ["boot", "step", "end"]


def test_a_run_in_its_time_does_not_look_at_its_lines_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(LineReader, "progress", lambda reader: looked.append(len(reader.lines)))
    MockRunner(lines(BOOT), lines(STEP), lines(end(2))).run(one_step())
    assert not looked, "with every read that would cost as much as has been read before"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(total_seconds=0.1), r"mock: the run took over 0.1 s, after 1 lines"),
        (Limits(silence_seconds=0.1), r"mock: no line for 0.1 s, after 1 lines"),
    ],
)
def test_a_silent_device_is_closed_when_its_time_is_up(limits: Limits, message: str) -> None:
    runner = MockRunner(lines(BOOT), hangs=True)
    begin = time.monotonic()
    with pytest.raises(RunTimeoutError, match=message):
        runner.run(one_step(), limits=limits)
    assert time.monotonic() - begin < 10
    assert runner.calls[-1] == "close"


def test_an_end_with_another_exit_code_is_a_failure() -> None:
    with pytest.raises(MismatchError, match="status 0, but exit code 1"):
        MockRunner(lines(BOOT, STEP, end(2)), exit_code=1).run(one_step())


def test_a_status_that_was_not_expected_is_a_failure_in_words() -> None:
    diverged = lines(BOOT, format_line("end", status=2, lines=1, stack_peak=0))
    with pytest.raises(MismatchError, match="training diverged"):
        MockRunner(diverged, exit_code=2).run(one_step())
    assert MockRunner(diverged, exit_code=2).run(one_step(), expect_status=2).status == 2


def test_a_device_that_dies_is_a_failure_with_its_signal() -> None:
    with pytest.raises(MismatchError, match=r"without an 'end'; mock ended with signal 11"):
        MockRunner(lines(BOOT), exit_code=-11).run(one_step())


def test_a_fault_carries_its_address() -> None:
    fault = format_line("fault", kind="memory", address="20040000", pc="00000124")
    with pytest.raises(
        FaultError, match="memory fault at address 0x20040000 by the instruction at 0x00000124"
    ) as caught:
        MockRunner(lines(BOOT, fault), exit_code=101).run(one_step())
    assert (caught.value.address, caught.value.pc) == (0x20040000, 0x124)


def test_a_damaged_line_closes_the_device() -> None:
    runner = MockRunner("@nonsense\n")
    with pytest.raises(MismatchError, match="line 1 is damaged"):
        runner.run(one_step())
    assert runner.calls[-1] == "close"


def test_a_line_that_was_not_asked_for_closes_the_device() -> None:
    runner = MockRunner(lines(BOOT, STEP, STEP.replace("n=0", "n=1"), end(3)))
    with pytest.raises(MismatchError, match="line 3 is damaged"):
        runner.run(one_step())
    assert runner.calls[-1] == "close"
    with pytest.raises(MismatchError, match=r"line 3: a 'step' line came, asked for was 'end'"):
        MockRunner(lines(BOOT, STEP, STEP, end(3))).run(one_step())


def test_bytes_that_are_no_image_have_to_be_refused() -> None:
    refused = lines(boot("00000000"), format_line("end", status=3, lines=1, stack_peak=0))
    assert MockRunner(refused, exit_code=3).run(b"no image", expect_status=3).status == 3
    with pytest.raises(MismatchError, match=r"line 1: 'boot' has image=.*, asked for was 00000000"):
        MockRunner(lines(BOOT, STEP, end(2))).run(b"no image")
