"""What every figure of the page shares: its form, its colours by role, its labels.

A figure is plain data for plotly.js. Colours are roles, written ``var(--forward)``: the page resolves them from its
style sheet, so the same figure is right in light, in dark and on paper. No role is told by colour alone: each has a
fill pattern or a dash too.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from mcutrain.report.wording import printable

Json = dict[str, object]
_MOST_LINES = 3

# Role -> fill pattern of plotly.js.
PATTERNS = {
    "forward": "",
    "loss": ".",
    "backward": "/",
    "update": "x",
    "other": "-",
    "arena": "",
    "trainable": "/",
    "static": ".",
    "stack": "x",
    "free": "",
    "before": "/",
    "after": "",
}


@dataclass(frozen=True)
class Figure:
    """One figure: its key in the page, what it shows, its numbers in a sentence (alternative text), height in px."""

    key: str
    title: str
    caption: str
    alternative: str
    height: int
    data: list[Json]
    layout: Json


def colour(role: str) -> str:
    """The colour of a role, resolved by the page."""
    return f"var(--{role})"


def fill(role: str) -> Json:
    """Marker of a bar of this role: colour, pattern, and an edge in the colour of the page."""
    pattern = {"shape": PATTERNS[role], "fillmode": "overlay", "fgcolor": colour("hatch"), "size": 7, "solidity": 0.15}
    return {"color": colour(role), "pattern": pattern, "line": {"width": 1, "color": colour("surface")}}


def label(name: str, longest: int = 40) -> str:
    """A name as plotly.js text: nothing in it is markup, and it is not longer than a figure can bear."""
    shown = printable(name)
    if len(shown) > longest:
        shown = f"{shown[: longest - 1]}…"
    return html.escape(shown, quote=False)


def row_label(text: str) -> str:
    """The label of an entry on an axis: on a few lines, as wide as a phone can bear. Hovering says all of it."""
    lines = textwrap.wrap(printable(text), 26) or [""]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1][:25]}…"]
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def rows(names: Sequence[str]) -> Json:
    """A vertical axis with one row a name, the first on top. Rows are numbers, so that equal names stay apart."""
    return {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": list(names),
        "range": [len(names) - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }


def layout(**axes: Json) -> Json:
    """The common layout; axes by plotly.js name (xaxis, yaxis, yaxis2). The legend is above: phones are narrow."""
    return {
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "yanchor": "bottom",
            "xanchor": "left",
            "traceorder": "normal",
        },
        "bargap": 0.3,
        "hovermode": "closest",
        "uniformtext": {"minsize": 10, "mode": "hide"},
        **{name: {"automargin": True, **axis} for name, axis in axes.items()},
    }


def byte_ticks(largest: int) -> Json:
    """Ticks of a byte axis at round binary numbers, four to eight of them, written out: 65,536 and not 66k."""
    step = 64
    while largest / step > 5:
        step *= 2
    return {"tickmode": "linear", "tick0": 0, "dtick": step, "tickformat": ",d"}
