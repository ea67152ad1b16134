"""Every line of a run is held against what was asked for: order, counts and every value that the request fixes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from emulators.helpers import PERCEPTRON, PERCEPTRON_MODEL, HostBuilder, perceptron_image
from mcutrain.emulators.host import HostRunner
from mcutrain.emulators.image import EpisodeImage
from mcutrain.emulators.lines import PROTOCOL_VERSION, Line, LineReader, format_line
from mcutrain.emulators.request import Device, Model, Request, Session
from mcutrain.errors import MismatchError

IMAGE = perceptron_image(6, predictions=True, trace_step=3, dump_op=2, digest_every=4)
HOST = Device("host")


@pytest.fixture(scope="module")
def honest(host: HostBuilder) -> tuple[Line, ...]:
    """What the perceptron says, all of whose kinds of lines are in it."""
    return HostRunner(host(PERCEPTRON)).run(IMAGE, model=PERCEPTRON_MODEL).lines


Sent = list[tuple[str, dict[str, str]]]


def hold(
    sent: Sent, image: EpisodeImage = IMAGE, device: Device = HOST, model: Model | None = PERCEPTRON_MODEL
) -> None:
    reader = LineReader(Session(Request(device, image, model)).take)
    for kind, values in sent:
        reader.feed(f"{format_line(kind, **values)}\n".encode())
    reader.finish()


def sent_of(lines: tuple[Line, ...]) -> Sent:
    return [(line.kind, dict(line.values)) for line in lines]


def index_of(sent: Sent, kind: str, which: int = 0) -> int:
    return [i for i, (own, _) in enumerate(sent) if own == kind][which]


def recounted(sent: Sent) -> Sent:
    return [(kind, {**values, "lines": str(len(sent) - 1)} if kind == "end" else values) for kind, values in sent]


def test_an_honest_run_passes(honest: tuple[Line, ...]) -> None:
    hold(sent_of(honest))
    assert {line.kind for line in honest} == {"boot", "prediction", "evaluation", "trace", "dump", "step", "end"}


# kind, which of them, the key, what is sent instead, and what is said to have been asked for
WRONG_VALUES = [
    ("boot", 0, "plan", "00000001", "1234abcd"),
    ("boot", 0, "image", "00000001", f"{IMAGE.crc32:08x}"),
    ("boot", 0, "protocol", "1", str(PROTOCOL_VERSION)),
    ("boot", 0, "board", "m4-256k", "host"),
    ("boot", 0, "data", "1", "0"),
    ("boot", 0, "bss", "1", "0"),
    ("boot", 0, "arena", "17", "16"),
    ("boot", 0, "trainable", "60", "64"),
    ("boot", 0, "stack", "4096", "0"),
    ("prediction", 0, "set", "after", "before"),
    ("prediction", 3, "n", "4", "3"),
    ("prediction", 0, "class", "3", "0 to 2"),
    ("prediction", 0, "class", "4294967295", "0 to 2"),
    ("prediction", 0, "output", "00000001", "00000000"),
    ("evaluation", 0, "set", "after", "before"),
    ("evaluation", 0, "correct", "999", None),
    ("evaluation", 1, "total", "20", "40"),
    ("evaluation", 0, "digest", "00000000", None),
    ("step", 2, "n", "3", "2"),
    ("step", 0, "loss", "7f800000", "a finite number"),
    ("step", 0, "loss", "ffc00000", "a finite number"),
    ("step", 0, "prediction", "3", "0 to 2"),
    ("step", 0, "digest", "00000001", "00000000"),
    ("trace", 0, "n", "2", "3"),
    ("trace", 1, "op", "1", "2"),
    ("trace", 1, "visit", "1", "0"),
    ("trace", 2, "output", "0", "1"),
    ("dump", 0, "n", "2", "3"),
    ("dump", 0, "op", "0", "2"),
    ("dump", 0, "visit", "1", "0"),
    ("dump", 0, "output", "1", "0"),
    ("dump", 0, "offset", "1", "0"),
    ("dump", 0, "bytes", "00", None),
    ("dump", 0, "bytes", "00" * 48, None),
    ("end", 0, "status", "1", "0"),
    ("end", 0, "status", "99", "0"),
    ("end", 0, "lines", "5", None),
    ("end", 0, "stack_peak", "1", "0 to 0"),
]


@pytest.mark.parametrize(("kind", "which", "key", "value", "asked"), WRONG_VALUES)
def test_a_value_that_was_not_asked_for_is_named_with_its_line_and_both_values(
    kind: str, which: int, key: str, value: str, asked: str | None, honest: tuple[Line, ...]
) -> None:
    sent = sent_of(honest)
    at = index_of(sent, kind, which)
    sent[at] = (kind, {**sent[at][1], key: value})
    with pytest.raises(MismatchError) as refusal:
        hold(sent)
    said = str(refusal.value)
    assert said.startswith(f"line {at + 1}: '{kind}' has {key}={value}, asked for was ")
    assert asked is None or said.endswith(f"asked for was {asked}")
    assert "\n" not in said


@pytest.mark.parametrize("kind", ["boot", "prediction", "evaluation", "trace", "dump", "step"])
@pytest.mark.parametrize("change", ["without", "twice"])
def test_a_line_too_few_or_too_many_is_refused_where_the_counts_agree(
    kind: str, change: str, honest: tuple[Line, ...]
) -> None:
    for which in (0, -1):
        sent = sent_of(honest)
        at = index_of(sent, kind, which)
        sent[at : at + 1] = [] if change == "without" else [sent[at]] * 2
        with pytest.raises(MismatchError, match=f"line {at + 1 + (change == 'twice')}: "):
            hold(recounted(sent))


def test_a_run_that_is_cut_short_and_recounted_is_refused_by_what_was_still_asked_for(
    honest: tuple[Line, ...],
) -> None:
    sent = sent_of(honest)
    at = index_of(sent, "step", 2)
    with pytest.raises(MismatchError, match=rf"line {at + 1}: 'end' has status=0, asked for was still 'step' n=2"):
        hold(recounted([*sent[:at], sent[-1]]))


def test_more_right_than_there_are_is_refused_where_no_prediction_is_asked_for(honest: tuple[Line, ...]) -> None:
    image = dataclasses.replace(IMAGE, predictions=False)
    sent = [line for line in sent_of(honest) if line[0] != "prediction"]
    sent[0][1]["image"] = f"{image.crc32:08x}"
    hold(recounted(sent), image)
    sent[index_of(sent, "evaluation")][1]["correct"] = "41"
    with pytest.raises(MismatchError, match="line 2: 'evaluation' has correct=41, asked for was 0 to 40"):
        hold(recounted(sent), image)


def test_the_stack_cannot_have_taken_more_than_its_reserve(honest: tuple[Line, ...]) -> None:
    device = Device("m4-256k", 0, 100, 4096)
    sent = sent_of(honest)
    sent[0][1].update(board="m4-256k", bss="100", stack="4096")
    for peak, refused in (("4096", False), ("4097", True)):
        sent[-1][1]["stack_peak"] = peak
        if refused:
            with pytest.raises(MismatchError, match="has stack_peak=4097, asked for was 0 to 4096"):
                hold(sent, device=device)
        else:
            hold(sent, device=device)


def refusal(image: str, status: int, **others: str) -> Callable[[Mapping[str, str]], Sent]:
    return lambda boot: [
        ("boot", {**boot, "image": image, **others}),
        ("end", {"status": str(status), "lines": "1", "stack_peak": "0"}),
    ]


@pytest.mark.parametrize(
    ("image", "status", "refused"),
    [("00000000", 3, False), ("00000000", 0, True), ("00000000", 2, True), (f"{IMAGE.crc32:08x}", 3, True)],
)
def test_an_image_is_refused_with_status_3_and_nothing_else_is(
    image: str, status: int, refused: bool, honest: tuple[Line, ...]
) -> None:
    sent = refusal(image, status)(sent_of(honest)[0][1])
    if refused:
        with pytest.raises(MismatchError, match=f"line 2: 'end' has status={status}, asked for was"):
            hold(sent)
    else:
        hold(sent)


def test_nothing_runs_behind_a_refused_image(honest: tuple[Line, ...]) -> None:
    sent = sent_of(honest)
    sent[0][1]["image"] = "00000000"
    with pytest.raises(MismatchError, match="line 2: a 'prediction' line came, asked for was 'end'"):
        hold(sent)


@pytest.mark.parametrize("kind", ["end", "fault", "step"])
def test_nothing_follows_the_end(kind: str, honest: tuple[Line, ...]) -> None:
    sent = sent_of(honest)
    fault = ("fault", {"kind": "memory", "address": "00000000", "pc": "00000000"})
    more = {"end": sent[-1], "fault": fault, "step": sent[index_of(sent, "step")]}[kind]
    with pytest.raises(MismatchError, match=f"line {len(sent) + 1}: a '{kind}' line after the end of the run"):
        hold([*sent, more])


def test_a_fault_may_come_at_any_time(honest: tuple[Line, ...]) -> None:
    fault = ("fault", {"kind": "memory", "address": "00000000", "pc": "00000000"})
    for count in range(len(honest)):
        hold([*sent_of(honest)[:count], fault])


def test_a_step_that_trains_no_minibatch_traces_no_update() -> None:
    model = dataclasses.replace(PERCEPTRON_MODEL, batch=2, update=PERCEPTRON_MODEL.sample[:1])
    image = dataclasses.replace(perceptron_image(2, trace_step=0), evaluate_before=False, evaluate_after=False)
    boot = {
        "plan": "1234abcd",
        "image": f"{image.crc32:08x}",
        "protocol": str(PROTOCOL_VERSION),
        "board": "host",
        "data": "0",
        "bss": "0",
    }
    sizes = {"arena": "16", "trainable": "64", "stack": "0"}
    traces = [
        ("trace", {"n": "0", "op": str(row.op), "visit": "0", "output": str(row.output), "crc": "00000000"})
        for row in model.sample
    ]
    steps = [
        ("step", {"n": str(n), "loss": "00000000", "prediction": "0", "digest": "00000001"}) for n in range(image.steps)
    ]
    end = ("end", {"status": "0", "lines": str(3 + len(traces)), "stack_peak": "0"})
    hold([("boot", boot | sizes), *traces, *steps, end], image, model=model)
    with pytest.raises(MismatchError, match="a 'trace' line came, asked for was 'step' n=0"):
        hold([("boot", boot | sizes), *traces, traces[0], *steps, end], image, model=model)


def test_without_a_model_what_the_image_fixes_is_held_all_the_same(honest: tuple[Line, ...]) -> None:
    hold(sent_of(honest), model=None)
    for kind, which, key, value, _ in WRONG_VALUES:
        sent = sent_of(honest)
        at = index_of(sent, kind, which)
        sent[at] = (kind, {**sent[at][1], key: value})
        fixed_by_the_model = (kind, key) in {
            ("boot", "plan"),
            ("boot", "arena"),
            ("boot", "trainable"),
            ("prediction", "output"),
            ("evaluation", "digest"),
            ("step", "prediction"),
        }
        if not fixed_by_the_model and kind not in ("trace", "dump") and key != "class":
            with pytest.raises(MismatchError, match=f"line {at + 1}: '{kind}' has {key}={value}"):
                hold(sent, model=None)


VALUES = EpisodeImage(
    plan_crc32=0x1234ABCD,
    adapt_samples=np.zeros((0, 4), np.int8),
    adapt_labels=np.zeros(0, np.uint32),
    adapt_targets=np.zeros((0, 3), np.float32),
    test_samples=np.zeros((2, 4), np.int8),
    test_labels=np.zeros(0, np.uint32),
    test_targets=np.ones((2, 3), np.float32),
    order=np.zeros(0, np.uint32),
    learning_rates=np.zeros(0, np.float32),
    seed=1,
    evaluate_before=True,
    evaluate_after=False,
)


def regression(**values: str) -> Sent:
    boot = {"plan": "1234abcd", "image": f"{VALUES.crc32:08x}", "protocol": str(PROTOCOL_VERSION), "board": "host"}
    sizes = dict.fromkeys(("data", "bss", "arena", "trainable", "stack"), "0")
    said = {"set": "before", "error": "3f800000", "total": "2", "digest": "00000000", **values}
    return [("boot", boot | sizes), ("regression", said), ("end", {"status": "0", "lines": "2", "stack_peak": "0"})]


def test_a_network_of_values_is_evaluated_by_its_error() -> None:
    hold(regression(), VALUES, model=None)


@pytest.mark.parametrize(
    ("key", "value", "asked"),
    [
        ("error", "7fc00000", "a finite number from 0 on"),
        ("error", "7f800000", "a finite number from 0 on"),
        ("error", "bf800000", "a finite number from 0 on"),
        ("total", "3", "2"),
        ("set", "after", "before"),
    ],
)
def test_an_error_that_was_not_asked_for_is_refused(key: str, value: str, asked: str) -> None:
    with pytest.raises(MismatchError, match=f"'regression' has {key}={value}, asked for was {asked}"):
        hold(regression(**{key: value}), VALUES, model=None)


def test_a_count_of_right_samples_is_no_error() -> None:
    sent = regression()
    sent[1] = ("evaluation", {"set": "before", "correct": "1", "total": "2", "digest": "00000000"})
    with pytest.raises(MismatchError, match="a 'evaluation' line came"):
        hold(sent, VALUES, model=None)
