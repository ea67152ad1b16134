"""table: a function of one number, looked up by code."""

from __future__ import annotations

import numpy as np

from mcutrain.graph import Operator, TableAttributes
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase
from mcutrain.ops.table import TableErrorParams, TableS8Params


class TableRule(Rule):
    """The output code of each input code; the error times the slope at that code, which is 0 where the function is cut off."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, TableAttributes)
        x = context.tensor(op.inputs[0])
        table = context.build.constant(f"{op.name}.table", np.array(op.attributes.codes, np.int8))
        operands = {"x": context.place[x.name], "table": table, "y": context.output_buffer(op)}
        context.build.step(op.name, "table_s8", TableS8Params(x.elements), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        assert isinstance(op.attributes, TableAttributes)
        x, build, mode = context.tensor(op.inputs[0]), context.build, context.errors
        name = f"{op.name}.input_error"
        slope, exponent = mode.factors(build, f"{op.name}.slopes", np.array(op.attributes.slopes))
        out = build.buffer(name, mode.error, x.shape)
        operands = {"error": error, "x": context.place[x.name], "slope": slope, "out": out}
        params = TableErrorParams(x.elements, exponent)
        build.step(name, f"table_error_{mode.suffix}", params, Phase.BACKWARD, op.name, operands)
        return {x.name: out}
