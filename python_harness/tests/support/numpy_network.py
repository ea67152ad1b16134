"""The gradients of a whole quantised network in NumPy, in double precision, from what each operator means.

A code q of a tensor stands for the real value ``scale * (q - zero_point)``. Here the network is a function of real values alone: a
convolution convolves, an add adds, a relu clips; d loss / d code is ``scale * d loss / d real`` at the very end. So no quotient of
scales appears, which is what the rules of the project are made of, and no kernel or rule of the project is used.

Forward, every tensor has the value that the integer forward gave it, and no gradient passes where the clamp bit (the straight-through
estimator). Without those codes the network is the real function itself, which finite differences can check.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph import (
    AddAttributes,
    ConvAttributes,
    Graph,
    MeanAttributes,
    MultiplyAttributes,
    Operator,
    Padding,
    PoolAttributes,
    PreluAttributes,
    RequantizeAttributes,
    ResizeNearestAttributes,
    TableAttributes,
    Tensor,
)
from support.graph_reference import MOVING, border_code, moved
from support.traced_step import StepGradients

Real = NDArray[np.float64]
Operand = Callable[[Real], Real]

UNIT_ROUNDOFF = 2.0**-24  # of float32
_TIE = 1e-4  # of a code: an integer forward may round such a tie either way
_SLOPE_ERROR = 1e-12  # of slope_of, and of 1 + erf far below 0
_UNDERFLOW = math.exp(-87)  # exp_f32 gives 0 below -87
_OTHER_ROUNDINGS = (
    6  # of a factor, its product with the error, a product of a sum, a reciprocal, a sum at a branch; one to spare
)


@dataclass(frozen=True)
class Bounds:
    """What a float32 backward may differ from the real one by, element for element, with the attributes of StepGradients."""

    errors: dict[str, Real]
    weights: dict[str, Real]
    biases: dict[str, Real]
    head_weights: Real
    head_bias: Real
    loss: float


@dataclass
class _Walk:
    """Gradients by real values: errors by tensor, of weights and biases by layer; scaled: by each sum of a layer, in bias codes."""

    errors: dict[str, Real] = field(default_factory=dict)
    weights: dict[str, Real] = field(default_factory=dict)
    biases: dict[str, Real] = field(default_factory=dict)
    scaled: dict[str, Real] = field(default_factory=dict)


class NumpyNetwork:
    """One sample's forward and backward.

    activations: codes of every tensor as the integer forward gave them, or None for the real function. closed: operators through which
    no gradient flows. alphas: of leaky relus, by output tensor.
    parameters: real values of all weights and biases by tensor; nudges: what is added to a tensor of the network
    (both for finite differences).
    """

    def __init__(
        self,
        graph: Graph,
        activations: Mapping[str, Real] | None = None,
        closed: frozenset[str] = frozenset(),
        alphas: Mapping[str, float] | None = None,
    ) -> None:
        self.graph = graph
        self.activations = activations
        self.closed = closed
        self.alphas = alphas or {}
        last = max(i for i, op in enumerate(graph.operators) if op.kind == "fully_connected")
        self.body, self.head = graph.operators[:last], graph.operators[last]
        self.layers = [op for op in self.body if isinstance(op.attributes, ConvAttributes)]
        self.parameters: dict[str, Real] = {}
        for op in (*self.layers, self.head):
            x, w, b = (graph.tensors[name] for name in op.inputs)
            assert w.data is not None and b.data is not None
            scales = scales_of(w)
            self.parameters[w.name] = w.data.astype(np.float64) * scales.reshape(-1, *[1] * (len(w.shape) - 1))
            self.parameters[b.name] = b.data.astype(np.float64) * scales * x.scale
        self.nudges: dict[str, Real] = {}
        self.values: dict[str, Real] = {}
        self.inside: dict[str, NDArray[np.bool_]] = {}

    # Forward

    def loss(self, sample: NDArray[np.int8], label: int) -> float:
        """The cross-entropy of ``sample``."""
        logits = self._logits(sample)
        return float(np.log(np.exp(logits - logits.max()).sum()) - (logits[label] - logits.max()))

    def _logits(self, sample: NDArray[np.int8]) -> Real:
        x = self.graph.tensors[self.graph.input]
        self.values = constants_of(self.graph)
        self.values |= {x.name: self._nudged(x.name, x.scale * (sample.astype(np.float64) - x.zero_point))}
        for op in self.body:
            y = self.graph.tensors[op.outputs[0]]
            real = self._real_output(op).reshape(y.shape)
            self.values[y.name] = self._nudged(y.name, self._clamped(op, y, real))
        weights, bias = (self.parameters[name] for name in self.head.inputs[1:])
        logits: Real = weights @ self.values[self.head.inputs[0]].reshape(-1) + bias
        return logits

    def _nudged(self, name: str, values: Real) -> Real:
        return values + self.nudges.get(name, 0.0)

    def _real_output(self, op: Operator) -> Real:
        attributes, x = op.attributes, self.values[op.inputs[0]]
        if op.kind == "fully_connected":
            weights, bias = (self.parameters[name] for name in op.inputs[1:])
            product: Real = x @ weights.T + bias
            return product
        if isinstance(attributes, ConvAttributes | PoolAttributes):
            x = x.reshape(self._image(op.inputs[0]))
        if isinstance(attributes, ConvAttributes):
            return self._product(op, x)
        if isinstance(attributes, AddAttributes):
            other = self.values[op.inputs[1]]
            return x - other if attributes.subtracts else x + other
        if isinstance(attributes, MultiplyAttributes):
            return x * self.values[op.inputs[1]]
        if isinstance(attributes, MeanAttributes):
            mean: Real = x.mean(axis=attributes.axes)
            return mean
        if isinstance(attributes, MOVING):
            source = self.graph.tensors[op.inputs[0]]
            border = source.scale * (border_code(attributes, source) - source.zero_point)
            shape = self.graph.tensors[op.outputs[0]].shape
            return moved(attributes, [self.values[name] for name in op.inputs], shape, border)
        if isinstance(attributes, PoolAttributes):
            windows = self._windows(op)
            if op.kind == "max_pool":
                pooled: Real = _flat(x, -np.inf)[windows].max(axis=2)
            else:
                inside = (windows < x.shape[0] * x.shape[1]).sum(axis=2)
                pooled = _flat(x, 0.0)[windows].sum(axis=2) / inside[..., np.newaxis]
            return pooled
        if isinstance(attributes, PreluAttributes):
            return x * self._prelu_slopes(op)
        if isinstance(attributes, TableAttributes):
            return self._function(op)(x)
        assert op.kind in ("requantize", "reshape"), op.kind
        return x

    def _product(self, op: Operator, x: Real) -> Real:
        weights, bias = (self.parameters[name] for name in op.inputs[1:])
        patches = _flat(x, 0.0)[self._windows(op)]
        if op.kind == "depthwise_conv2d":
            read, rows = patches[..., self._channels_read(op)], weights.reshape(len(weights), -1)
            sums: Real = np.einsum("hwko,ok->hwo", read, rows)
        else:
            groups = op.attributes.groups  # type: ignore[attr-defined]
            sums = np.einsum("hwkgc,gokc->hwgo", _in_groups(patches, groups), _filters(weights, groups))
        return sums.reshape(*sums.shape[:2], -1) + bias

    def _image(self, name: str) -> tuple[int, int, int]:
        """(height, width, channels) of a tensor; a sequence, (length, channels), is an image of height 1."""
        shape = self.graph.tensors[name].shape
        return (1, *shape) if len(shape) == 2 else shape  # type: ignore[return-value]

    def _windows(self, op: Operator) -> NDArray[np.intp]:
        a, shape, out = op.attributes, self._image(op.inputs[0]), self._image(op.outputs[0])
        if isinstance(a, PoolAttributes):
            return windows_of(shape, out, a.kernel, a.stride, a.padding)
        assert isinstance(a, ConvAttributes)
        kernel = self.graph.tensors[op.inputs[1]].shape[1:3]
        return windows_of(shape, out, (kernel[0], kernel[1]), a.stride, a.padding, a.dilation)

    def _channels_read(self, op: Operator) -> NDArray[np.intp]:
        """The input channel of each output channel of a depthwise convolution."""
        inputs, outputs = (self.graph.tensors[name].shape[-1] for name in (op.inputs[0], op.outputs[0]))
        return np.repeat(np.arange(inputs), outputs // inputs)

    def _clamped(self, op: Operator, y: Tensor, real: Real) -> Real:
        clamp = getattr(op.attributes, "clamp", None)
        if op.kind == "reshape":  # the same bytes: the integer forward has no codes of its own for it
            self.inside[op.name] = np.ones(y.shape, np.bool_)
            return real
        if self.activations is None:
            low, high = (y.scale * (end - y.zero_point) for end in clamp or (-np.inf, np.inf))
            self.inside[op.name] = (low < real) & (real < high)
            return np.clip(real, low, high)
        codes = self.activations[y.name].reshape(y.shape)
        exact = real / y.scale
        rounded = np.sign(exact) * np.floor(np.abs(exact) + 0.5) + y.zero_point
        low, high = clamp or (-128, 127)
        off_by = np.abs(np.clip(rounded, low, high) - codes).max()
        assert off_by <= 1, f"{op.name}: the integer forward is not this network's"
        self.inside[op.name] = (low <= rounded) & (rounded <= high)
        if clamp is not None:
            distance = np.abs(np.stack([exact + y.zero_point - low + 0.5, exact + y.zero_point - high - 0.5]))
            assert distance.min() > _TIE, f"{op.name}: a value lies on the edge of the clamp: take another seed"
        return y.scale * (codes - y.zero_point)

    # Backward

    def gradients(self, sample: NDArray[np.int8], label: int) -> StepGradients:
        """Of the cross-entropy of ``sample``, by codes; of every weight and tensor, whatever the scheme."""
        loss, by_logits = self.loss(sample, label), self._by_logits(sample, label)
        features = self.values[self.head.inputs[0]].reshape(-1)
        walk = self._walk(self.parameters[self.head.inputs[1]].T @ by_logits, lambda operand: operand)
        return StepGradients(
            **self._by_codes(walk), head_weights=np.outer(by_logits, features), head_bias=by_logits, loss=loss
        )

    def bounds(self, sample: NDArray[np.int8], label: int) -> Bounds:
        """How far a float32 backward, with its sums in any order, may be from ``gradients``.

        A float32 sum of n products is at most (n + a few) * 2^-24 of the sum of the products' magnitudes away. So the largest difference
        comes from walking backward over magnitudes: what came in, and what each operator adds to it.
        """
        by_logits, logits = self._by_logits(sample, label), self._logits(sample)
        weights, bias = (self.parameters[name] for name in self.head.inputs[1:])
        features = np.abs(self.values[self.head.inputs[0]].reshape(-1))
        in_logits = UNIT_ROUNDOFF * (features.size + 4) * (np.abs(weights) @ features + np.abs(bias)).max()
        # exp_f32: its polynomial's steps and remainder count as 16 roundings, that of its argument x as |x| of them.
        in_exponentials = 2 * in_logits + UNIT_ROUNDOFF * (by_logits.size + 16 + logits.max() - logits)
        probabilities = by_logits + (np.arange(by_logits.size) == label)
        in_gradient = in_exponentials * probabilities + UNIT_ROUNDOFF * np.abs(by_logits) + _UNDERFLOW

        def head_step(gradient: Real, stored: Real) -> Real:
            """The step is seen as the difference of two float32 values."""
            return gradient + UNIT_ROUNDOFF * (2 * np.abs(stored) + 4 * gradient)

        whole = self._walk(weights.T @ by_logits, lambda operand: operand)
        added = in_gradient + UNIT_ROUNDOFF * (by_logits.size + 4) * np.abs(by_logits)
        walk = self._walk(np.abs(weights).T @ added, np.abs, whole)
        step = in_gradient + 4 * UNIT_ROUNDOFF * np.abs(by_logits)
        return Bounds(
            **self._by_codes(walk),
            head_weights=head_step(np.outer(step, features), weights),
            head_bias=head_step(step, bias),
            loss=float(in_exponentials.max()) + UNIT_ROUNDOFF * 16 * (1.0 + self.loss(sample, label)),
        )

    def scaled_errors(self, sample: NDArray[np.int8], label: int) -> dict[str, Real]:
        """d loss / d sum of each layer, in units of its bias codes: what block floating point rounds."""
        by_logits = self._by_logits(sample, label)
        return self._walk(self.parameters[self.head.inputs[1]].T @ by_logits, lambda operand: operand).scaled

    def _by_logits(self, sample: NDArray[np.int8], label: int) -> Real:
        logits = self._logits(sample)
        exponentials = np.exp(logits - logits.max())
        by_logits: Real = exponentials / exponentials.sum() - (np.arange(logits.size) == label)
        return by_logits

    def _by_codes(self, walk: _Walk) -> dict[str, Any]:
        tensors = self.graph.tensors
        weights, biases = {}, {}
        for op in self.layers:
            x, w = (tensors[name] for name in op.inputs[:2])
            scales = scales_of(w)
            weights[op.name] = walk.weights[op.name] * scales.reshape(-1, *[1] * (len(w.shape) - 1))
            biases[op.name] = walk.biases[op.name] * scales * x.scale
        errors = {name: tensors[name].scale * error for name, error in walk.errors.items()}
        return {"errors": errors, "weights": weights, "biases": biases}

    def _walk(self, by_features: Real, of: Operand, whole: _Walk | None = None) -> _Walk:
        """From the features to the input.

        of: what the operands of the products are taken as: themselves, or their magnitudes where a bound walks. whole: the walk that the
        bound is of; every operator adds its own roundings of that.
        """
        computed = {name: value for name, value in self.values.items() if self.graph.tensors[name].data is None}
        walk = _Walk(errors={name: np.zeros(value.shape) for name, value in computed.items()})
        walk.errors[self.head.inputs[0]] += by_features.reshape(walk.errors[self.head.inputs[0]].shape)
        for op in reversed(self.body):
            name = op.outputs[0]
            error = walk.errors[name]
            if whole is not None:
                error = error + UNIT_ROUNDOFF * (self._longest_sum(op) + _OTHER_ROUNDINGS) * np.abs(whole.errors[name])
            g = np.where(self.inside[op.name] & (op.name not in self.closed), error, 0.0)
            if isinstance(op.attributes, ConvAttributes):
                self._into_layer(op, g, of, walk)
            elif isinstance(op.attributes, AddAttributes | MultiplyAttributes):
                for side, operand in enumerate(op.inputs):
                    if operand not in walk.errors:  # a constant
                        continue
                    part = g
                    if isinstance(op.attributes, MultiplyAttributes):
                        part = g * of(self.values[op.inputs[1 - side]])
                    elif op.attributes.subtracts and side == 1:
                        part = of(-np.ones(1)) * g
                    walk.errors[operand] += summed_to(part, walk.errors[operand].shape)
            elif isinstance(op.attributes, PreluAttributes):
                walk.errors[op.inputs[0]] += g * of(self._prelu_slopes(op))
            elif isinstance(op.attributes, TableAttributes):
                slope = self._slope(op)
                walk.errors[op.inputs[0]] += g * of(slope)
                if whole is not None:
                    walk.errors[op.inputs[0]] += _SLOPE_ERROR * np.abs(whole.errors[name])
            elif isinstance(op.attributes, MOVING):
                self._back_to_where_it_came_from(op, g, walk)
            else:
                walk.errors[op.inputs[0]] += self._through(op, g)
        return walk

    def _function(self, op: Operator) -> Operand:
        assert isinstance(op.attributes, TableAttributes)
        if op.attributes.function == "leaky_relu":
            alpha = self.alphas[op.outputs[0]]
            leaky: Operand = lambda x: np.maximum(x, 0) + alpha * np.minimum(x, 0)  # noqa: E731  # its type
            return leaky
        return FUNCTIONS[op.attributes.function]

    def _slope(self, op: Operator) -> Real:
        """Of a function at each element of its input; at 0 a leaky relu has that from below, as in PyTorch."""
        assert isinstance(op.attributes, TableAttributes)
        x, name = self.values[op.inputs[0]], op.attributes.function
        if name == "leaky_relu":
            slopes: Real = np.where(x > 0, 1.0, self.alphas[op.outputs[0]])
            return slopes
        found: Real = _SLOPES[name](x) if name in _SLOPES else slope_of(FUNCTIONS[name], x)
        return found

    def _prelu_slopes(self, op: Operator) -> Real:
        """Of each element of the input; that of 0 is alpha, as in PyTorch."""
        x, alpha = self.values[op.inputs[0]], self.graph.tensors[op.inputs[1]]
        assert alpha.data is not None
        return np.where(x > 0, 1.0, alpha.data.astype(np.float64) * alpha.scale)

    def _longest_sum(self, op: Operator) -> int:
        if isinstance(op.attributes, ConvAttributes):
            shape, out = self.graph.tensors[op.inputs[1]].shape, self.graph.tensors[op.outputs[0]].shape
            return max(math.prod(shape[:3] if len(shape) > 2 else shape[:1]), math.prod(out[:-1]))
        if isinstance(op.attributes, ResizeNearestAttributes):
            rows, columns = op.attributes.rows, op.attributes.columns
            return max(map(rows.count, rows)) * max(map(columns.count, columns))
        if isinstance(op.attributes, AddAttributes | MultiplyAttributes):
            elements = self.graph.tensors[op.outputs[0]].elements
            return max(elements // self.graph.tensors[name].elements for name in op.inputs)
        return math.prod(op.attributes.kernel) if isinstance(op.attributes, PoolAttributes) else 1

    def _back_to_where_it_came_from(self, op: Operator, g: Real, walk: _Walk) -> None:
        """Number the elements of all inputs, move the numbers: each element of the output says whose error it is."""
        shapes = [self.values[name].shape for name in op.inputs]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        numbers = np.split(np.arange(ends[-1]), ends[:-1])
        own = [ids.reshape(shape) for ids, shape in zip(numbers, shapes, strict=True)]
        sums = np.zeros(ends[-1] + 1)  # the last one is the border's
        np.add.at(sums, moved(op.attributes, own, g.shape, ends[-1]), g)
        for name, ids in zip(op.inputs, own, strict=True):
            walk.errors[name] += sums[ids]

    def _into_layer(self, op: Operator, g: Real, of: Operand, walk: _Walk) -> None:
        x, weights = of(self.values[op.inputs[0]]), of(self.parameters[op.inputs[1]])
        scales = scales_of(self.graph.tensors[op.inputs[1]]) * self.graph.tensors[op.inputs[0]].scale
        walk.scaled[op.name] = g * scales
        walk.biases[op.name] = g.reshape(-1, g.shape[-1]).sum(axis=0)
        into = walk.errors[op.inputs[0]]
        if op.kind == "fully_connected":
            walk.weights[op.name] = g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1])
            into += g @ weights
            return
        x, into = x.reshape(self._image(op.inputs[0])), into.reshape(self._image(op.inputs[0]))
        g = g.reshape(self._image(op.outputs[0]))
        windows = self._windows(op)
        patches = _flat(x, 0.0)[windows]
        by_patch = np.zeros(patches.shape)
        if op.kind == "depthwise_conv2d":
            channels = self._channels_read(op)
            gradient: Real = np.einsum("hwko,hwo->ok", patches[..., channels], g)
            for o, channel in enumerate(channels):
                by_patch[..., channel] += g[:, :, np.newaxis, o] * weights[o].reshape(-1)
        else:
            groups = op.attributes.groups  # type: ignore[attr-defined]
            by_group = _in_groups(g, groups)
            gradient = np.einsum("hwkgc,hwgo->gokc", _in_groups(patches, groups), by_group)
            by_patch += np.einsum("hwgo,gokc->hwkgc", by_group, _filters(weights, groups)).reshape(patches.shape)
        walk.weights[op.name] = gradient.reshape(weights.shape)
        into += _gathered(by_patch, windows, into.shape)

    def _through(self, op: Operator, g: Real) -> Real:
        """The error of the input of an operator of one input without weights."""
        attributes, x = op.attributes, self.values[op.inputs[0]]
        if isinstance(attributes, MeanAttributes):
            kept = [1 if axis in attributes.axes else n for axis, n in enumerate(x.shape)]
            return np.broadcast_to(g.reshape(kept) * (math.prod(kept) / x.size), x.shape)
        if isinstance(attributes, PoolAttributes):
            x, g = x.reshape(self._image(op.inputs[0])), g.reshape(self._image(op.outputs[0]))
            return self._through_window(op, g, x).reshape(self.graph.tensors[op.inputs[0]].shape)
        assert isinstance(attributes, RequantizeAttributes) or op.kind == "reshape", op.kind
        return g.reshape(x.shape)

    def _through_window(self, op: Operator, g: Real, x: Real) -> Real:
        """The same of what reads an image."""
        windows = self._windows(op)
        if op.kind == "average_pool":
            share = g / (windows < x.shape[0] * x.shape[1]).sum(axis=2)[..., np.newaxis]
            return _gathered(np.repeat(share[:, :, np.newaxis], windows.shape[2], axis=2), windows, x.shape)
        taken = np.zeros((*windows.shape, x.shape[2]))
        first = _flat(x, -np.inf)[windows].argmax(axis=2)  # numpy promises the first of equals
        np.put_along_axis(taken, first[:, :, np.newaxis], g[:, :, np.newaxis], axis=2)
        return _gathered(taken, windows, x.shape)


_erf = np.vectorize(math.erf, otypes=[np.float64])
_NO_LOGARITHM = -1e6  # far below any code
_SELU = (1.6732632423543772, 1.0507009873554805)


def _elu(x: Real) -> Real:
    values: Real = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return values


def _log(x: Real) -> Real:
    logarithms: Real = np.where(x > 0, np.log(np.where(x > 0, x, 1)), _NO_LOGARITHM)
    return logarithms


def _tanh_gelu(x: Real) -> Real:
    values: Real = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return values


# Written anew, for the functions of networks of tests.
FUNCTIONS: dict[str, Operand] = {
    "abs": np.abs,
    "celu": _elu,
    "elu": _elu,
    "erf": _erf,
    "exp": np.exp,
    "gelu": lambda x: x / 2 * (1 + _erf(x / math.sqrt(2))),
    "gelu (tanh)": _tanh_gelu,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "log": _log,
    "neg": np.negative,
    "selu": lambda x: _SELU[1] * np.where(x > 0, x, _SELU[0] * np.expm1(np.minimum(x, 0))),
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(x / 2),
    "silu": lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "tanh": np.tanh,
    "thresholded_relu": lambda x: np.where(x > 1, x, 0),
}

# Where values beside each other say nothing of the slope, or too little: at a kink, and of ever steeper functions.
_SLOPES: dict[str, Operand] = {
    "abs": np.sign,
    "celu": lambda x: np.exp(np.minimum(x, 0)),
    "elu": lambda x: np.exp(np.minimum(x, 0)),
    "hard_sigmoid": lambda x: np.where(np.abs(x) < 2.5, 0.2, 0.0),
    "hard_swish": lambda x: np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0),
    "log": lambda x: np.where(x > 0, 1 / np.where(x > 0, x, 1), 0),
    "selu": lambda x: _SELU[1] * np.where(x > 0, 1, _SELU[0] * np.exp(np.minimum(x, 0))),
    "sqrt": lambda x: np.where(x > 0, 0.5 / np.sqrt(np.where(x > 0, x, 1)), 0),
    "thresholded_relu": lambda x: (x > 1).astype(np.float64),
}


def slope_of(function: Operand, x: Real, distance: float = 1e-4) -> Real:
    """The derivative, from four values about x: within a few distance^4 and 1e-16 / distance, both below a float32 rounding."""
    near = function(x + distance) - function(x - distance)
    far = function(x + 2 * distance) - function(x - 2 * distance)
    slope: Real = (8 * near - far) / (12 * distance)
    return slope


def constants_of(graph: Graph) -> dict[str, Real]:
    """The real values of the constants that elementwise operators read."""
    names = {
        name
        for op in graph.operators
        if isinstance(op.attributes, AddAttributes | MultiplyAttributes)
        for name in op.inputs
    }
    found = {name: graph.tensors[name] for name in names}
    return {
        name: tensor.scale * (tensor.data.astype(np.float64) - tensor.zero_point)
        for name, tensor in found.items()
        if tensor.data is not None
    }


def summed_to(values: Real, shape: tuple[int, ...]) -> Real:
    """The sum over the axes along which ``shape`` was repeated."""
    lacking = values.ndim - len(shape)
    repeated = tuple(
        axis for axis in range(values.ndim) if axis < lacking or (shape[axis - lacking] == 1 and values.shape[axis] > 1)
    )
    result: Real = values.sum(axis=repeated, keepdims=True).reshape(shape)
    return result


def scales_of(weights: Tensor) -> Real:
    """The scale of each output channel."""
    assert weights.quantization is not None
    return np.broadcast_to(weights.quantization.scale.astype(np.float64), weights.shape[:1])


@functools.cache
def windows_of(
    shape: tuple[int, ...],
    out: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> NDArray[np.intp]:
    """The pixels of each window, (out_height, out_width, taps in raster order); height * width stands for any pixel outside."""
    height, width = shape[:2]
    rows = (height + padding.top + padding.bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width + padding.left + padding.right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    assert (rows, columns) == out[:2]
    windows = np.full((rows, columns, kernel[0] * kernel[1]), height * width, np.intp)
    for row, column, tap in np.ndindex(windows.shape):
        i = row * stride[0] - padding.top + tap // kernel[1] * dilation[0]
        j = column * stride[1] - padding.left + tap % kernel[1] * dilation[1]
        if 0 <= i < height and 0 <= j < width:
            windows[row, column, tap] = i * width + j
    windows.flags.writeable = False
    return windows


def _in_groups(values: Real, groups: int) -> Real:
    """The last axis, of channels, as (group, channel of it)."""
    return values.reshape(*values.shape[:-1], groups, -1)


def _filters(weights: Real, groups: int) -> Real:
    """(group, output channel of it, tap, input channel of it) of the weights of a convolution."""
    outputs, height, width, inputs = weights.shape
    return weights.reshape(groups, outputs // groups, height * width, inputs)


def _flat(image: Real, outside: float) -> Real:
    """(height * width + 1, channels): the pixels, and the one that stands for all outside."""
    return np.concatenate([image.reshape(-1, image.shape[2]), np.full((1, image.shape[2]), outside)])


def _gathered(parts: Real, pixels: NDArray[np.intp], shape: tuple[int, ...]) -> Real:
    """The sum of the parts of each pixel; what lies outside goes nowhere."""
    sums = np.zeros((shape[0] * shape[1] + 1, shape[2]))
    np.add.at(sums, pixels, parts)
    return sums[:-1].reshape(shape)
