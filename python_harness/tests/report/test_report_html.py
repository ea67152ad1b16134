"""The HTML page: its numbers are the record's, it stands alone, and no name can change it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mcutrain.episode.record import PhaseCounts, TensorLife
from mcutrain.errors import UsageError
from mcutrain.report import write_report
from mcutrain.report.arena_figure import arena_figure
from mcutrain.report.figures import Figure
from mcutrain.report.html import render_report

HOSTILE = "</script><img src=x onerror=alert(1)>\"'`{{7*7}}<b>&amp;%{x}\u202e\x1b[31m"


class Page(HTMLParser):
    """A parsed page: its visible text (white space collapsed), its elements, and the content of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._words: list[str] = []
        self._raw: list[str] | None = None
        self.feed(html)
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag in ("script", "style"):
            self._raw = self.scripts if tag == "script" else self.styles
            self._raw.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw is not None:
            self._raw[-1] += data
        else:
            self._words.append(data)

    def tags(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(self.scripts[0])
        return figures


def trace(page: Page, figure: str, name: str) -> dict[str, Any]:
    return next(t for t in page.figures()[figure]["data"] if t["name"] == name)


def test_the_page_shows_the_numbers_of_the_record(make_record: Any) -> None:
    record = make_record(accuracy_before=0.1734, accuracy_after=0.5872, samples_test=10_000)
    text = Page(render_report([record], title="Nightly")).text
    counts = record.instructions_per_step
    for shown in (
        "Nightly",
        "1 episode: 1 passed.",
        "17.34 % → 58.72 %",
        "+41.38 points",
        "bit-exact to golden",
        "10,789,662.5",
        "10,830,999.5",  # with the driver's own work
        f"{record.sram_peak_bytes:,} of 262,144 B",
        "178,316 of 1,048,576 B",
        f"{counts.forward:,.0f}",
        f"{counts.backward:,.0f}",
        f"{record.macs_forward:,}",
        record.elf_sha256,
        record.compiler_flags,
        "arm-none-eabi-gcc 12.2.1",
        "qemu-system-arm 7.2.17",
        record.digest,
        "2,168 B of a reserve of 4,096 B",
    ):
        assert shown in text, shown


def test_the_sram_bars_add_up_to_the_limit(make_record: Any) -> None:
    record = make_record()
    page = Page(render_report([record], title="t"))
    parts = [trace(page, "sram", n)["x"][0] for n in ("arena", "trainable state", "other static data", "stack peak")]
    assert parts[0] == record.sram.arena
    assert parts[1] == record.sram.trainable
    assert sum(parts) == record.sram_peak_bytes
    assert sum(parts) + trace(page, "sram", "free")["x"][0] == record.sram_limit_bytes


def test_the_layer_bars_add_up_to_the_instructions_of_a_step(make_record: Any) -> None:
    record = make_record()
    page = Page(render_report([record], title="t"))
    traces = page.figures()["episode-0-layers"]["data"]
    assert sum(sum(t["x"]) for t in traces) == pytest.approx(record.instructions_per_step.whole)
    backward = trace(page, "episode-0-layers", "backward")["x"]
    assert sum(backward) == pytest.approx(record.instructions_per_step.backward)


def test_a_tensor_is_a_rectangle_over_its_lifetime_and_its_bytes(make_record: Any) -> None:
    tensors = (
        TensorLife(name="a", offset_bytes=0, size_bytes=100, first_op=0, last_op=3),
        TensorLife(name="b", offset_bytes=128, size_bytes=40, first_op=2, last_op=2),
    )
    page = Page(render_report([make_record(arena_tensors=tensors)], title="t"))
    made = trace(page, "episode-0-arena", "made in forward")
    left = [x - width / 2 for x, width in zip(made["x"], made["width"], strict=True)]
    right = [x + width / 2 for x, width in zip(made["x"], made["width"], strict=True)]
    assert (left, right) == ([-0.5, 1.5], [3.5, 2.5])
    assert (made["base"], made["y"]) == ([0, 128], [100, 40])
    assert "100 B at offset 0 to 100" in made["hovertext"][0]
    assert trace(page, "episode-0-arena", "peak of live bytes")["y"] == [140]


def test_the_accuracy_bars_are_the_accuracies(make_record: Any) -> None:
    page = Page(render_report([make_record(), make_record(accuracy_before=0.5, accuracy_after=None)], title="t"))
    assert trace(page, "accuracy", "before training")["x"] == pytest.approx([17.3, 50.0])
    assert trace(page, "accuracy", "after training")["x"] == pytest.approx([58.4])


def test_cycles_appear_only_as_an_estimate_and_only_if_there_are_any(make_record: Any) -> None:
    without = Page(render_report([make_record()], title="t")).text
    assert "No cycles are claimed" in without
    assert "estimate" not in without
    cycles = PhaseCounts(total=13_000_000, forward=6e6, loss=1e5, backward=6.5e6, update=3e5, other=1e5)
    text = Page(render_report([make_record(estimated_cycles_per_step=cycles)], title="t")).text
    assert "13,000,000" in text
    assert "estimate of the timing model" in text
    assert "162.50" in text  # 13,000,000 cycles at 80 MHz, ms
    assert "cycles are claimed" not in text


def test_estimates_have_their_range_their_time_and_the_source_of_their_energy(make_record: Any) -> None:
    cycles = {"": 4e6, "_low": 3.5e6, "_high": 4.5e6}
    estimated = {f"estimated_cycles_per_inference{end}": value for end, value in cycles.items()}
    energy = {"estimated_millijoules_per_inference": 1.25, "supply_source": "table 25 <b>"}
    text = Page(render_report([make_record(**estimated, **energy)], title="t")).text
    for shown in ("none of them measured", "4,000,000", "3,500,000 to 4,500,000", "50.00", "1.25", "table 25 <b>"):
        assert shown in text, shown
    without = Page(render_report([make_record(**estimated)], title="t")).text
    assert "Energy: no datasheet current in the board file" in without


def test_the_verdict_is_said_in_words(make_record: Any) -> None:
    records = [make_record(), make_record(matches_golden=False), make_record(matches_golden=None, golden_steps=0)]
    page = Page(render_report(records, title="t"))
    assert "3 runs of 1 episode: 1 passed, 1 failed, 1 not checked." in page.text
    badges = [e["class"] for e in page.tags("span") if e.get("class", "").startswith("badge")]
    assert {"badge pass", "badge fail", "badge unchecked"} == set(badges)
    assert "✗ differs from golden" in page.text


def test_the_page_loads_nothing(make_record: Any) -> None:
    page = Page(render_report([make_record()], title="t"))
    loading = ("src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href")
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key in loading], (tag, attributes)
        assert tag not in ("link", "base", "iframe", "object", "embed"), tag
        assert attributes.get("href", "#").startswith("#"), attributes
    assert not re.search(r"url\(|@import", page.styles[0])
    assert not re.search(r"fetch|XMLHttpRequest|import\(|http", page.scripts[2])


