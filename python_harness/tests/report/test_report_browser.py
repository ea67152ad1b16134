"""The page in a real browser, on a phone, on a desk and on paper: it is clicked, and nothing may be cut or out of reach."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcutrain.episode.record import PhaseCounts
from mcutrain.report import write_report
from report.test_classes import CLASSES
from report.test_labels import asked

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-test.lock)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

PHONE, DESK = 390, 1440
PAPER = 703  # A4 without margins of 12 mm, in CSS pixels
SCHEMES = ("head", "biases", "b all; conv0,conv1 conv2@1/2 conv30@1/4 conv31")

# What is cut, out of reach or wider than its place, one phrase each. Figures are drawn by plotly and only have to fit.
LOOK = """() => {
  const found = [], paper = matchMedia("print").matches;
  const name = (e) => `${e.tagName.toLowerCase()}.${e.className || ""} "${e.textContent.trim().slice(0, 30)}"`;
  const shown = (e) => e.checkVisibility() && e.getClientRects().length > 0;
  if (document.documentElement.scrollWidth > innerWidth) found.push(`page: ${document.documentElement.scrollWidth} > ${innerWidth}`);
  for (const e of document.querySelectorAll("body *")) {
    if (!shown(e) || e.closest("svg") || (e.closest(".canvas") && !e.matches(".canvas"))) continue;
    const box = e.closest(".scroll"), style = getComputedStyle(e), text = e.textContent.trim() !== "";
    if (/hidden|clip/.test(style.overflowX) && text && e.scrollWidth > e.clientWidth + 1) found.push(`cut: ${name(e)}`);
    if ((!box || box === e || paper) && e.getBoundingClientRect().right > innerWidth + 1) found.push(`beyond the page: ${name(e)}`);
  }
  for (const svg of document.querySelectorAll(".canvas svg.main-svg")) {
    const width = svg.getBoundingClientRect().width, place = svg.closest(".plot").clientWidth;
    if (shown(svg) && width > place + 1) found.push(`figure: ${svg.closest(".canvas").id}`);
  }
  for (const box of document.querySelectorAll(".scroll")) {
    if (!shown(box)) continue;
    const wide = box.scrollWidth > box.clientWidth + 1, origin = box.getBoundingClientRect().left + box.clientLeft - box.scrollLeft;
    const hint = box.nextElementSibling;
    if (wide && paper) found.push(`too wide for paper: ${box.ariaLabel}`);
    if (wide && !paper && !/auto|scroll/.test(getComputedStyle(box).overflowX)) found.push(`cannot be scrolled: ${box.ariaLabel}`);
    if (!paper && wide !== (hint.matches(".hint") && shown(hint))) found.push(`hint is wrong: ${box.ariaLabel}`);
    for (const cell of box.querySelectorAll("th, td")) {
      if (!shown(cell)) continue;
      const { left, right } = cell.getBoundingClientRect();
      if (right - origin > Math.max(box.scrollWidth, box.clientWidth) + 1) found.push(`out of reach: ${name(cell)}`);
      if (cell.scrollWidth > cell.clientWidth + 1) found.push(`wider than its cell: ${name(cell)}`);
      const sticky = getComputedStyle(cell).position === "sticky";
      if (sticky && right - left > 0.6 * box.clientWidth) found.push(`covers the rest: ${name(cell)}`);
    }
  }
  return found;
}"""
ORDER = """() => [...document.querySelectorAll("#compared tbody")].map((body) => body.rows[0].querySelector("a").textContent)"""


@pytest.fixture(scope="module")
def report(make_record: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three schemes of three seeds, of which only the first has settings in common with the others; and a run on the host."""
    records = []
    for n, scheme in enumerate(SCHEMES):
        cycles = PhaseCounts(total=2e6 * (n + 1), forward=1e6, loss=1e5, backward=2e6 * n + 8e5, update=1e5, other=2e5)
        for seed in (1, 2, 3):
            after = (0.9, 0.8, 0.7)[seed - 1] - 0.1 * n
            classes = {**CLASSES, "samples_test": 10, "accuracy_after": round(after, 1)}
            right = round(10 * after)
            classes["confusion_after"] = [[right, 10 - right], [0, 0]]
            records.append(
                make_record(
                    steps=40,
                    scheme=scheme,
                    settings=asked(seed=seed),
                    digest=f"{n:04x}{seed:04x}",
                    estimated_cycles_per_step=cycles,
                    estimated_millijoules_per_step=0.25 * (n + 1),
                    trained_parameters=300 * 10**n,
                    **classes,
                )
            )
    host = {
        "board": "host",
        "core": "host",
        "runner": "host",
        "sram_limit_bytes": 0,
        "flash_limit_bytes": 0,
        "flash_bytes": 0,
    }
    records.append(make_record(steps=40, **host, instructions_per_step=None, operators=(), settings=asked(seed=1)))
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(records, path, title="Schemes of resnet8-noise")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium. As root it runs without its sandbox, on a page of our own."""
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Visit:
    """The page, open at a width; problems: what its console said."""

    def __init__(self, browser: Any, report: Path, width: int) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(report.as_uri())
        # Figures are drawn when they come near the view.
        self.page.locator("#accuracy").scroll_into_view_if_needed()
        self.page.wait_for_selector("#accuracy .main-svg")

    def look(self) -> list[str]:
        """What is wrong with what is seen now."""
        return [*self.problems, *self.page.evaluate(LOOK)]


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_page_can_be_used(width: int, browser: Any, report: Path) -> None:
    visit = Visit(browser, report, width)
    page = visit.page
    assert visit.look() == []

    few = page.locator("#compared thead th:visible").count()
    page.click("button.toggle")
    assert page.locator("#compared thead th:visible").count() == page.locator("#compared thead th").count() > few + 8
    assert visit.look() == []
    box = page.locator(".scroll").first
    box.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    last, frame = page.locator("#compared thead th").last.bounding_box(), box.bounding_box()
    assert last["x"] + last["width"] <= frame["x"] + frame["width"] + 1, "the last column does not come into view"
    first = page.locator("#compared tbody th").first.bounding_box()
    assert first["x"] == pytest.approx(frame["x"], abs=2), "the first column does not stay"
    page.click("button.toggle")
    assert page.locator("#compared thead th:visible").count() == few

    before = page.evaluate(ORDER)
    page.click("#compared th button:has-text('Accuracy after')")  # numbers: the largest first
    # Means of 80, 70 and 60 %; the host has 58.4.
    assert page.evaluate(ORDER) == before
    page.click("#compared th button:has-text('Accuracy after')")
    assert page.evaluate(ORDER) == before[::-1]
    page.locator("#compared .expand").first.click()
    assert page.locator("#compared .member:visible").count() == 3
    own = page.locator("#compared tbody", has=page.locator(".member:visible")).first
    shown = [text.split(" %")[0] for text in own.locator(".member td:nth-child(2)").all_inner_texts()]
    assert shown == sorted(shown), "seeds are not in the order of the column"
    assert visit.look() == []

    page.locator("#pareto-cycles").scroll_into_view_if_needed()
    page.wait_for_selector("#pareto-cycles .points path")
    point = page.locator("#pareto-cycles .points path").nth(1).bounding_box()
    page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#pareto-cycles .hovertext")
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url("**#entry-1", timeout=5000)
    assert page.locator("#entry-1 > details").get_attribute("open") is not None
    assert page.locator("#entry-0 > details").get_attribute("open") is None
    page.wait_for_timeout(200)
    assert abs(page.locator("#entry-1").bounding_box()["y"]) < 900, "the entry is not in view"
    assert visit.look() == []

    page.evaluate("location.hash = '#episode-4'")  # a record inside the entry
    page.wait_for_selector("#episode-4 .canvas[data-drawn] .main-svg")
    page.wait_for_timeout(300)
    assert visit.look() == []
    page.close()


def test_nothing_is_cut_on_paper(browser: Any, report: Path) -> None:
    visit = Visit(browser, report, PAPER)
    visit.page.click("button.toggle")
    visit.page.evaluate("location.hash = '#episode-4'")
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visit.page.wait_for_selector("#episode-4-confusion .main-svg")
    assert visit.look() == []
    assert visit.page.locator(".tools:visible, .expand:visible, .hint:visible").count() == 0
    assert visit.page.locator("text=the others are in the page").is_visible()
    visit.page.close()
