"""Functions of one number, and what is spelled out of several nodes but depends on one tensor alone: x * sigmoid(x), gelu by erf.

Each such node, a unary one or one that combines a tensor with single numbers or with functions of itself, is computed for all 256 codes;
the QuantizeLinear that follows makes a table of them. Where the nodes between have a QuantizeLinear of their own, its rounding is part of
the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import TableAttributes
from mcutrain.graph.model import Quantization, Tensor
from mcutrain.importers import functions
from mcutrain.importers.common import UnsupportedError
from mcutrain.importers.functions import Function
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, codes_operand
from mcutrain.importers.onnx_rules.base import Rule
from mcutrain.importers.onnx_rules.limits import clip_limits, single_number
from mcutrain.importers.onnx_values import Codes, Pending, Pointwise, Real, Value
from mcutrain.importers.tables import real_inputs, table_attributes

Float32s = NDArray[np.float32]
Float64s = NDArray[np.float64]


def quantized_table(p: Pointwise, y: Tensor) -> tuple[TableAttributes, Pointwise]:
    """The table from the codes of ``p`` to those of ``y``, half to even as onnxruntime has it; and the function with that rounding."""
    with np.errstate(all="ignore"):
        steps = np.nan_to_num(np.rint(p.values / np.float32(y.scale)).astype(np.float64), posinf=1e9, neginf=-1e9)
    codes = steps + y.zero_point
    attributes = table_attributes(p.function, p.codes.tensor, y, codes, p.slopes)
    slopes = np.array(attributes.slopes) * (y.scale / p.codes.tensor.scale)
    centred = np.array(attributes.codes) - y.zero_point
    return attributes, replace(p, values=centred.astype(np.float32) * np.float32(y.scale), slopes=slopes)


def folded_into_table(context: Context, node: FileNode) -> Pointwise | None:
    """What a node computes that combines functions of one tensor with each other or with single numbers; None of any other node."""
    values = [context.value(name) for name in node.inputs if name]
    if node.kind in ("Clip", "Relu") and values and _is_function(values[0], context):
        low, high = clip_limits(context, node) if node.kind == "Clip" else (0.0, None)
        limited = functions.clip(-math.inf if low is None else low, math.inf if high is None else high)
        return _applied(node, functions.RELU if node.kind == "Relu" else limited, _pointwise(context, values[0]))
    if node.kind in ("Max", "Min") and len(values) == 2:
        for value, limit in ((values[0], single_number(values[1])), (values[1], single_number(values[0]))):
            if limit is not None and _is_function(value, context):
                ends = (limit, math.inf) if node.kind == "Max" else (-math.inf, limit)
                return _applied(node, functions.clip(*ends), _pointwise(context, value))
    if node.kind not in _BINARY or len(values) != 2 or node.attributes:
        return None
    values = [_limits(context, value) if isinstance(value, Pending) else value for value in values]
    operands = _of_one_tensor(context, node, values)
    if operands is None:
        return None
    (a, a_slopes), (b, b_slopes), codes, function = operands
    with np.errstate(all="ignore"):
        result, by_a, by_b = _BINARY[node.kind](a, b)
        slopes = by_a * a_slopes + by_b * b_slopes
    return Pointwise(
        f"table{node.position}", node.kind, function, codes, np.broadcast_to(result, (256,)), np.nan_to_num(slopes)
    )


def _limits(context: Context, value: Pending) -> Pending | Pointwise:
    """What limits a tensor's codes as a function of them; anything else that waits for its quantisation as it is."""
    if not value.is_limited_codes:
        return value
    codes = Codes(context.graph.tensors[value.inputs[0]], value.order, value.rows)
    low, high = (-math.inf if value.low is None else value.low), (math.inf if value.high is None else value.high)
    function = functions.RELU if (low, high) == (0.0, math.inf) else functions.clip(low, high)
    return _composed(value.name, value.source, function, _pointwise(context, Real(codes)))


def _is_function(value: Value, context: Context) -> TypeGuard[Real | Pointwise]:
    """Whether a value is a function of a tensor's codes that is not quantised yet, or was by a table."""
    return isinstance(value, Pointwise) or (isinstance(value, Real) and value.codes.tensor.name in context.tables)


Operand = tuple[Float32s, Float64s]  # values and slopes


def _of_one_tensor(context: Context, node: FileNode, values: list[Value]) -> tuple[Operand, Operand, Codes, str] | None:
    """Both operands as functions of the same codes, where they are that and not the plain sum of a tensor with itself."""
    first, second = values
    numbers = [single_number(value) for value in values]
    functions_of = [value for value in values if isinstance(value, Real | Pointwise)]
    if len(functions_of) + sum(number is not None for number in numbers) != 2 or not functions_of:
        return None
    if len(functions_of) == 1:
        p = _pointwise(context, functions_of[0])
        a, b = (
            (p.values, p.slopes) if number is None else (np.full(256, number, np.float32), np.zeros(256))
            for number in numbers
        )
        return a, b, p.codes, p.function or node.kind.lower()
    is_doubled = (
        isinstance(first, Real) and isinstance(second, Real) and first.codes.tensor.name == second.codes.tensor.name
    )
    p, q = (_pointwise(context, value) for value in functions_of)
    if p.codes.tensor.name != q.codes.tensor.name or (is_doubled and node.kind == "Add"):
        return None
    return (p.values, p.slopes), (q.values, q.slopes), p.codes, p.function or q.function or node.kind.lower()


