"""How numbers and names are written, the same in the page and in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

NOT_MEASURED = "not measured"


def printable(name: str) -> str:
    """A name made safe to show: control, bidirectional and other invisible characters become backslash escapes.

    Names come out of model files, so a terminal must not obey them and a page must not be re-ordered by them.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)


def count(value: float) -> str:
    """A count with thousand separators; one decimal where it is a mean that is not whole: ``1,234,567`` or ``12.5``."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def count_or_none(value: float | None) -> str:
    """As `count`; a missing value says that it was not measured."""
    return NOT_MEASURED if value is None else count(value)


def byte_count(value: int) -> str:
    """Bytes: ``262,144 B``."""
    return f"{value:,} B"


def input_words(placement: str | None, size_bytes: int) -> str:
    """Where a sample lies, as a label for figures of SRAM; empty where it is not known."""
    if placement is None:
        return ""
    if placement == "sram":
        return f"input in SRAM ({size_bytes:,} B)"
    return f"input {placement} ({size_bytes:,} B not in SRAM)"


def share(part: float, whole: float) -> str:
    """The part of the whole in percent with one decimal; a dash where the whole is 0."""
    return f"{100.0 * part / whole:.1f} %" if whole else "-"


def shares(parts: Mapping[str, float]) -> str:
    """Each part's share of all of them, which sum to 100 %: ``forward 24.9 %, backward 61.2 %, other 13.9 %``."""
    whole = sum(parts.values())
    return ", ".join(f"{name} {share(part, whole)}" for name, part in parts.items() if part)


def accuracy(fraction: float | None, samples: int) -> str:
    """An accuracy in percent, with the decimals that the number of samples resolves (one up to 1,000, else two)."""
    return NOT_MEASURED if fraction is None else f"{100.0 * fraction:.{_decimals(samples)}f} %"


def points(before: float | None, after: float | None, samples: int) -> str:
    """Change of an accuracy in percentage points, signed; empty where either is missing."""
    if before is None or after is None:
        return ""
    return f"{100.0 * (after - before):+.{_decimals(samples)}f} points"


def accuracy_spread(mean: float, deviation: float | None, samples: int) -> str:
    """A mean accuracy with its sample standard deviation, where it has one: ``84.5 ± 0.8 %``."""
    if deviation is None:
        return accuracy(mean, samples)
    return f"{100.0 * mean:.{_decimals(samples)}f} ± {100.0 * deviation:.{_decimals(samples)}f} %"


def points_spread(mean: float, deviation: float | None, samples: int) -> str:
    """A mean change of accuracies in points, with its sample standard deviation: ``+28.0 ± 0.8``."""
    decimals = _decimals(samples)
    spread = "" if deviation is None else f" ± {100.0 * deviation:.{decimals}f}"
    return f"{100.0 * mean:+.{decimals}f}{spread}"


def value_spread(mean: float, deviation: float | None) -> str:
    """A mean value with its sample standard deviation, to two digits: ``0.01235 ± 0.00021``."""
    return value(mean) if deviation is None else f"{value(mean)} ± {deviation:.2g}"


def value(number: float) -> str:
    """A real value, to four significant digits: ``0.01235``."""
    return f"{number:.4g}"


def plural(number: int, noun: str, many: str = "") -> str:
    """``1 episode``, ``2 episodes``; many: the plural that does not end in s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {many or f'{noun}s'}"


def _decimals(samples: int) -> int:
    return 1 if samples <= 1000 else 2
