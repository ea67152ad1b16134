"""Confusion matrices of a record: held against its accuracy, and shown by class and as a heat map."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from mcutrain.report.html import render_report
from report.test_report_html import HOSTILE, Page, trace

BEFORE = [[3, 1], [4, 2]]  # 5 of 10 right
AFTER = [[4, 0], [1, 5]]  # 9 of 10
CLASSES: dict[str, Any] = {
    **{"samples_test": 10, "accuracy_before": 0.5, "accuracy_after": 0.9, "class_names": ("cat", "dog")},
    **{"confusion_before": BEFORE, "confusion_after": AFTER},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy_after": 0.8}, "9 of 10 samples are right"),
        ({"samples_test": 20}, "5 of 10 samples are right"),
        ({"samples_test": 11, "accuracy_after": 9 / 11, "accuracy_before": 5 / 11}, "9 of 10 samples|5 of 10 samples"),
        ({"confusion_after": [[4, 0, 0], [1, 5, 0]]}, "as many predicted classes"),
        ({"confusion_before": [[3, 1], [4, -2]]}, "greater than or equal to 0"),
        ({"class_names": ("a", "b", "c")}, "no more names"),
        ({"accuracy_before": None}, "5 of 10 samples are right"),
    ],
)
def test_a_matrix_that_is_not_of_the_record_is_refused(change: dict[str, Any], message: str, make_record: Any) -> None:
    assert make_record(steps=2, **CLASSES).confusion_after == ((4, 0), (1, 5))
    # model_validate, as a file is read.
    with pytest.raises(ValidationError, match=message):
        make_record(steps=2, **{**CLASSES, **change})


def test_the_accuracy_of_a_class_is_its_row(make_record: Any) -> None:
    page = Page(render_report([make_record(steps=2, **CLASSES)], title="t"))
    assert trace(page, "episode-0-classes", "before training")["x"] == pytest.approx([75.0, 100 / 3])
    after = trace(page, "episode-0-classes", "after training")
    assert after["x"] == pytest.approx([100.0, 500 / 6])
    assert "dog after training: 5 of 6 test samples right" in after["hovertext"][1]


def test_the_heat_map_has_the_counts_and_the_shares_of_each_true_class(make_record: Any) -> None:
    page = Page(render_report([make_record(steps=2, **CLASSES)], title="t"))
    after, before = (trace(page, "episode-0-confusion", f"{which} training") for which in ("after", "before"))
    assert (after["visible"], before["visible"]) == (True, False)
    assert after["z"] == [[1.0, 0.0], [0.1667, 0.8333]]
    assert after["text"] == [["4", ""], ["1", "5"]]
    assert "true dog, predicted cat<br>after training: 1 of 6 (16.7 %)" in after["hovertext"][1][0]
    canvas = next(d for d in page.tags("div") if d.get("id") == "episode-0-confusion")
    assert "9 of 10 test samples on the diagonal. Most often wrong: dog taken for cat, 1 times" in canvas["aria-label"]


def test_a_class_without_test_samples_has_no_accuracy(make_record: Any) -> None:
    matrix = [[9, 1, 0], [0, 0, 0], [0, 0, 0]]
    changes = {**CLASSES, "confusion_after": matrix, "confusion_before": None, "accuracy_before": None}
    page = Page(render_report([make_record(steps=2, **changes)], title="t"))
    bars = trace(page, "episode-0-classes", "after training")
    assert (bars["x"], bars["y"]) == ([90.0], [0])
    assert len(page.figures()["episode-0-confusion"]["data"]) == 1


def test_a_record_without_matrices_has_no_figures_of_classes(make_record: Any) -> None:
    assert not [key for key in Page(render_report([make_record(steps=2)], title="t")).figures() if "confusion" in key]


def test_a_large_matrix_takes_no_more_of_the_page_than_its_counts(make_record: Any) -> None:
    classes = 100
    matrix = [[10 if i == j else 0 for j in range(classes)] for i in range(classes)]
    record = make_record(
        steps=2,
        samples_test=10 * classes,
        accuracy_before=None,
        accuracy_after=1.0,
        class_names=tuple(f"a class with a long name, {i}" for i in range(classes)),
        confusion_after=matrix,
    )
    page = Page(render_report([record], title="t"))
    heat = trace(page, "episode-0-confusion", "after training")
    assert len(json.dumps(heat)) < 150_000
    assert heat["hovertext"][3][3].endswith("after training: 10 of 10 (100.0 %)") and heat["hovertext"][3][4] == ""
    assert len(page.figures()["episode-0-confusion"]["layout"]["xaxis"]["ticktext"]) < 40


def test_the_names_of_classes_stay_text(make_record: Any) -> None:
    html = render_report([make_record(steps=2, **{**CLASSES, "class_names": (HOSTILE, "dog")})], title="t")
    assert not Page(html).tags("img") and "\u202e" not in html