def test_the_security_policy_allows_exactly_the_scripts_of_the_page(make_record: Any) -> None:
    page = Page(render_report([make_record()], title="t"))
    policy = next(m["content"] for m in page.tags("meta") if m.get("http-equiv") == "Content-Security-Policy")
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts[1:]]
    assert directives["script-src"] == " ".join(f"'sha256-{h}'" for h in hashes)


def test_plotly_is_there_once(make_record: Any) -> None:
    html = render_report([make_record(), make_record()], title="t")
    assert html.count("plotly.js v") == 1


def test_hostile_names_stay_text(make_record: Any) -> None:
    plain = make_record()
    operators = tuple(o.model_copy(update={"name": HOSTILE, "layer": HOSTILE}) for o in plain.operators)
    tensors = tuple(t.model_copy(update={"name": HOSTILE}) for t in plain.arena_tensors)
    texts = ("episode", "board", "core", "runner", "method", "scheme", "error_mode", "weight_rounding", "compiler")
    hostile = make_record(
        operators=operators,
        arena_tensors=tensors,
        operator_names=tuple(HOSTILE for _ in operators),
        matches_golden=False,
        **dict.fromkeys((*texts, "compiler_flags", "emulator", "emulator_version", "elf_sha256"), HOSTILE),
    )
    html = render_report([hostile], title=HOSTILE)
    page, reference = Page(html), Page(render_report([plain], title="t"))
    assert not page.tags("img")
    assert len(page.scripts) == len(reference.scripts) == 3
    assert page.scripts[1:] == reference.scripts[1:]
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in reference.elements}
    assert not [a for _, a in page.elements if any(key.startswith("on") for key in a)]
    assert "</script><img src=x onerror=alert(1)>" in page.text
    assert "{{7*7}}" in page.text
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_hostile_names_are_no_markup_in_the_figures_either(make_record: Any) -> None:
    record = make_record(episode="<a href='x'>&lt;", operators=())
    figures = Page(render_report([record], title="t")).figures()
    assert "<a" not in json.dumps(figures)
    assert "&lt;a href='x'&gt;&amp;lt;" in json.dumps(figures)


