"""The notation of schemes: what the literature publishes, names, ranges, short forms; everything else gets one clear line."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcutrain.errors import UsageError
from mcutrain.methods.scheme import parse_scheme

# As many layers as MCUNet-5FPS, MobileNetV2-0.35 and ProxylessNAS-0.3 have convolutions.
LAYERS = {42: "mcunet", 51: "mobilenet", 60: "proxyless"}
QUARTER, HALF, EIGHTH, ALL = Fraction(1, 4), Fraction(1, 2), Fraction(1, 8), Fraction(1)


def named(count: int) -> list[str]:
    """Names that are not the layers' numbers: operator 10 of the file is layer 0."""
    return [f"conv{10 + 3 * number}" for number in range(count)]


@pytest.mark.parametrize(
    ("count", "text", "biases", "weights"),
    [
        (42, "b20; 24@1/4 27,30@1/2", 20, {24: QUARTER, 27: HALF, 30: HALF}),
        (42, "b22; 21,24,27,30@1 36@1/8 39@1/4", 22, {21: ALL, 24: ALL, 27: ALL, 30: ALL, 36: EIGHTH, 39: QUARTER}),
        (51, "b34; 27-48/3@1", 34, dict.fromkeys((27, 30, 33, 36, 39, 42, 45, 48), ALL)),
        (
            51,
            "b31; 27-39/3@1 42@1/2 45,48@1",
            31,
            {27: ALL, 30: ALL, 33: ALL, 36: ALL, 39: ALL, 42: HALF, 45: ALL, 48: ALL},
        ),
        (
            60,
            "b32; 36-45/3@1 48@1/2 51,54,57@1",
            32,
            {36: ALL, 39: ALL, 42: ALL, 45: ALL, 48: HALF, 51: ALL, 54: ALL, 57: ALL},
        ),
        (
            60,
            "b21; 39@1/4 42,45@1 51@1/8 54,57@1/4",
            21,
            {39: QUARTER, 42: ALL, 45: ALL, 51: EIGHTH, 54: QUARTER, 57: QUARTER},
        ),
    ],
)
def test_published_schemes_read_as_they_are_written(
    count: int, text: str, biases: int, weights: dict[int, Fraction]
) -> None:
    layers = named(count)
    scheme = parse_scheme(text, layers)
    assert scheme.biases == frozenset(layers[-biases:])
    assert scheme.weights == {layers[number]: share for number, share in weights.items()}


def test_a_layer_is_a_number_or_a_name() -> None:
    layers = named(4)
    by_number = parse_scheme("b1; 1@1/2 3", layers)
    by_name = parse_scheme("b1; conv13@1/2 conv19", layers)
    assert by_number.weights == by_name.weights == {"conv13": HALF, "conv19": ALL}


def test_a_range_has_both_ends_and_takes_every_layer_unless_told_otherwise() -> None:
    assert list(parse_scheme("b0; 1-3", named(6)).weights) == ["conv13", "conv16", "conv19"]
    assert list(parse_scheme("b0; 0-5/2", named(6)).weights) == ["conv10", "conv16", "conv22"]


def test_the_short_forms_say_what_they_are_short_for() -> None:
    layers = named(3)
    assert (parse_scheme("head", layers).biases, parse_scheme("head", layers).weights) == (frozenset(), {})
    assert parse_scheme("biases", layers).biases == parse_scheme("b all", layers).biases == frozenset(layers)
    assert parse_scheme("biases", layers).weights == {}
    full = parse_scheme("full", layers)
    assert (full.biases, full.weights) == (frozenset(layers), dict.fromkeys(layers, ALL))


def test_a_network_of_nothing_but_its_head_has_schemes_too() -> None:
    for text in ("head", "biases", "full", "b0", "b all"):
        assert not parse_scheme(text, []).weights


def test_a_layer_trains_if_its_bias_or_its_weights_do() -> None:
    scheme = parse_scheme("b1; 0", named(3))
    assert [scheme.trains(name) for name in named(3)] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 'b<number of last layers>'"),
        ("24@1/4", "expected 'b<number of last layers>'"),
        ("b5; 1", "5 biases, but the network has 4 layers"),
        ("b99999999999999999999; 1", "expected 'b<number of last layers>'"),
        ("b2; 4", "no layer '4'; the network has conv10, conv13, conv16, conv19"),
        ("b2; conv11", "no layer 'conv11'"),
        ("b2; 2-5", "no layer '4'"),
        ("b2; 3-1", "'3-1' names no layer"),
        ("b2; 0-3/0", "'0-3/0' names no layer"),
        ("b2; ²", "no layer '²'"),
        ("b2; ٣", "no layer '٣'"),
        ("b2; 1,", "no layer ''"),
        ("b2; 1@", "the share in '1@'"),
        ("b2; 1@0", "the share in '1@0'"),
        ("b2; 1@3/2", "the share in '1@3/2'"),
        ("b2; 1@-1/2", "the share in '1@-1/2'"),
        ("b2; 1@1/0", "the share in '1@1/0'"),
        ("b2; 1@1e-999999999", "the share in '1@1e-999999999'"),
        ("b2; 1@half", "the share in '1@half'"),
        ("b2; 1 conv13@1/2", "layer conv13 is listed twice"),
        ("b2; 0-2 1", "layer conv13 is listed twice"),
    ],
)
def test_what_is_no_scheme_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_scheme(text, named(4))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from("b0123456789 allconv;@/,.-²x\n"), max_size=30))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with contextlib.suppress(UsageError):
        scheme = parse_scheme(text, named(4))
        assert scheme.biases <= set(named(4)) >= set(scheme.weights)
