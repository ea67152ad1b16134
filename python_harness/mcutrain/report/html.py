"""The HTML report: one page with all it needs in it, so that it opens from a file, an e-mail or a CI artefact."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from mcutrain import __version__
from mcutrain.atomic import write_atomically
from mcutrain.episode.record import PHASES, EpisodeRecord, OperatorCounts, TensorLife
from mcutrain.report import wording
from mcutrain.report.comparison_figures import comparison_figures
from mcutrain.report.comparison_table import columns
from mcutrain.report.episode_figures import episode_figures
from mcutrain.report.estimates import EstimateRow, energy_source, estimate_rows
from mcutrain.report.figures import Figure
from mcutrain.report.layers import LayerCounts, layer_counts, top_operators
from mcutrain.report.measure import measure
from mcutrain.report.observed import input_words, loss_words, updates_words
from mcutrain.report.provenance import provenance
from mcutrain.report.summary import Status, Verdict, golden_phrase, headline, judge, notes
from mcutrain.report.table_rows import Row, table_rows

# Above these, the page shows what needs to be looked at and leaves the rest to the comparison table and to a click.
_MOST_CARDS = 6
_MOST_OPEN = 3
_MOST_TENSOR_ROWS = 300


@dataclass(frozen=True)
class PhaseRow:
    """One line of the phase table. macs and cycles are None where they are unknown or have no meaning."""

    name: str
    instructions: float
    macs: int | None
    cycles: float | None


@dataclass(frozen=True)
class EpisodeView:
    """One record as the template shows it."""

    key: str
    record: EpisodeRecord
    verdict: Verdict
    golden: str
    notes: list[str]
    figures: list[Figure]
    phases: list[PhaseRow]
    estimates: list[EstimateRow]
    energy_source: str
    input: str
    layers: list[LayerCounts]
    operators: list[OperatorCounts]
    tensors: list[TensorLife]
    provenance: list[tuple[str, str]]
    card: bool
    open: bool


def write_report(records: Sequence[EpisodeRecord], path: Path, *, title: str) -> None:
    """Write one self-contained HTML page on the records to path, whole or not at all.

    The same records give the same page, byte for byte. Raises UsageError when the page cannot be written.
    """
    write_atomically(path, render_report(records, title=title), "the report")


def render_report(records: Sequence[EpisodeRecord], *, title: str) -> str:
    """The page as text."""
    views = _views(records)
    rows = table_rows(records)
    comparison = comparison_figures(records) if records else []
    figures = [*comparison, *(figure for view in views for figure in view.figures)]
    script = files("mcutrain.report").joinpath("templates/report.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=PackageLoader("mcutrain.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters.update(
        count=wording.count,
        count_or_none=wording.count_or_none,
        bytes=wording.byte_count,
        name=wording.printable,
        share=wording.share,
    )
    return environment.get_template("report.html.j2").render(
        title=wording.printable(title),
        headline=headline(records),
        views=views,
        cards=[view for view in views if view.card],
        columns=columns(rows),
        rows=[(row, _view_of(row, views)) for row in rows],
        comparison=comparison,
        figure_data={figure.key: {"data": figure.data, "layout": figure.layout} for figure in figures},
        phase_names=PHASES,
        measure=measure,
        input_words=input_words,
        updates_words=updates_words,
        loss_words=loss_words,
        status=Status,
        plotly=_plotly(),
        script=script,
        script_hashes=[_csp_hash(_plotly()), _csp_hash(script)],
        version=__version__,
    )


def _views(records: Sequence[EpisodeRecord]) -> list[EpisodeView]:
    verdicts = [judge(record) for record in records]
    return [
        EpisodeView(
            key=f"episode-{index}",
            record=record,
            verdict=verdict,
            golden=golden_phrase(record),
            notes=notes(record),
            figures=episode_figures(record, f"episode-{index}"),
            phases=_phase_rows(record),
            estimates=estimate_rows(record),
            energy_source=energy_source(record),
            input=wording.input_words(record.input_placement, record.input_bytes),
            layers=layer_counts(record),
            operators=top_operators(record),
            tensors=sorted(record.arena_tensors, key=lambda t: (-t.size_bytes, t.offset_bytes))[:_MOST_TENSOR_ROWS],
            provenance=provenance(record),
            card=len(records) <= _MOST_CARDS or verdict.status is Status.FAIL,
            open=len(records) <= _MOST_OPEN or verdict.status is Status.FAIL,
        )
        for index, (record, verdict) in enumerate(zip(records, verdicts, strict=True))
    ]


def _view_of(row: Row, views: Sequence[EpisodeView]) -> EpisodeView:
    """Where the page tells more of what a row shows."""
    return next(view for view in views if view.record is row.record)


def _phase_rows(record: EpisodeRecord) -> list[PhaseRow]:
    counts, cycles = record.instructions_per_step, record.estimated_cycles_per_step
    if counts is None:
        return []
    macs = {"forward": record.macs_forward, "backward": record.macs_backward}
    return [
        PhaseRow(name, getattr(counts, name), macs.get(name), None if cycles is None else getattr(cycles, name))
        for name in (*PHASES, "other", "total")
    ]


@cache
def _plotly() -> str:
    """plotly.js as the plotly package brings it, without any text that would end the script element it lies in."""
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _csp_hash(script: str) -> str:
    """The script's hash for the page's content security policy: scripts with this text run, and no others."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
