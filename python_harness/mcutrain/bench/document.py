"""The tables of ``bench kernels`` as Markdown, kept between two markers of a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mcutrain.atomic import write_atomically
from mcutrain.bench.measure import Measurement
from mcutrain.bench.peers import CMSIS_NN, PEERS, TINY_ENGINE
from mcutrain.errors import UsageError

BEGIN, END = "<!-- begin: bench kernels -->", "<!-- end: bench kernels -->"

_CORES = ("cortex-m4", "cortex-m7")


def tables(rows: Sequence[Measurement]) -> str:
    """Kernels with multiply-accumulates beside their peers, then the others by element. M4 / M7 in each cell."""
    pairs: dict[tuple[str, str], dict[str, Measurement]] = {}
    for row in rows:
        pairs.setdefault((row.kernel, row.shape), {})[row.core] = row
    with_macs = {key: pair for key, pair in pairs.items() if pair[_CORES[0]].macs}
    others = {key: pair for key, pair in pairs.items() if key not in with_macs}
    parts = [*_per_mac(with_macs), "", *_per_element(others)]
    return "\n".join(parts)


def with_tables(document: str, made: str) -> str:
    """The document with ``made`` between its markers. UsageError where it does not have them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the document has no lines '{BEGIN}' and '{END}' to write the tables between")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def write_tables(path: Path, rows: Sequence[Measurement]) -> None:
    """Put the tables into the document at ``path``."""
    write_atomically(path, with_tables(path.read_text(encoding="utf-8"), tables(rows)), "the tables")


def _per_mac(pairs: dict[tuple[str, str], dict[str, Measurement]]) -> Iterator[str]:
    yield from _heads(
        "kernel", "shape", "cycles/MAC", CMSIS_NN, TINY_ENGINE, "share of the SMLAD limit", "instructions", "code bytes"
    )
    for key, pair in pairs.items():
        m4, m7 = (pair[core] for core in _CORES)
        peers = PEERS.get(key, {})
        yield _row(
            *key,
            _both(f"{row.cycles_per_mac:.2f}" for row in (m4, m7)),
            *(
                _both(f"{cycles:g}" for cycles in peers[name]) if name in peers else "-"
                for name in (CMSIS_NN, TINY_ENGINE)
            ),
            _both(f"{100 * (row.smlad_share or 0):.0f} %" for row in (m4, m7)),
            _both(f"{row.instructions:,}" for row in (m4, m7)),
            _both(f"{row.code_bytes:,}" for row in (m4, m7)),
        )


def _per_element(pairs: dict[tuple[str, str], dict[str, Measurement]]) -> Iterator[str]:
    yield from _heads("kernel", "shape", "cycles/element", "instructions", "code bytes")
    for key, pair in pairs.items():
        both = [pair[core] for core in _CORES]
        yield _row(
            *key,
            _both(f"{row.cycles_per_element:.1f}" for row in both),
            _both(f"{row.instructions:,}" for row in both),
            _both(f"{row.code_bytes:,}" for row in both),
        )


def _heads(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "|".join("---" if at < 2 else "---:" for at in range(len(names))) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _both(values: Iterator[str]) -> str:
    return " / ".join(values)
