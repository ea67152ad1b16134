"""Scheme: which biases and which weights a sparse update trains.

Written as the literature writes it: ``b20; 24@1/4 27,30@1/2`` trains the biases of the last 20 layers, a quarter of the input channels
of layer 24 and half of those of layers 27 and 30. ``b all`` trains every bias. A layer is a number (its place among the convolutions
and hidden fully connected layers, from 0) or its name (``conv4``: operator 4 of the file); ``27-48/3`` means every third from 27 to
48. ``head`` (nothing but the head), ``biases`` (``b all``) and ``full`` (all biases and all weights) are short for the obvious. The
head always trains.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mcutrain.errors import UsageError


@dataclass(frozen=True)
class Scheme:
    """biases: names of the layers whose bias trains. weights: share of input channels that train, by layer name, in (0, 1]."""

    text: str
    biases: frozenset[str]
    weights: dict[str, Fraction]

    def trains(self, layer: str) -> bool:
        """Whether anything of ``layer`` trains."""
        return layer in self.biases or layer in self.weights


# Numbers are short enough for every network, and for int().
_BIASES = re.compile(r"b\s*(all|[0-9]{1,6})")
_RANGE = re.compile(r"([0-9]{1,6})-([0-9]{1,6})(?:/([0-9]{1,6}))?")
_NUMBER = re.compile(r"[0-9]{1,6}")
_SHARE = re.compile(r"[0-9]{1,6}(?:/[0-9]{1,6}|\.[0-9]{1,6})?")


def parse_scheme(text: str, layers: Sequence[str]) -> Scheme:
    """Parse a scheme for a network whose trainable layers (without the head) are ``layers``, in order.

    Raises UsageError for a layer that does not exist, a share outside (0, 1] or text that is no scheme.
    """
    text = text.strip()
    short = {"head": "b0", "biases": "b all", "full": "b all; " + " ".join(layers)}
    body = short.get(text, text)
    bias_part, _, weight_part = body.partition(";")
    biases = _parse_biases(bias_part.strip(), layers, text)
    weights: dict[str, Fraction] = {}
    for entry in weight_part.split():
        names, at, share_text = entry.partition("@")
        share = _parse_share(share_text if at else "1", entry, text)
        for name in _parse_layers(names, layers, text):
            if name in weights:
                raise UsageError(f"scheme {text!r}: layer {name} is listed twice")
            weights[name] = share
    return Scheme(text, frozenset(biases), weights)


def _parse_biases(part: str, layers: Sequence[str], text: str) -> Sequence[str]:
    match = _BIASES.fullmatch(part)
    if not match:
        raise UsageError(
            f"scheme {text!r}: expected 'b<number of last layers>' or 'b all' first, e.g. 'b20; 24@1/4 27,30@1/2', "
            "or one of: head, biases, full"
        )
    if match[1] == "all":
        return layers
    count = int(match[1])
    if count > len(layers):
        raise UsageError(f"scheme {text!r}: {count} biases, but the network has {len(layers)} layers before its head")
    return layers[len(layers) - count :]


def _parse_share(share_text: str, entry: str, text: str) -> Fraction:
    try:
        share = Fraction(share_text) if _SHARE.fullmatch(share_text) else Fraction(0)
    except ZeroDivisionError:
        share = Fraction(0)
    if not 0 < share <= 1:
        raise UsageError(f"scheme {text!r}: the share in {entry!r} must be a fraction in (0, 1], e.g. 1/4")
    return share


def _parse_layers(names: str, layers: Sequence[str], text: str) -> list[str]:
    found: list[str] = []
    for name in names.split(","):
        for item in _parse_range(name, text):
            if item in layers:
                found.append(item)
            elif _NUMBER.fullmatch(item) and int(item) < len(layers):
                found.append(layers[int(item)])
            else:
                raise UsageError(
                    f"scheme {text!r}: no layer {item!r}; the network has {', '.join(layers) or 'none but its head'}"
                )
    return found


def _parse_range(name: str, text: str) -> Sequence[str]:
    """The numbers of ``27-48/3``; anything else is one layer."""
    span = _RANGE.fullmatch(name)
    if not span:
        return (name,)
    first, last, every = int(span[1]), int(span[2]), int(span[3] or 1)
    if last < first or every == 0:
        raise UsageError(
            f"scheme {text!r}: {name!r} names no layer; write a range as first-last or first-last/every, e.g. 27-48/3"
        )
    return [str(number) for number in range(first, last + 1, every)]