def _pointwise(context: Context, value: Real | Pointwise) -> Pointwise:
    """A value as a function of codes: of those that its own were looked up by, where a table has made them."""
    if isinstance(value, Pointwise):
        return value
    itself = Pointwise("", "", "", value.codes, real_inputs(value.codes.tensor), np.ones(256))
    return context.tables.get(value.codes.tensor.name, itself)


# The result and its slopes by both operands.
_BINARY: dict[str, Callable[[Float32s, Float32s], tuple[Float32s, Float64s, Float64s]]] = {
    "Add": lambda a, b: (a + b, np.ones(256), np.ones(256)),
    "Div": lambda a, b: (a / b, 1 / b.astype(np.float64), -a.astype(np.float64) / b.astype(np.float64) ** 2),
    "Mul": lambda a, b: (a * b, b.astype(np.float64), a.astype(np.float64)),
    "Pow": lambda a, b: (
        np.power(a, b),
        b.astype(np.float64) * np.power(a.astype(np.float64), b.astype(np.float64) - 1),
        np.zeros(256),
    ),
    "Sub": lambda a, b: (a - b, np.ones(256), -np.ones(256)),
}


def _applied(node: FileNode, function: Function, x: Pointwise, unstated: Quantization | None = None) -> Pointwise:
    return _composed(f"table{node.position}", node.kind, function, x, unstated)


def _composed(
    name: str, source: str, function: Function, x: Pointwise, unstated: Quantization | None = None
) -> Pointwise:
    with np.errstate(all="ignore"):
        real = x.values.astype(np.float64)
        values, slopes = function.value(real).astype(np.float32), function.slope(real) * x.slopes
    return Pointwise(name, source, function.name, x.codes, values, np.nan_to_num(slopes), unstated)


def _unary(of: Callable[[FileNode], Function], unstated: Quantization | None = None) -> Callable[..., Value]:
    def rule(context: Context, node: FileNode) -> Value:
        value = context.value(node.inputs[0])
        value = _limits(context, value) if isinstance(value, Pending) else value
        x = _pointwise(
            context,
            value if isinstance(value, Pointwise) else Real(codes_operand(context, node.inputs[0], or_rows=True)),
        )
        return _applied(node, of(node), x, unstated)

    return rule


def _float_attribute(node: FileNode, name: str, default: float) -> float:
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UnsupportedError(f"its {name} is not a number")
    return float(value)


def _gelu(node: FileNode) -> Function:
    approximate = node.attributes.get("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise UnsupportedError(f"its approximation is {approximate!r}")
    return functions.TANH_GELU if approximate == "tanh" else functions.GELU


def _selu(node: FileNode) -> Function:
    alpha = _float_attribute(node, "alpha", 1.6732632423543772848170429916717)
    return functions.scaled_elu("selu", _float_attribute(node, "gamma", 1.0507009873554804934193349852946), alpha, 1.0)


def _celu(node: FileNode) -> Function:
    alpha = _float_attribute(node, "alpha", 1.0)
    if alpha == 0:
        raise UnsupportedError("its alpha is 0")
    return functions.scaled_elu("celu", 1.0, alpha, alpha)


def _constant(function: Function, unstated: Quantization | None = None) -> Rule:
    return Rule(_unary(lambda node: function, unstated), (1, 1))


def _with(function: Callable[[FileNode], Function], *attributes: str, unstated: Quantization | None = None) -> Rule:
    return Rule(_unary(function, unstated), (1, 1), frozenset(attributes))


def _quantization(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int32))


_ZERO_TO_ONE, _PLUS_MINUS_ONE = _quantization(1 / 256, -128), _quantization(1 / 128, 0)

RULES: dict[str, Rule] = {
    "Abs": _constant(functions.ABS),
    "Celu": _with(_celu, "alpha"),
    "Elu": _with(lambda node: functions.elu(_float_attribute(node, "alpha", 1.0)), "alpha"),
    "Erf": _constant(functions.ERF),
    "Exp": _constant(functions.EXP),
    "Gelu": _with(_gelu, "approximate"),
    "HardSigmoid": _with(
        lambda node: functions.hard_sigmoid(_float_attribute(node, "alpha", 0.2), _float_attribute(node, "beta", 0.5)),
        "alpha",
        "beta",
        unstated=_ZERO_TO_ONE,
    ),
    "HardSwish": _constant(functions.HARD_SWISH),
    "LeakyRelu": _with(lambda node: functions.leaky_relu(_float_attribute(node, "alpha", 0.01)), "alpha"),
    "Log": _constant(functions.LOG),
    "Mish": _constant(functions.MISH),
    "Neg": _constant(functions.NEG),
    "Reciprocal": _constant(functions.RECIPROCAL),
    "Selu": _with(_selu, "alpha", "gamma"),
    "Sigmoid": _constant(functions.SIGMOID, _ZERO_TO_ONE),
    "Softplus": _constant(functions.SOFTPLUS),
    "Softsign": _constant(functions.SOFTSIGN),
    "Sqrt": _constant(functions.SQRT),
    "Tanh": _constant(functions.TANH, _PLUS_MINUS_ONE),
    "ThresholdedRelu": _with(lambda node: functions.thresholded_relu(_float_attribute(node, "alpha", 1.0)), "alpha"),
}
