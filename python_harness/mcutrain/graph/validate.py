"""Check the invariants of a Graph: what every importer promises and everything downstream relies on."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from mcutrain.errors import UsageError
from mcutrain.graph.checks import CHECKS
from mcutrain.graph.checks.base import INT32_MAX, require
from mcutrain.graph.model import Graph, Tensor


def validate(graph: Graph) -> None:
    """Raise UsageError, naming operator and tensor, where ``graph`` breaks an invariant of ``mcutrain.graph.model``.

    After it: every tensor an operator reads was written before or is a constant or the input; shapes, types, scales and
    clamps are consistent; and no forward accumulator or rescale can leave 32 bits.
    """
    require(bool(graph.operators), "the network has no operators")
    for name, tensor in graph.tensors.items():
        require(name == tensor.name, f"tensor '{name}' is stored under another name")
        _check_tensor(tensor)
    _check_wiring(graph)
    for op in graph.operators:
        check = CHECKS.get(op.kind)
        if check is None:
            raise UsageError(f"{op.name}: unknown kind '{op.kind}'")
        check(graph, op)


def _check_tensor(t: Tensor) -> None:
    where = f"tensor '{t.name}'"
    require(t.dtype in ("int8", "int32"), f"{where} is {t.dtype}, not int8 or int32")
    require(bool(t.shape), f"{where} has no dimensions")
    require(all(0 < n <= INT32_MAX for n in t.shape), f"{where} has the shape {t.shape}")
    require(math.prod(t.shape) <= INT32_MAX, f"{where} of shape {t.shape} is too large")
    if t.data is not None:
        require(t.data.shape == t.shape, f"{where} has data of shape {t.data.shape}, not {t.shape}")
        require(str(t.data.dtype) == t.dtype, f"{where} has data of type {t.data.dtype}, not {t.dtype}")
    q = t.quantization
    if q is None:
        raise UsageError(f"{where} has no scale")
    require(q.scale.ndim == 1 and q.scale.shape == q.zero_point.shape, f"{where} has scales of a wrong shape")
    # The scale of a bias is a product of two scales and may be tiny; nothing divides by it.
    smallest = np.finfo(np.float32).tiny if t.dtype == "int8" else 0.0
    usable = bool(np.all(np.isfinite(q.scale)) and np.all(q.scale >= smallest))
    require(usable, f"{where} has a scale that is not a positive, finite, normal number")
    if q.axis is None:
        require(q.scale.size == 1, f"{where} has {q.scale.size} scales but no channel axis")
    else:
        require(0 <= q.axis < len(t.shape), f"{where} has its scales along axis {q.axis} of {len(t.shape)}")
        require(q.scale.size == t.shape[q.axis], f"{where} has {q.scale.size} scales for {t.shape[q.axis]} channels")
    if t.data is None:
        require(t.dtype == "int8", f"{where} is an activation of type {t.dtype}, not int8")
        require(q.axis is None, f"{where} is an activation with a scale per channel")
        require(-128 <= t.zero_point <= 127, f"{where} has the zero point {t.zero_point}, outside [-128, 127]")
    elif t.dtype == "int32" or q.axis is not None:
        require(not q.zero_point.any(), f"{where} is a constant with a zero point other than 0")
    else:
        require(-128 <= t.zero_point <= 127, f"{where} has the zero point {t.zero_point}, outside [-128, 127]")


def _check_wiring(graph: Graph) -> None:
    for end in (graph.input, graph.output):
        require(end in graph.tensors, f"tensor '{end}' is not defined")
    require(graph.tensors[graph.input].data is None, f"the network's input '{graph.input}' is a constant")
    repeated = [name for name, count in Counter(op.name for op in graph.operators).items() if count > 1]
    require(not repeated, f"two operators are called {', '.join(repeated)}")
    written = {graph.input}
    for op in graph.operators:
        for name in (*op.inputs, *op.outputs):
            require(name in graph.tensors, f"{op.name}: tensor '{name}' is not defined")
        for name in op.inputs:
            ready = name in written or graph.tensors[name].data is not None
            require(ready, f"{op.name} reads tensor '{name}' before any operator wrote it")
        require(len(op.outputs) == 1, f"{op.name} has {len(op.outputs)} outputs, not 1")
        output = op.outputs[0]
        require(graph.tensors[output].data is None, f"{op.name} writes the constant '{output}'")
        require(output not in written, f"{op.name} writes tensor '{output}', which is already written")
        written.add(output)
    require(graph.output in written - {graph.input}, f"no operator writes the network's output '{graph.output}'")
    readers = Counter(name for op in graph.operators for name in op.inputs)
    require(readers[graph.output] == 0, f"the network's output '{graph.output}' is also read inside the network")
    unused = sorted(written - set(readers) - {graph.output})
    require(not unused, "nothing uses tensor " + ", ".join(f"'{name}'" for name in unused))
