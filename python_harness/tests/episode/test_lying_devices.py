"""Devices that lie: lines of a real run, dropped, doubled, reordered, cut and changed, most with CRCs and counts that agree.

Whatever a device sends, the run ends in one error, or its lines and its record are the honest ones.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from episode.conftest import Prepare
from mcutrain.emulators.base import Limits, Runner
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import Line, format_line
from mcutrain.emulators.profile import Profile
from mcutrain.emulators.request import Device
from mcutrain.episode.compare import first_difference
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import EpisodeRecord, comparable
from mcutrain.episode.run import RunOptions, run_episode
from mcutrain.episode.runners import Target, make_target
from mcutrain.errors import McutrainError
from support.fuzz import bounded

STEPS, TEST = 6, 4

Sent = list[tuple[str, dict[str, str]]]

NASTY = (
    "",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "00",
    "999",
    "4995",
    "65536",
    "4294967295",
    "99999999999",
    "1e9",
    "nan",
    "inf",
    "None",
    "é",
)
NASTY_BITS = (
    "00000000",
    "00000001",
    "7f800000",
    "ff800000",
    "7fc00000",
    "80000000",
    "ffffffff",
    "FFFFFFFF",
    "0",
    "g0000000",
)
NASTY_WORDS = ("before", "after", "host", "golden", "m4-256k", "memory", "[red]", "a b", "=", "*", "\\x00", "../..")


class LyingRunner(Runner):
    """A device that sends what it is given, in pieces, and ends with the exit code it is given."""

    name = "host"

    def __init__(self, content: bytes, exit_code: int, cut: random.Random) -> None:
        self.content, self.exit_code, self.cut = content, exit_code, cut
        self.closed = False

    @property
    def device(self) -> Device:
        return Device("host")

    def version(self) -> str:
        return "1"

    def launch(self, image: bytes, profile: bool, limits: Limits) -> None:
        self.closed = False

    def read(self) -> bytes:
        count = self.cut.choice((1, 40, 700, 100_000))
        piece, self.content = self.content[:count], self.content[count:]
        return piece

    def exit_status(self) -> int | None:
        return None if self.content else self.exit_code

    def profile(self) -> Profile:
        raise AssertionError("nobody asked for a profile")

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Honest:
    """An image, what an honest device says of it, and the record that comes of it (where an episode asks for this image)."""

    image: EpisodeImage
    sent: Sent
    lines: tuple[Line, ...]
    record: EpisodeRecord | None = None


@dataclass(frozen=True)
class Fixture:
    prepared: PreparedEpisode
    target: Target
    traced: Honest
    plain: Honest

    def with_runner(self, runner: Runner) -> Target:
        return dataclasses.replace(self.target, name="host", runner=runner)

    def record(self, runner: Runner) -> EpisodeRecord | None:
        """The record of a run that is accepted; None where golden parts from it."""
        options = RunOptions(steps=STEPS, test=TEST, golden_steps=STEPS, profile=False)
        record, divergence = run_episode(self.prepared, self.with_runner(runner), options)
        return record if divergence is None else None


def sent_of(lines: tuple[Line, ...]) -> Sent:
    return [(line.kind, {**line.values, **({"board": "host"} if line.kind == "boot" else {})}) for line in lines]


def text_of(sent: Sent) -> bytes:
    return "".join(f"{format_line(kind, **values)}\n" for kind, values in sent).encode()


@pytest.fixture(scope="module")
def fixture(prepared: Prepare) -> Fixture:
    episode = prepared("b16", "master16")
    golden = make_target(episode.plan, "golden")
    plain = episode.image(steps=STEPS, test=TEST, predictions=True)
    traced = episode.image(steps=STEPS, test=TEST, trace_step=2, dump_op=3)
    runs = [Honest(image, sent_of(lines), lines) for image in (traced, plain) for lines in (golden.run(image),)]
    made = Fixture(episode, golden, *runs)
    record = made.record(LyingRunner(text_of(runs[1].sent), 0, random.Random(0)))
    assert record is not None
    return dataclasses.replace(made, plain=dataclasses.replace(runs[1], record=record))


# Lies. Each changes the lines of a run in place.


def drop(sent: Sent, rng: random.Random, other: Sent) -> None:
    begin = rng.randrange(len(sent))
    del sent[begin : begin + rng.choice((1, 1, 2, 5))]


def double(sent: Sent, rng: random.Random, other: Sent) -> None:
    at = rng.randrange(len(sent))
    sent.insert(rng.choice((at, rng.randrange(len(sent)))), sent[at])


def swap(sent: Sent, rng: random.Random, other: Sent) -> None:
    a, b = rng.randrange(len(sent)), rng.randrange(len(sent))
    sent[a], sent[b] = sent[b], sent[a]


def cut_short(sent: Sent, rng: random.Random, other: Sent) -> None:
    del sent[rng.randrange(len(sent)) : -1]


def change(sent: Sent, rng: random.Random, other: Sent) -> None:
    wanted = rng.choice(sorted({kind for kind, _ in sent}))  # each kind as often, however many lines there are of it
    at = rng.choice([at for at, (kind, _) in enumerate(sent) if kind == wanted])
    kind, values = sent[at]
    if not values:
        return
    key = rng.choice(list(values))
    near = str(int(values[key]) + rng.choice((-1, 1))) if values[key].isdecimal() and values[key].isascii() else "0"
    flipped = values[key][:-1] + rng.choice("0123456789abcdef")
    value = rng.choice(
        (near, near, flipped, flipped, rng.choice(NASTY), rng.choice(NASTY_BITS), rng.choice(NASTY_WORDS))
    )
    sent[at] = (kind, {**values, key: value.encode("ascii", "ignore").decode()})


def change_keys(sent: Sent, rng: random.Random, other: Sent) -> None:
    at = rng.randrange(len(sent))
    kind, values = sent[at]
    items = list(values.items())
    rng.shuffle(items)
    sent[at] = (rng.choice((kind, "step", "fault", "end", "boot", "ack")), dict(items[: rng.randrange(len(items) + 1)]))


def take_from_another_run(sent: Sent, rng: random.Random, other: Sent) -> None:
    sent[rng.randrange(len(sent))] = rng.choice(other)


def insert_a_fault(sent: Sent, rng: random.Random, other: Sent) -> None:
    values = {
        "kind": rng.choice(("memory", "hard", "none")),
        "address": rng.choice(NASTY_BITS),
        "pc": rng.choice(NASTY_BITS),
    }
    sent.insert(rng.randrange(len(sent)), ("fault", values))


LIES: tuple[Callable[[Sent, random.Random, Sent], None], ...] = (
    *(
        drop,
        double,
        swap,
        cut_short,
        change,
        change,
        change,
        change,
        change,
        change,
        change_keys,
        take_from_another_run,
        insert_a_fault,
    ),
)


def recount(sent: Sent) -> None:
    for at, (kind, values) in enumerate(sent):
        if kind == "end" and "lines" in values:
            sent[at] = (kind, {**values, "lines": str(at)})


def damage(content: bytes, rng: random.Random) -> bytes:
    """Of the bytes themselves: flipped, cut, inserted, without a line feed, without an end."""
    at = rng.randrange(len(content) + 1)
    kind = rng.randrange(6)
    if kind == 0 and content:
        at %= len(content)
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    inserted = (b"\n", rng.randbytes(20), b"x" * 100_000, b"@step n=0 *00000000\n")[rng.randrange(4)]
    return content[:at] if kind == 1 else content[:at] + inserted + content[at:]


def lie(honest: Honest, other: Honest, rng: random.Random) -> tuple[bytes, int]:
    """What a lying device sends, and its exit code."""
    sent = list(honest.sent)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if sent:
            rng.choice(LIES)(sent, rng, other.sent)
    if rng.random() < 0.8:
        recount(sent)
    content = text_of(sent)
    return damage(content, rng) if rng.random() < 0.1 else content, rng.choice((0, 0, 0, 0, 0, 0, 1, 2, 3, 101, -11))


def without_tensors(sent: Sent) -> Sent:
    """Lines without what no comparison covers: the content of traced tensors."""
    return [
        (kind, {key: value for key, value in values.items() if key not in ("crc", "bytes")}) for kind, values in sent
    ]


def believe_lines(fixture: Fixture, runner: Runner, case: int) -> bool:
    """Whether `verify` finds no difference; its lines are then the honest ones."""
    lines = fixture.with_runner(runner).run(fixture.traced.image)
    if first_difference(fixture.traced.lines, lines) is not None:
        return False
    assert without_tensors(sent_of(lines)) == without_tensors(fixture.traced.sent), f"case {case}"
    return True


def believe_record(fixture: Fixture, runner: Runner, case: int) -> bool:
    """Whether the run gives a record that agrees with golden; it is then the honest one."""
    record = fixture.record(runner)
    if record is None:
        return False
    assert_is_the_honest_record(record, fixture.plain.record, case)
    return True


def try_lies(fixture: Fixture, seed: int, count: int) -> tuple[int, int]:
    """Tell ``count`` lies; returns how many were refused, and how many were none, after all."""
    believed = 0
    for case in range(seed, seed + count):
        rng = random.Random(case)
        traced = case % 2 != 0
        pair = (fixture.traced, fixture.plain) if traced else (fixture.plain, fixture.traced)
        content, exit_code = lie(*pair, rng)
        runner = LyingRunner(content, exit_code, rng)
        said = "refused"
        with bounded(f"case {case}"):
            try:
                believed += (believe_lines if traced else believe_record)(fixture, runner, case)
            except McutrainError as error:
                said = str(error)
        assert said and "\n" not in said, f"case {case}: not one line: {said!r}"
        assert runner.closed, f"case {case}: the device still runs"
    return count - believed, believed


def assert_is_the_honest_record(record: EpisodeRecord, honest: EpisodeRecord | None, case: int) -> None:
    """What it predicts is what the device says: the accuracy is what that comes to, no more."""
    assert honest is not None
    for accuracy in (record.accuracy_before, record.accuracy_after):
        assert accuracy in [right / TEST for right in range(TEST + 1)], f"case {case}"
    keys = ("accuracy_before", "accuracy_after", "confusion_before", "confusion_after")
    said = {key: getattr(honest, key) for key in keys}
    assert comparable(record.model_copy(update=said)) == comparable(honest), f"case {case}"


def test_an_honest_device_is_believed(fixture: Fixture) -> None:
    for honest in (fixture.traced, fixture.plain):
        runner = LyingRunner(text_of(honest.sent), 0, random.Random(1))
        assert first_difference(honest.lines, fixture.with_runner(runner).run(honest.image)) is None


def test_no_lie_gives_a_traceback_or_a_wrong_record(fixture: Fixture) -> None:
    refused, accepted = try_lies(fixture, 0, 500)
    assert (
        refused > 400 and accepted > 0
    )  # an end told twice of equal lines, a swap of a line with itself: these are no lies


@pytest.mark.fuzz
def test_no_lie_of_many_gives_a_traceback_or_a_wrong_record(fixture: Fixture) -> None:
    refused, accepted = try_lies(fixture, 1_000_000, 25_000)
    assert refused > 20_000 and accepted > 0
