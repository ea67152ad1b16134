"""What the rules of all operators of an ONNX network are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mcutrain.importers.common import UnsupportedError, quoted
from mcutrain.importers.onnx_file import FileNode
from mcutrain.importers.onnx_operands import Context, UnknownInputError
from mcutrain.importers.onnx_values import Unknown, Value


@dataclass(frozen=True)
class Rule:
    """How one operator is imported. inputs: fewest and most operands. attributes: those whose meaning is handled.

    The function gives one value, or one for each output of the node.
    """

    function: Callable[[Context, FileNode], Value | tuple[Value, ...]]
    inputs: tuple[int, int]
    attributes: frozenset[str] = frozenset()
    several_outputs: bool = False

    def apply(self, context: Context, node: FileNode) -> Value | tuple[Value, ...]:
        """The value of ``node``, or the values of its outputs. Raises UnsupportedError with the reason."""
        strange = sorted(set(node.attributes) - self.attributes)
        if strange:
            raise UnsupportedError(f"attribute {', '.join(quoted(name) for name in strange)}")
        fewest, most = self.inputs
        if not fewest <= len(node.inputs) <= most or not all(node.inputs[:fewest]):
            raise UnsupportedError(f"{len(node.inputs)} inputs")
        try:
            return self.function(context, node)
        except UnknownInputError:
            return Unknown()


WINDOW = frozenset({"auto_pad", "dilations", "kernel_shape", "pads", "strides"})
