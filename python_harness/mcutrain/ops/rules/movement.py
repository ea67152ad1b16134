"""concatenate, pad, resize_nearest, slice and transpose: operators that move elements and change none.

Each is a copy of a box of elements (see `ops.copy`) but for images with a border of zeros, which have a kernel of their own, and for
resize_nearest. The errors go back where the elements came from; what came from nowhere has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph import (
    ConcatenateAttributes,
    Operator,
    PadAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    Tensor,
    TransposeAttributes,
)
from mcutrain.ops.copy import CopyParams, Side, contiguous, copy_params, reversed_copy
from mcutrain.ops.pad import PadS8Params
from mcutrain.ops.pad_gradient import PadErrorParams
from mcutrain.ops.resize_nearest import ResizeNearestParams
from mcutrain.ops.rules.base import Lowering, Rule
from mcutrain.ops.steps import Phase


def _whole(tensor: Tensor) -> Side:
    return Side(0, contiguous(tensor.shape), tensor.elements)


def _part(tensor: Tensor, begin: tuple[int, ...]) -> Side:
    """A box of a tensor that begins there."""
    strides = contiguous(tensor.shape)
    return Side(sum(b * s for b, s in zip(begin, strides, strict=True)), strides, tensor.elements)


def _image(tensor: Tensor) -> Tensor:
    """A sequence as the image that it is."""
    return replace(tensor, shape=tensor.image, data=None)


def _copied_error(context: Lowering, op: Operator, name: str, error: str, params: CopyParams, x: Tensor) -> str:
    """The step that copies the errors of ``x`` by ``params``; returns their buffer."""
    mode = context.errors
    out = context.build.buffer(name, mode.error, x.shape)
    operands = {"error": error, "out": out}
    context.build.step(name, f"copy_error_{mode.suffix}", params, Phase.BACKWARD, op.name, operands)
    return out


class ConcatenateRule(Rule):
    """One copy for each input: the first writes the whole output, the others into it. The error of an input is its part."""

    def _copies(self, context: Lowering, op: Operator) -> Iterator[tuple[Tensor, CopyParams]]:
        assert isinstance(op.attributes, ConcatenateAttributes)
        y, axis, at = context.tensor(op.outputs[0]), op.attributes.axis, 0
        for x in map(context.tensor, op.inputs):
            begin = tuple(at if a == axis else 0 for a in range(len(y.shape)))
            yield x, copy_params(x.shape, _whole(x), _part(y, begin))
            at += x.shape[axis]

    def forward(self, context: Lowering, op: Operator) -> None:
        y = context.output_buffer(op)
        for index, (x, params) in enumerate(self._copies(context, op)):
            name, kernel = (f"{op.name}.{index}", "copy_into_s8") if index else (op.name, "copy_s8")
            operands = {"x": context.place[x.name], "y": y}
            context.build.step(name, kernel, params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        errors: dict[str, str] = {}
        for index, (x, params) in enumerate(self._copies(context, op)):
            if x.name not in context.wanted:
                continue
            part = _copied_error(context, op, f"{op.name}.{index}_error", error, reversed_copy(params), x)
            if x.name in errors:  # the same tensor twice
                part = context.errors.add(context.build, f"{op.name}.{index}_sum", op.name, errors[x.name], part)
            errors[x.name] = part
        return errors


class PadRule(Rule):
    """A border; the border's error goes nowhere."""

    def forward(self, context: Lowering, op: Operator) -> None:
        assert isinstance(op.attributes, PadAttributes)
        x, y, border = context.tensor(op.inputs[0]), context.tensor(op.outputs[0]), op.attributes.padding
        value = x.zero_point if op.attributes.value is None else op.attributes.value
        operands = {"x": context.place[x.name], "y": context.output_buffer(op)}
        if op.attributes.channels == (0, 0):
            height, width, channels = x.image
            params = PadS8Params(height, width, channels, border.top, border.bottom, border.left, border.right, value)
            context.build.step(op.name, "pad_s8", params, Phase.FORWARD, op.name, operands)
            return
        begin = tuple(before for before, _ in op.attributes.amounts)
        copy = copy_params(x.image, _whole(_image(x)), _part(_image(y), begin), value)
        context.build.step(op.name, "copy_s8", copy, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        assert isinstance(op.attributes, PadAttributes)
        x, y, border = context.tensor(op.inputs[0]), context.tensor(op.outputs[0]), op.attributes.padding
        name, mode = f"{op.name}.input_error", context.errors
        if op.attributes.channels != (0, 0):
            begin = tuple(before for before, _ in op.attributes.amounts)
            copy = copy_params(x.image, _part(_image(y), begin), _whole(_image(x)))
            return {x.name: _copied_error(context, op, name, error, copy, x)}
        out = context.build.buffer(name, mode.error, x.shape)
        height, width, channels = x.image
        params = PadErrorParams(height, width, channels, border.top, border.bottom, border.left, border.right)
        operands = {"error": error, "out": out}
        context.build.step(name, f"pad_error_{mode.suffix}", params, Phase.BACKWARD, op.name, operands)
        return {x.name: out}


class _CopyRule(Rule):
    """An operator that is one copy of its whole output."""

    def _source(self, op: Operator, x: Tensor) -> Side:
        """Where the output's elements lie in the input."""
        raise NotImplementedError

    def _copy(self, context: Lowering, op: Operator) -> CopyParams:
        x, y = context.tensor(op.inputs[0]), context.tensor(op.outputs[0])
        try:
            return copy_params(y.shape, self._source(op, x), _whole(y))
        except ValueError as error:
            raise UsageError(f"{op.name}: {error}") from None

    def forward(self, context: Lowering, op: Operator) -> None:
        operands = {"x": context.place[op.inputs[0]], "y": context.output_buffer(op)}
        context.build.step(op.name, "copy_s8", self._copy(context, op), Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        x = context.tensor(op.inputs[0])
        params = reversed_copy(self._copy(context, op))
        return {x.name: _copied_error(context, op, f"{op.name}.input_error", error, params, x)}


class SliceRule(_CopyRule):
    """Some of the elements along each axis; the error of the others is zero."""

    def _source(self, op: Operator, x: Tensor) -> Side:
        assert isinstance(op.attributes, SliceAttributes)
        whole = _part(x, op.attributes.begin)
        strides = tuple(stride * step for stride, step in zip(whole.strides, op.attributes.step, strict=True))
        return Side(whole.start, strides, x.elements)


class TransposeRule(_CopyRule):
    """The axes in another order; the errors in the former."""

    def _source(self, op: Operator, x: Tensor) -> Side:
        assert isinstance(op.attributes, TransposeAttributes)
        strides = contiguous(x.shape)
        return Side(0, tuple(strides[axis] for axis in op.attributes.permutation), x.elements)


class ResizeNearestRule(Rule):
    """Rows and columns, repeated or left out; the error of an element is the sum of those of its copies."""

    def _params(self, context: Lowering, op: Operator) -> ResizeNearestParams:
        height, width, channels = context.tensor(op.inputs[0]).shape
        out_height, out_width, _ = context.tensor(op.outputs[0]).shape
        return ResizeNearestParams(height, width, channels, out_height, out_width)

    def _tables(self, context: Lowering, op: Operator) -> dict[str, str]:
        assert isinstance(op.attributes, ResizeNearestAttributes)
        taken = {"rows": op.attributes.rows, "columns": op.attributes.columns}
        return {role: context.build.constant(f"{op.name}.{role}", np.array(n, np.int32)) for role, n in taken.items()}

    def forward(self, context: Lowering, op: Operator) -> None:
        tables = self._tables(context, op)
        operands = {"x": context.place[op.inputs[0]], **tables, "y": context.output_buffer(op)}
        params = self._params(context, op)
        context.build.step(op.name, "resize_nearest_s8", params, Phase.FORWARD, op.name, operands)

    def backward(self, context: Lowering, op: Operator, error: str) -> dict[str, str]:
        x = context.tensor(op.inputs[0])
        operands = {"error": error, **self._tables(context, op)}
        name, params = f"{op.name}.input_error", self._params(context, op)
        out = context.errors.pass_on(context.build, name, op.name, "resize_nearest_error", params, operands, x.shape)
        return {x.name: out}