def test_a_record_of_5000_steps_makes_a_page_of_less_than_8_mb(make_record: Any) -> None:
    html = render_report([make_record(steps=5000)], title="t")
    assert len(html.encode()) < 8_000_000
    figures = Page(html).figures()
    assert len(json.dumps(figures)) < 200_000
    record = make_record(steps=5000)
    raw = next(t for t in figures["episode-0-curves"]["data"] if t["name"] == "loss of a step")
    assert 900 <= len(raw["x"]) <= 1000
    assert max(raw["y"]) == pytest.approx(max(s.loss for s in record.step_records), rel=1e-5)


def test_a_hundred_episodes_fit_one_page(make_record: Any) -> None:
    record = make_record(steps=5000)
    html = render_report([record] * 100, title="t")
    assert len(html.encode()) < 30_000_000
    page = Page(html)
    assert len([d for d in page.tags("details") if d.get("class") == "episode"]) == 100
    assert not [d for d in page.tags("details") if "open" in d]


def test_every_figure_has_an_alternative_text_with_its_numbers(make_record: Any) -> None:
    page = Page(render_report([make_record()], title="t"))
    canvases = [d for d in page.tags("div") if d.get("class") == "canvas"]
    assert [c["id"] for c in canvases] == list(page.figures())
    assert len(canvases) == 6
    assert all(c["role"] == "img" and re.search(r"\d", c["aria-label"]) for c in canvases)


def test_a_host_record_without_counts_says_not_measured(make_record: Any) -> None:
    record = make_record(runner="host", instructions_per_step=None, instructions_per_inference=None, operators=())
    page = Page(render_report([record], title="t"))
    assert "instructions / step not measured" in page.text
    assert "instructions" not in page.figures()
    assert "episode-0-layers" not in page.figures()


def test_a_record_without_steps_and_tensors_still_makes_a_page(make_record: Any) -> None:
    record = make_record(steps=0, golden_steps=0, step_records=(), arena_tensors=(), operator_names=())
    assert "1 episode: 1 passed." in Page(render_report([record], title="t")).text


def test_no_records_make_a_page_that_says_so() -> None:
    assert "No episodes." in Page(render_report([], title="t")).text


def test_a_loss_that_is_no_number_is_a_gap_and_a_note(make_record: Any) -> None:
    steps = make_record(steps=30).step_records
    broken = (*steps[:10], steps[10].model_copy(update={"loss": float("nan")}), *steps[11:])
    page = Page(render_report([make_record(steps=30, step_records=broken)], title="t"))
    assert trace(page, "episode-0-curves", "loss of a step")["y"][10] is None
    assert "not a finite number in 1 steps, first in step 10" in page.text


