"""QOperator form, as onnxruntime's quantiser writes it too: each operator of codes as the QDQ form of itself.

QLinearConv is DequantizeLinear of image and filters, Conv, and QuantizeLinear; and so are the others. What reads no scales, such as MaxPool
and Reshape, acts on codes in both forms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mcutrain.importers.onnx_file import Array, FileModel, FileNode

_MICROSOFT = "com.microsoft."


@dataclass(frozen=True)
class _Form:
    """Where an operator has its operands. kind: the float one. operands: the place of each; its scale and zero point follow it.

    result: the place of the output's scale, before its zero point. weights: the axis of the second operand that its scales are of. bias:
    the place of an int32 bias at the scale of both operands. drops: attributes that the float operator has not.
    """

    kind: str
    operands: tuple[int, ...]
    result: int
    weights: int | None = None
    bias: int | None = None
    drops: frozenset[str] = frozenset()


def _unary(kind: str, *drops: str) -> _Form:
    return _Form(kind, (0,), 3, drops=frozenset(drops))


_FORMS: dict[str, _Form] = {
    "QLinearConv": _Form("Conv", (0, 3), 6, weights=0, bias=8),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6, weights=1),
    f"{_MICROSOFT}QGemm": _Form("Gemm", (0, 3), 7, weights=1, bias=6),
    f"{_MICROSOFT}QLinearAdd": _Form("Add", (0, 3), 6),
    f"{_MICROSOFT}QLinearAveragePool": _unary("AveragePool", "channels_last"),
    f"{_MICROSOFT}QLinearGlobalAveragePool": _unary("GlobalAveragePool", "channels_last"),
    f"{_MICROSOFT}QLinearLeakyRelu": _unary("LeakyRelu"),
    f"{_MICROSOFT}QLinearMul": _Form("Mul", (0, 3), 6),
    f"{_MICROSOFT}QLinearSigmoid": _unary("Sigmoid"),
    f"{_MICROSOFT}QLinearSoftmax": _unary("Softmax", "opset"),
}
_CONCAT = f"{_MICROSOFT}QLinearConcat"


def in_qdq_form(model: FileModel) -> FileModel:
    """The model with DequantizeLinear, the float operator and QuantizeLinear for each operator of codes that is known here."""
    constants = dict(model.constants)
    nodes = tuple(part for node in model.nodes for part in _parts(node, constants))
    return replace(model, nodes=nodes, constants=constants)


def _parts(node: FileNode, constants: dict[str, Array]) -> Iterator[FileNode]:
    form = _form_of(node)
    if form is None:
        yield node
        return
    operands = []
    for place, at in enumerate(form.operands):
        axis = form.weights if place == 1 else None
        if axis is not None and node.attributes.get("transB", 0) != 0:
            axis = 1 - axis
        operands.append(f"{node.outputs[0]}_operand{place}")
        by = (*node.inputs[at + 1 : at + 3],)
        yield _node(node, "DequantizeLinear", (node.inputs[at], *by), operands[-1], axis)
    if form.bias is not None and len(node.inputs) > form.bias and node.inputs[form.bias]:
        scale, operand = f"{node.outputs[0]}_bias_scale", f"{node.outputs[0]}_bias"
        first, second = (constants.get(node.inputs[at + 1]) for at in form.operands)
        if first is not None and second is not None:
            constants[scale] = np.asarray(first, np.float32) * np.asarray(second, np.float32)
        operands.append(operand)
        yield _node(node, "DequantizeLinear", (node.inputs[form.bias], scale), operand, 0)
    attributes = {name: value for name, value in node.attributes.items() if name not in form.drops}
    is_real = len(node.inputs) <= form.result  # QGemm may end without a scale
    result = node.outputs[0] if is_real else f"{node.outputs[0]}_result"
    yield replace(node, kind=form.kind, inputs=tuple(operands), outputs=(result,), attributes=attributes)
    if not is_real:
        by = (*node.inputs[form.result : form.result + 2],)
        yield _node(node, "QuantizeLinear", (result, *by), node.outputs[0], None)


def _form_of(node: FileNode) -> _Form | None:
    """Where the operands of a node are; None where it is no operator of codes, or has another form."""
    form = _FORMS.get(node.kind)
    if node.kind == _CONCAT and len(node.inputs) >= 5 and (len(node.inputs) - 2) % 3 == 0:
        form = _Form("Concat", tuple(range(2, len(node.inputs), 3)), 0)
    if form is None or len(node.outputs) != 1 or len(node.inputs) < form.operands[-1] + 2:
        return None
    if form.kind != "Gemm" and len(node.inputs) <= form.result:
        return None
    if node.attributes.get("channels_last", 0) != 0:
        return None
    return form


def _node(of: FileNode, kind: str, inputs: tuple[str, ...], output: str, axis: int | None) -> FileNode:
    return replace(of, kind=kind, inputs=inputs, outputs=(output,), attributes={} if axis is None else {"axis": axis})
