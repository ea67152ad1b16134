"""What a network consists of: the rows and totals that the ``inspect`` command prints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from mcutrain.graph.model import Graph, Operator, Tensor


@dataclass(frozen=True)
class OperatorSummary:
    """One operator.

    scales and zero points: of every activation read and of the one written. weight_scale_min, weight_scale_max: None
    where the operator has no weights. parameters: elements of weights and bias. macs: multiply-accumulates of one
    inference; 0 for operators without weights.
    """

    name: str
    kind: str
    source: str
    input_shapes: tuple[tuple[int, ...], ...]
    output_shape: tuple[int, ...]
    input_scales: tuple[float, ...]
    input_zero_points: tuple[int, ...]
    output_scale: float
    output_zero_point: int
    weight_scale_min: float | None
    weight_scale_max: float | None
    parameters: int
    macs: int


@dataclass(frozen=True)
class GraphSummary:
    """A network. parameter_bytes: weights and biases as they lie in flash, int8 and int32."""

    name: str
    source_format: str
    source_sha256: str
    input_shape: tuple[int, ...]
    input_domain: str
    notes: tuple[str, ...]
    output_shape: tuple[int, ...]
    operators: tuple[OperatorSummary, ...]
    parameters: int
    parameter_bytes: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """The summary as a dictionary of JSON values."""
        document: dict[str, Any] = _without_tuples(asdict(self))
        return document


def summarize(graph: Graph) -> GraphSummary:
    """The summary of a valid graph."""
    constants = [t for t in graph.tensors.values() if t.data is not None]
    rows = tuple(_summarize_operator(graph, op) for op in graph.operators)
    return GraphSummary(
        name=graph.name,
        source_format=graph.source_format,
        source_sha256=graph.source_sha256,
        input_shape=graph.tensors[graph.input].shape,
        input_domain=graph.input_domain,
        notes=graph.notes,
        output_shape=graph.tensors[graph.output].shape,
        operators=rows,
        parameters=sum(t.elements for t in constants),
        parameter_bytes=sum(t.elements * (1 if t.dtype == "int8" else 4) for t in constants),
        macs=sum(row.macs for row in rows),
    )


def macs(graph: Graph, op: Operator) -> int:
    """Multiply-accumulates of one inference; taps that fall on padding count."""
    if op.kind not in ("conv2d", "depthwise_conv2d", "fully_connected"):
        return 0
    weights, output = graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
    return weights.elements // weights.shape[0] * output.elements


def render(summary: GraphSummary) -> Table:
    """The summary as a table for the terminal."""
    title = f"{summary.name} ({summary.source_format}), input {_shape(summary.input_shape)} as {summary.input_domain}"
    table = Table(title=title, title_justify="left", show_footer=True, box=None, pad_edge=False, header_style="dim")
    table.add_column("operator", footer="total", no_wrap=True)
    table.add_column("input", justify="right", overflow="fold")
    for heading in ("output", "scale", "zero", "w scale"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("params", justify="right", footer=f"{summary.parameters:,}", no_wrap=True)
    table.add_column("MACs", justify="right", footer=f"{summary.macs:,}", no_wrap=True)
    for row in summary.operators:
        table.add_row(
            row.name,
            " + ".join(_shape(s) for s in row.input_shapes),
            _shape(row.output_shape),
            f"{row.output_scale:.3g}",
            str(row.output_zero_point),
            _scale_range(row),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.macs:,}" if row.macs else "",
        )
    return table


def _summarize_operator(graph: Graph, op: Operator) -> OperatorSummary:
    operands = [graph.tensors[name] for name in op.inputs]
    activations = [t for t in operands if t.data is None]
    constants = [t for t in operands if t.data is not None]
    output = graph.tensors[op.outputs[0]]
    scales = [s for t in constants if t.dtype == "int8" for s in _scales(t)]
    return OperatorSummary(
        name=op.name,
        kind=op.kind,
        source=op.source,
        input_shapes=tuple(t.shape for t in activations),
        output_shape=output.shape,
        input_scales=tuple(t.scale for t in activations),
        input_zero_points=tuple(t.zero_point for t in activations),
        output_scale=output.scale,
        output_zero_point=output.zero_point,
        weight_scale_min=min(scales, default=None),
        weight_scale_max=max(scales, default=None),
        parameters=sum(t.elements for t in constants),
        macs=macs(graph, op),
    )


def _scales(t: Tensor) -> list[float]:
    return [] if t.quantization is None else [float(s) for s in t.quantization.scale]


def _scale_range(row: OperatorSummary) -> str:
    low, high = row.weight_scale_min, row.weight_scale_max
    if low is None or high is None:
        return ""
    return f"{high:.2g}" if math.isclose(low, high) else f"<= {high:.2g}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def _without_tuples(value: Any) -> Any:
    # json.dumps would write tuples as lists anyway; as lists already, a round trip compares equal.
    if isinstance(value, dict):
        return {key: _without_tuples(v) for key, v in value.items()}
    return [_without_tuples(v) for v in value] if isinstance(value, tuple) else value