def test_an_impossible_lifetime_is_refused(make_record: Any, tmp_path: Path) -> None:
    tensor = TensorLife(name="t", offset_bytes=0, size_bytes=1, first_op=0, last_op=10**12)
    with pytest.raises(UsageError, match="tensor t has 1 B at offset 0 over operators 0 to 1000000000000"):
        write_report([make_record(arena_tensors=(tensor,))], tmp_path / "report.html", title="t")
    assert list(tmp_path.iterdir()) == []


def test_the_same_records_give_the_same_page_and_nothing_else_is_left(make_record: Any, tmp_path: Path) -> None:
    path = tmp_path / "results" / "report.html"
    write_report([make_record()], path, title="t")
    first = path.read_bytes()
    write_report([make_record()], path, title="t")
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_a_path_that_cannot_be_written_is_one_clear_line(make_record: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write the report to .*: .*; name a path") as caught:
        write_report([make_record(steps=10)], tmp_path / "file" / "report.html", title="t")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_draws_every_figure(make_record: Any, tmp_path: Path) -> None:
    write_report([make_record(steps=50)], tmp_path / "report.html", title="t")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"]
    command += ["--virtual-time-budget=8000", "--window-size=1400,6000", "--dump-dom"]
    run = subprocess.run(
        [*command, (tmp_path / "report.html").as_uri()], capture_output=True, text=True, timeout=90, check=True
    )
    drawn = [d for d in Page(run.stdout).tags("div") if d.get("data-drawn") == "true"]
    assert len(drawn) == 6
    assert all("js-plotly-plot" in d["class"] for d in drawn)


def test_sram_without_the_sample_is_labelled_in_card_table_figure_and_provenance(make_record: Any) -> None:
    external = make_record(episode="outside", input_placement="external", input_bytes=49_152)
    inside = make_record(episode="inside", input_placement="sram", input_bytes=3_072)
    page = Page(render_report([external, inside], title="t"))
    # Card, comparison table, provenance.
    assert page.text.count("input external (49,152 B not in SRAM)") == 3
    assert page.text.count("input in SRAM (3,072 B)") == 3
    rows = page.figures()["sram"]["layout"]["yaxis"]["ticktext"]
    assert ["input external" in row for row in rows] == [True, False]
    assert "where the sample lies" not in Page(render_report([make_record()], title="t")).text


def test_the_memory_timeline_tells_the_programs_of_its_moments_apart(make_record: Any) -> None:
    """The last third of the moments is a program of its own, whose first operator runs in the sample, too."""
    plain = make_record()
    names = plain.operator_names
    third = len(names) // 3
    programs = ("sample",) * (len(names) - third) + ("update",) * third
    shared = (*names[: len(names) - third], names[0], *names[len(names) - third + 1 :])
    record = make_record(operator_names=shared, operator_programs=programs)
    figure = arena_figure(record, "k")
    assert figure is not None
    shown = _texts(figure)
    assert "update" in shown
    shapes = figure.layout["shapes"]
    assert isinstance(shapes, list)
    assert len(names) - third - 0.5 in [shape["x0"] for shape in shapes if shape.get("yref") == "paper"]
    plain_figure = arena_figure(plain, "k")
    assert plain_figure is not None
    assert "update" not in _texts(plain_figure)


def _texts(figure: Figure) -> list[str]:
    annotations = figure.layout["annotations"]
    assert isinstance(annotations, list)
    return [annotation["text"] for annotation in annotations]


def test_the_phase_of_a_tensor_is_that_of_the_operator_at_its_moment(make_record: Any) -> None:
    """An operator's number is not its moment: here the names are turned round."""
    plain = make_record()
    phases = [row.phase for row in sorted(plain.operators, key=lambda row: -row.op)]
    figure = arena_figure(make_record(operator_names=tuple(reversed(plain.operator_names))), "k")
    assert figure is not None
    expected = Counter(f"made in {phases[tensor.first_op]}" for tensor in plain.arena_tensors)
    found = Counter[str]()
    for trace in figure.data:
        x = trace["x"]
        assert isinstance(x, list)
        if str(trace["name"]).startswith("made in"):
            found[str(trace["name"])] = len(x)
    assert found == expected and len(expected) > 1
