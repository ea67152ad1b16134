"""What records are called beside each other: what differs, nothing else, and never the same twice."""

from __future__ import annotations

from typing import Any

import pytest

from mcutrain.report.html import render_report
from mcutrain.report.labels import labels_of
from report.test_records_table import SETTINGS


def asked(**changes: Any) -> dict[str, Any]:
    """Settings with a changed definition; keys of its data as data_<key>."""
    definition: dict[str, Any] = {**SETTINGS["definition"], "data": {**SETTINGS["definition"]["data"]}}
    for key, value in changes.items():
        if key.startswith("data_"):
            definition["data"][key.removeprefix("data_")] = value
        else:
            definition[key] = value
    return {**SETTINGS, "definition": definition}


def texts(*records: Any) -> tuple[str, ...]:
    return labels_of(records).texts


def test_runs_are_called_by_the_scheme_and_the_seed_that_they_differ_in(make_record: Any) -> None:
    runs = [(scheme, seed) for scheme in ("b all; conv0", "head") for seed in (1, 2)]
    records = [make_record(steps=2, scheme=scheme, settings=asked(seed=seed)) for scheme, seed in runs]
    labels = labels_of(records)
    assert labels.texts == tuple(f"scheme {scheme} · seed {seed}" for scheme, seed in runs)
    common = dict(labels.common)
    assert (common["episode"], common["board"], common["learning rate"]) == ("resnet8-noise", "m4-256k", "0.011")
    assert not {"scheme", "seed"} & set(common)


def test_a_single_record_is_called_by_its_episode(make_record: Any) -> None:
    assert texts(make_record(steps=2)) == ("resnet8-noise",)
    assert labels_of([]).texts == ()


def test_what_comes_with_the_episode_is_said_once_and_not_in_every_label(make_record: Any) -> None:
    records = [
        make_record(steps=2, episode=name, settings=asked(learning_rate=rate, seed=seed))
        for name, rate in (("noise", 0.01), ("blur", 0.02))
        for seed in (1, 2)
    ]
    labels = labels_of(records)
    assert labels.texts == ("noise · seed 1", "noise · seed 2", "blur · seed 1", "blur · seed 2")
    assert labels.with_episode == ("learning rate",)


def test_the_board_is_said_although_each_episode_has_one(make_record: Any) -> None:
    assert texts(make_record(steps=2, episode="a"), make_record(steps=2, episode="b", board="m7-1m")) == (
        "a · m4-256k",
        "b · m7-1m",
    )


def test_a_runner_that_comes_with_its_board_is_not_said_twice(make_record: Any) -> None:
    host = make_record(steps=2, board="host", core="host", runner="host")
    assert texts(make_record(steps=2), host) == ("m4-256k", "host")
    assert texts(make_record(steps=2), make_record(steps=2, runner="renode")) == ("qemu", "renode")


def test_two_that_differ_in_two_settings_say_both(make_record: Any) -> None:
    a, b = make_record(steps=2, settings=asked(seed=1)), make_record(steps=2, batch=8, settings=asked(seed=2))
    assert texts(a, b) == ("batch 1 · seed 1", "batch 8 · seed 2")


def test_options_of_any_method_are_named(make_record: Any) -> None:
    a, b = (make_record(steps=2, options={"step_cap": cap, "deep": {"a": cap < 1}}) for cap in (0.5, 1.4142135))
    assert texts(a, b) == ("step cap 0.5 · deep.a on", "step cap 1.41421 · deep.a off")


def test_a_record_without_settings_is_no_other_run_for_that(make_record: Any) -> None:
    """Only what both state can differ; then the digest tells them apart."""
    old, new = make_record(steps=2, digest="0000000a"), make_record(steps=2, settings=asked(seed=3))
    assert texts(old, new) == ("resnet8-noise · digest 0000000a", "resnet8-noise · digest 89abcdef")
    assert texts(make_record(steps=2, scheme="head"), new) == ("scheme head", "scheme biases+conv0,1,4,6")


def test_a_changed_model_file_of_the_same_name_is_told(make_record: Any) -> None:
    settings = asked()
    other = {**settings, "model_sha256": "f" * 64}
    a, b = make_record(steps=2, settings=settings), make_record(steps=2, settings=other)
    assert texts(a, b) == ("resnet8-noise · model 00000000", "resnet8-noise · model ffffffff")


def test_no_two_labels_are_the_same(make_record: Any) -> None:
    record = make_record(steps=2)
    assert texts(record, record, record) == ("resnet8-noise", "resnet8-noise · #2", "resnet8-noise · #3")


def test_a_long_value_keeps_its_beginning_and_its_end(make_record: Any) -> None:
    schemes = [f"b all; {'conv30@1/2 ' * 10}{end}" for end in ("conv1", "conv2")]
    first, second = texts(*(make_record(steps=2, scheme=scheme) for scheme in schemes))
    assert first != second and max(map(len, (first, second))) < 60
    assert first.startswith("scheme b all; conv30") and first.endswith("conv1")


@pytest.mark.parametrize("name", ["\x1b[31m", "\u202e"])
def test_a_label_cannot_steer_a_terminal(name: str, make_record: Any) -> None:
    shown = texts(make_record(steps=2, episode=name), make_record(steps=2, options={name: 1}, scheme=name))
    assert all(name not in text for text in shown)


def test_the_page_uses_the_labels_in_table_figures_and_headings(make_record: Any) -> None:
    records = [make_record(steps=2, scheme=scheme) for scheme in ("head", "full")]
    html = render_report(records, title="t")
    for shown in (
        '<a href="#entry-1">scheme full</a>',
        '"ticktext":["scheme head","scheme full"]',
        '<h2>scheme full <span class="muted">resnet8-noise on m4-256k',
        '<span class="chip">resnet8-noise</span>',
    ):
        assert shown in html, shown
