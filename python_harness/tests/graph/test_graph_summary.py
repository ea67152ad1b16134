"""The summary of a network counts what its definition says."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from mcutrain.graph.summary import render, summarize
from support.graphs import small_graph


def test_macs_of_a_convolution_are_outputs_times_the_taps_of_one_filter() -> None:
    conv = summarize(small_graph()).operators[0]
    assert conv.macs == (4 * 3) * 5 * (3 * 2 * 2)


def test_macs_of_a_fully_connected_operator_are_inputs_times_outputs() -> None:
    row = summarize(small_graph()).operators[3]
    assert (row.kind, row.macs) == ("fully_connected", 5 * 7)


def test_parameters_are_weights_and_biases_and_their_bytes() -> None:
    summary = summarize(small_graph())
    assert [row.parameters for row in summary.operators] == [5 * 12 + 5, 0, 0, 35 + 7]
    assert summary.parameters == 5 * 12 + 5 + 35 + 7
    assert summary.parameter_bytes == 5 * 12 + 4 * 5 + 35 + 4 * 7


def test_a_row_has_shapes_scales_and_the_range_of_the_weight_scales() -> None:
    row = summarize(small_graph()).operators[0]
    assert (row.name, row.source) == ("conv0", "CONV_2D")
    assert (row.input_shapes, row.output_shape) == (((4, 3, 2),), (4, 3, 5))
    assert (row.input_scales, row.input_zero_points) == ((0.5,), (-3,))
    assert (row.output_scale, row.output_zero_point) == (2.0, 9)
    assert (row.weight_scale_min, row.weight_scale_max) == pytest.approx((0.01, 0.05))


def test_the_json_form_survives_a_round_trip() -> None:
    document = summarize(small_graph()).to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["operators"][0]["output_shape"] == [4, 3, 5]


def test_the_table_shows_every_operator_and_the_totals() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(summarize(small_graph())))
    text = console.export_text()
    for expected in ("conv0", "average_pool1", "reshape2", "fully_connected3", "<= 0.05", "720", "755", "107"):
        assert expected in text
    assert np.all([len(line) <= 200 for line in text.splitlines()])
