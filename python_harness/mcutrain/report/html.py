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
from mcutrain.report import curves, wording
from mcutrain.report.class_figures import class_figures
from mcutrain.report.comparison_figures import comparison_figures
from mcutrain.report.comparison_table import columns, parts, status_of
from mcutrain.report.episode_figures import episode_figures
from mcutrain.report.estimates import EstimateRow, energy_source, estimate_rows
from mcutrain.report.figures import Figure
from mcutrain.report.labels import Labels, labels_of
from mcutrain.report.layers import LayerCounts, layer_counts, top_operators
from mcutrain.report.limits import sram_limit, without_limit
from mcutrain.report.loss_figure import loss_figure
from mcutrain.report.measure import Measure, measure_of
from mcutrain.report.observed import input_words, loss_words, updates_words
from mcutrain.report.pareto_figures import pareto_figures
from mcutrain.report.provenance import provenance
from mcutrain.report.seeds import WHAT_SPREAD_IS, Entry, entries_of
from mcutrain.report.summary import Status, Verdict, golden_phrase, headline, judge, notes
from mcutrain.report.two_records import bits_words, compare_records, difference_words, written

# Above these, the page shows what needs to be looked at and leaves the rest to the comparison table and to a click.
_MOST_CARDS = 6
_MOST_OPEN = 3
_MOST_TENSOR_ROWS = 300
# A page of many records has shorter curves: each is one of many, and is drawn only once its section is opened.
_MANY = 12
_POINTS_OF_MANY = 300
# What entries have in common and a reader looks for; the rest on demand.
_SAID_IN_COMMON = frozenset(
    {
        "episode",
        "board",
        "runner",
        "method",
        "scheme",
        "errors",
        "weights",
        "batch",
        "learning rate",
        "epochs",
        "steps",
        "seed",
    }
)


@dataclass(frozen=True)
class PhaseRow:
    """One line of the phase table. macs and cycles are None where they are unknown or have no meaning; sum: it sums up lines above."""

    name: str
    instructions: float
    macs: int | None
    cycles: float | None
    sum: bool


@dataclass(frozen=True)
class EpisodeView:
    """One record as the template shows it. label: what it is called among those of the page."""

    key: str
    label: str
    record: EpisodeRecord
    verdict: Verdict
    golden: str
    notes: list[str]
    figures: list[Figure]
    class_figures: list[Figure]
    phases: list[PhaseRow]
    estimates: list[EstimateRow]
    energy_source: str
    input: str
    layers: list[LayerCounts]
    operators: list[OperatorCounts]
    tensors: list[TensorLife]
    provenance: list[tuple[str, str]]
    open: bool


@dataclass(frozen=True)
class EntryView:
    """An entry as the template shows it, with the view of each of its records.

    anchors: of the record that each row shows. shown: the view whose figures its card has.
    """

    entry: Entry
    measure: Measure
    views: list[EpisodeView]
    anchors: list[str]
    shown: EpisodeView
    verdict: Verdict
    card: bool
    open: bool


def write_report(records: Sequence[EpisodeRecord], path: Path, *, title: str) -> None:
    """Write one self-contained HTML page on the records to path, whole or not at all.

    The same records give the same page, byte for byte. Raises UsageError when the page cannot be written.
    """
    write_atomically(path, render_report(records, title=title), "the report")


def render_report(records: Sequence[EpisodeRecord], *, title: str) -> str:
    """The page as text."""
    entries, labels = entries_of(records)
    views = _entry_views(entries, _views(records))
    shown = columns(entries)
    pareto = pareto_figures(entries)
    losses = loss_figure(entries)
    comparison = [*pareto.figures, *comparison_figures(entries), *([losses] if losses else [])]
    figures = [*comparison, *(figure for view in views for each in view.views for figure in _figures(each))]
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
        place=_place,
        written=written,
        difference=difference_words,
        bits=bits_words,
    )
    return environment.get_template("report.html.j2").render(
        title=wording.printable(title),
        headline=headline(records),
        entries=views,
        records=len(records),
        cards=[view for view in views if view.card],
        columns=shown,
        parts=list(zip(parts(entries, shown), views, strict=True)),
        common=_said_in_common(labels),
        common_rest=[pair for pair in labels.common if pair not in _said_in_common(labels)],
        with_episode=labels.with_episode,
        spread_words=WHAT_SPREAD_IS if any(entry.seeds > 1 for entry in entries) else "",
        left_out=pareto.left_out,
        two=compare_records(*records) if len(records) == 2 else None,
        comparison=comparison,
        figure_data={figure.key: {"data": figure.data, "layout": figure.layout} for figure in figures},
        phase_names=PHASES,
        input_words=input_words,
        updates_words=updates_words,
        loss_words=loss_words,
        status=Status,
        sram_limit=sram_limit,
        without_limit=without_limit,
        plotly=_plotly(),
        script=script,
        script_hashes=[_csp_hash(_plotly()), _csp_hash(script)],
        version=__version__,
    )


