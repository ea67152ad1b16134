"""The gradients of a whole fake-quantised network by torch autograd, in double precision and with torch's own operators.

Every tensor has the value that the integer forward gave it; its gradient is that of the real-valued operator (the straight-through
estimator), and none where the clamp bit: ``y = y_codes + (y_real - y_real.detach()) * inside``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mcutrain.graph import (
    AddAttributes,
    ConcatenateAttributes,
    ConvAttributes,
    Graph,
    MeanAttributes,
    MultiplyAttributes,
    Operator,
    PadAttributes,
    Padding,
    PoolAttributes,
    PreluAttributes,
    RequantizeAttributes,
    ResizeNearestAttributes,
    SliceAttributes,
    TableAttributes,
    TransposeAttributes,
)
from mcutrain.methods.classifier_head import find_head
from support.traced_step import StepGradients, Target

Real = NDArray[np.float64]


def _where_positive(function: Callable[[Any], Any], otherwise: float) -> Callable[[Any], Any]:
    """A function of the numbers above 0; no gradient flows through others."""
    return lambda x: torch.where(x > 0, function(torch.where(x > 0, x, 1.0)), otherwise)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "abs": torch.abs,
    "celu": functional.celu,
    "elu": functional.elu,
    "erf": torch.erf,
    "exp": torch.exp,
    "gelu": functional.gelu,
    "gelu (tanh)": lambda x: functional.gelu(x, approximate="tanh"),
    "hard_sigmoid": lambda x: torch.clamp(0.2 * x + 0.5, 0, 1),  # ONNX's, whose slope is not torch's
    "hard_swish": functional.hardswish,
    "log": _where_positive(torch.log, -1e6),  # far below any code
    "neg": torch.neg,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "sqrt": _where_positive(torch.sqrt, 0.0),
    "tanh": torch.tanh,
    "thresholded_relu": lambda x: functional.threshold(x, 1.0, 0.0),
}
_TIE = 1e-4  # of a code: where the real value is this close to a tie, the integer forward decides


class TorchNetwork:
    """One sample's forward and backward.

    activations: codes of every tensor as the integer forward gave them. closed: operators through which no gradient flows.
    alphas: of leaky relus, by output tensor. twice: refuse values that two roundings may carry over a clamp, too, as in networks drawn by
    the hundred, of which one is sure to have some; the seeds of fixed ones are chosen so that none has.
    """

    def __init__(
        self,
        graph: Graph,
        activations: Mapping[str, Real],
        closed: frozenset[str] = frozenset(),
        alphas: Mapping[str, float] | None = None,
        *,
        twice: bool = False,
    ) -> None:
        self.graph = graph
        self.activations = activations
        self.closed = closed
        self.alphas = alphas or {}
        self.twice = twice
        self.values: dict[str, Any] = {}
        self.leaves: dict[str, Any] = {}

    def gradients(self, sample: NDArray[np.int8], label: Target) -> StepGradients:
        """Of the loss of ``sample``: cross-entropy with a label, mean squared error from values. Of every weight and tensor."""
        head = find_head(self.graph)
        self.values[self.graph.input] = torch.tensor(sample.astype(np.float64), requires_grad=True)
        for op in self.graph.operators[: head.index]:
            y = self._operator(op)
            if op.name in self.closed:
                y = y.detach() + 0 * y
            y.retain_grad()
            self.values[op.outputs[0]] = y
        weights, bias, loss = self._loss(head.op, label)
        loss.backward()
        body = [op for op in self.graph.operators[: head.index] if isinstance(op.attributes, ConvAttributes)]
        return StepGradients(
            errors={name: value.grad.numpy() for name, value in self.values.items() if value.grad is not None},
            weights={op.name: self.leaves[op.inputs[1]].grad.numpy() for op in body},
            biases={op.name: self.leaves[op.inputs[2]].grad.numpy() for op in body},
            head_weights=weights.grad.numpy(),
            head_bias=bias.grad.numpy(),
            loss=float(loss.detach()),
        )

    def _loss(self, op: Operator, label: Target) -> tuple[Any, Any, Any]:
        x, w, b = (self.graph.tensors[name] for name in op.inputs)
        assert w.data is not None and b.data is not None and w.quantization is not None
        scales = w.quantization.scale.astype(np.float64)
        rows = w.data.reshape(w.shape[0], -1).astype(np.float64)
        weights = torch.tensor(rows * scales.reshape(-1, 1), requires_grad=True)
        bias = torch.tensor(b.data.astype(np.float64) * scales * x.scale, requires_grad=True)
        features = self._centred(op.inputs[0]).reshape(-1) * x.scale
        logits = weights @ features + bias
        if isinstance(label, np.ndarray):
            return weights, bias, functional.mse_loss(logits, torch.tensor(label.astype(np.float64)))
        return weights, bias, functional.cross_entropy(logits[None], torch.tensor([label]))

    def _operator(self, op: Operator) -> Any:
        a = op.attributes
        x = self.graph.tensors[op.inputs[0]]
        y = self.graph.tensors[op.outputs[0]]
        if isinstance(a, ConvAttributes):
            return self._through(op, self._sums(op) * x.scale / y.scale + y.zero_point, a.clamp)
        if isinstance(a, AddAttributes | MultiplyAttributes):
            left, right = (self._centred(name) * self.graph.tensors[name].scale for name in op.inputs)
            if isinstance(a, AddAttributes):
                right = -right if a.subtracts else right
            real = left + right if isinstance(a, AddAttributes) else left * right
            return self._through(op, real / y.scale + y.zero_point, a.clamp)
        if isinstance(a, RequantizeAttributes):
            return self._through(op, self._centred(x.name) * x.scale / y.scale + y.zero_point, a.clamp)
        if isinstance(a, PreluAttributes):
            alpha = self.graph.tensors[op.inputs[1]]
            slopes = torch.tensor(alpha.data.astype(np.float64) * alpha.scale)  # type: ignore[union-attr]
            each = slopes.expand(x.shape).reshape(-1)  # torch has one a channel: the elements are the channels
            real = functional.prelu((self._centred(x.name) * x.scale).reshape(1, -1), each).reshape(x.shape)
            return self._through(op, real / y.scale + y.zero_point, (-128, 127))
        if isinstance(a, TableAttributes):
            real = self._function(op)(self._centred(x.name) * x.scale)
            return self._through(op, real / y.scale + y.zero_point, (-128, 127))
        if isinstance(a, PoolAttributes):
            image = self.values[x.name].reshape(x.image)
            if op.kind == "max_pool":
                return self._through(op, self._maximum(image, a).reshape(y.shape), a.clamp)
            real = self._mean(image, a).reshape(y.shape) - x.zero_point
            return self._through(op, real * x.scale / y.scale + y.zero_point, a.clamp)
        if isinstance(a, MeanAttributes):
            real = self._centred(x.name).mean(a.axes).reshape(y.shape)
            return self._through(op, real * x.scale / y.scale + y.zero_point, a.clamp)
        if isinstance(a, PadAttributes):
            value = x.zero_point if a.value is None else a.value
            edges = [n for before_and_behind in reversed(a.amounts) for n in before_and_behind]
            return functional.pad(self.values[x.name].reshape(x.image), edges, value=float(value)).reshape(y.shape)
        if isinstance(a, ConcatenateAttributes):
            return torch.cat([self.values[name] for name in op.inputs], a.axis)
        if isinstance(a, SliceAttributes):
            taken = self.values[x.name]
            for axis, (begin, step, count) in enumerate(zip(a.begin, a.step, y.shape, strict=True)):
                taken = taken.index_select(axis, torch.tensor([begin + i * step for i in range(count)]))
            return taken
        if isinstance(a, TransposeAttributes):
            return self.values[x.name].permute(a.permutation)
        if isinstance(a, ResizeNearestAttributes):
            rows = self.values[x.name].index_select(0, torch.tensor(a.rows))
            return rows.index_select(1, torch.tensor(a.columns))
        return self.values[x.name].reshape(y.shape)

    def _function(self, op: Operator) -> Callable[[Any], Any]:
        assert isinstance(op.attributes, TableAttributes)
        if op.attributes.function == "leaky_relu":
            alpha = self.alphas[op.outputs[0]]
            return lambda x: functional.leaky_relu(x, alpha)
        return FUNCTIONS[op.attributes.function]

    def _centred(self, name: str) -> Any:
        tensor = self.graph.tensors[name]
        if tensor.data is not None:
            return torch.tensor(tensor.data.astype(np.float64) - tensor.zero_point)
        return self.values[name] - self.graph.tensors[name].zero_point

    def _sums(self, op: Operator) -> Any:
        """Convolution or product, in units of the input's scale."""
        w, b = (self.graph.tensors[name] for name in op.inputs[1:])
        assert w.data is not None and b.data is not None and w.quantization is not None
        weights = torch.tensor(w.data.astype(np.float64), requires_grad=True)
        bias = torch.tensor(b.data.astype(np.float64), requires_grad=True)
        self.leaves |= {w.name: weights, b.name: bias}
        scales = torch.tensor(np.broadcast_to(w.quantization.scale.astype(np.float64), bias.shape).copy())
        if op.kind == "fully_connected":
            return (self._centred(op.inputs[0]) @ weights.T + bias) * scales
        assert isinstance(op.attributes, ConvAttributes)
        pixels = self._centred(op.inputs[0]).reshape(self.graph.tensors[op.inputs[0]].image)
        image = _padded(pixels, op.attributes.padding, 0.0).permute(2, 0, 1)[None]
        depthwise = op.kind == "depthwise_conv2d"
        kernels = weights[:, None] if depthwise else weights.permute(0, 3, 1, 2)
        a = op.attributes
        groups = image.shape[1] if depthwise else a.groups
        # Of strided views torch 2.13 gives groups a wrong gradient in double precision.
        image, kernels = image.contiguous(), kernels.contiguous()
        sums = functional.conv2d(image, kernels, bias, stride=a.stride, dilation=a.dilation, groups=groups)
        return (sums[0].permute(1, 2, 0) * scales).reshape(self.graph.tensors[op.outputs[0]].shape)

    @staticmethod
    def _windows(x: Any, a: PoolAttributes, fill: float) -> Any:
        """(out_height, out_width, channels, taps in raster order)."""
        rows = _padded(x, a.padding, fill).unfold(0, a.kernel[0], a.stride[0]).unfold(1, a.kernel[1], a.stride[1])
        return rows.flatten(3)

    def _maximum(self, x: Any, a: PoolAttributes) -> Any:
        windows = self._windows(x, a, float("-inf"))
        first = torch.tensor(np.argmax(windows.detach().numpy(), axis=3))  # numpy promises the first of equals
        return windows.gather(3, first[..., None])[..., 0]

    def _mean(self, x: Any, a: PoolAttributes) -> Any:
        inside = self._windows(torch.ones_like(x), a, 0.0).sum(3)
        return self._windows(x, a, 0.0).sum(3) / inside

    def _rounding_before(self, op: Operator) -> float:
        """How far, in codes, the integer forward may be off before its last rounding: where it rounds twice, half a unit of the first.

        A multiplier m below 1 has 2^-shift > m / 2, and the first rounding is to multiples of 2^shift <= 2 m.
        """
        a = op.attributes
        if isinstance(a, TableAttributes):  # LiteRT cuts fractions off, and has 16 bits
            return 1.0 if a.function in ("hard_swish", "sqrt") else 0.0
        tensors = [self.graph.tensors[name] for name in op.inputs]
        scales = [float(np.max(t.quantization.scale)) for t in tensors if t.quantization is not None]
        y_scale = self.graph.tensors[op.outputs[0]].scale
        if isinstance(a, ConvAttributes | MultiplyAttributes | PreluAttributes):
            return scales[0] * (1.0 if isinstance(a, PreluAttributes) else scales[1]) / y_scale
        return scales[0] / y_scale if isinstance(a, MeanAttributes | RequantizeAttributes) else 0.0

    def _through(self, op: Operator, real: Any, clamp: tuple[int, int]) -> Any:
        """The codes of the integer forward with the gradient of the real values where the clamp did not bite."""
        codes = self.activations[op.outputs[0]]
        values = real.detach().numpy()
        rounded = np.sign(values) * np.floor(np.abs(values) + 0.5)
        assert np.abs(np.clip(rounded, *clamp) - codes).max() <= 1, (
            f"{op.name}: the integer forward is not this network's"
        )
        inside = (rounded >= clamp[0]) & (rounded <= clamp[1])
        tie = max(_TIE, self._rounding_before(op)) if self.twice else _TIE
        for end, outside in ((clamp[0], clamp[0] - 0.5), (clamp[1], clamp[1] + 0.5)):
            assert np.abs(values - outside).min() > tie, (
                f"{op.name}: a value lies on the edge of the clamp at {end}: take another seed"
            )
        return torch.tensor(codes) + (real - real.detach()) * torch.tensor(inside)


def _padded(x: Any, border: Padding, value: float) -> Any:
    return functional.pad(x, (0, 0, border.left, border.right, border.top, border.bottom), value=value)