def _said_in_common(labels: Labels) -> list[tuple[str, str]]:
    """What is looked for first. The host is a board and a runner of that name: it is said once."""
    found = [pair for pair in labels.common if pair[0] in _SAID_IN_COMMON and pair[1] != "none"]
    board = dict(found).get("board")
    return [pair for pair in found if pair != ("runner", board)]


def _place(record: EpisodeRecord) -> str:
    """Where a record is from: ``m4-256k · cortex-m4 · qemu``; the host has one name for all three."""
    return " · ".join(dict.fromkeys(map(wording.printable, (record.board, record.core, record.runner))))


def _figures(view: EpisodeView) -> list[Figure]:
    """In the order of the page."""
    return [*view.figures, *view.class_figures]


def _views(records: Sequence[EpisodeRecord]) -> list[EpisodeView]:
    verdicts = [judge(record) for record in records]
    texts = labels_of(records).texts
    points = curves.MAX_POINTS if len(records) <= _MANY else _POINTS_OF_MANY
    return [
        EpisodeView(
            key=f"episode-{index}",
            label=text,
            record=record,
            verdict=verdict,
            golden=golden_phrase(record),
            notes=notes(record),
            figures=episode_figures(record, f"episode-{index}", points),
            class_figures=class_figures(record, f"episode-{index}"),
            phases=_phase_rows(record),
            estimates=estimate_rows(record),
            energy_source=energy_source(record),
            input=wording.input_words(record.input_placement, record.input_bytes),
            layers=layer_counts(record),
            operators=top_operators(record),
            tensors=sorted(record.arena_tensors, key=lambda t: (-t.size_bytes, t.offset_bytes))[:_MOST_TENSOR_ROWS],
            provenance=provenance(record),
            open=len(records) <= _MOST_OPEN or verdict.status is Status.FAIL,
        )
        for index, (record, verdict, text) in enumerate(zip(records, verdicts, texts, strict=True))
    ]


def _entry_views(entries: Sequence[Entry], views: Sequence[EpisodeView]) -> list[EntryView]:
    """Each entry with the views of its records, which are those of the page in another order."""
    left = list(views)
    found = []
    for entry in entries:
        own = []
        for record in (record for row in entry.rows for record in row.records):
            view = next(view for view in left if view.record is record)
            left.remove(view)
            own.append(view)
        in_rows = iter(own)
        rows = [[next(in_rows) for _ in row.records] for row in entry.rows]
        of_rows = [next(v for v in part if v.record is row.record) for part, row in zip(rows, entry.rows, strict=True)]
        worst = next(view.verdict for view in own if view.verdict.status is status_of(entry))
        failed = worst.status is Status.FAIL
        found.append(
            EntryView(
                entry=entry,
                measure=measure_of(entry),
                views=own,
                anchors=[view.key for view in of_rows],
                shown=of_rows[0],
                verdict=worst,
                card=len(entries) <= _MOST_CARDS or failed,
                open=any(view.open for view in own),
            )
        )
    return found


def _phase_rows(record: EpisodeRecord) -> list[PhaseRow]:
    counts, cycles = record.instructions_per_step, record.estimated_cycles_per_step
    if counts is None:
        return []
    macs = {"forward": record.macs_forward, "backward": record.macs_backward}
    names = {"total": "all operators", "other": "other: digest, protocol", "whole": "whole step"}
    return [
        PhaseRow(
            names.get(name, name),
            getattr(counts, name),
            macs.get(name),
            None if cycles is None else getattr(cycles, name),
            sum=name in ("total", "whole"),
        )
        for name in (*PHASES, "total", "other", "whole")
    ]


@cache
def _plotly() -> str:
    """plotly.js as the plotly package brings it, without any text that would end the script element it lies in."""
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _csp_hash(script: str) -> str:
    """The script's hash for the page's content security policy: scripts with this text run, and no others."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
