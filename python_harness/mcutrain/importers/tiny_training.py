"""Import the .pkl files of the tiny-training release: int8 inverted-residual networks with a 1x1 convolution as classifier.

Layers are named by their number among the convolutions, as the published schemes count them: ``conv24`` is layer 24.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.errors import UsageError
from mcutrain.graph.attributes import AddAttributes, ConvAttributes, Padding, PoolAttributes, ReshapeAttributes
from mcutrain.graph.checks.base import output_side
from mcutrain.graph.model import Graph, Quantization, Tensor
from mcutrain.importers.common import (
    MAX_ELEMENTS,
    MAX_OPERATORS,
    GraphBuilder,
    UnsupportedError,
    is_usable_scale,
    quoted,
)
from mcutrain.importers.torch_zip import read_torch_zip

_SAME_SCALE_TOLERANCE = 1e-5
_PARTS = ("pointwise1", "depthwise", "pointwise2")
_SOURCES = {"conv2d": "conv", "depthwise_conv2d": "depthwise"}
Fields = Mapping[str, Any]
Array = NDArray[Any]


def import_tiny_training(path: Path, content: bytes, output: str | None = None) -> Graph:
    """The Graph of a tiny-training .pkl file whose bytes are ``content``. Raises UsageError (damaged or unsupported)."""
    if output is not None:
        raise UsageError(f"{path}: output {quoted(output)}: a .pkl file has one output; leave the choice out")
    network = read_torch_zip(path, content)
    try:
        return _Import(path, content).run(_fields(network, "the network"))
    except UnsupportedError as reason:
        raise UsageError(
            f"{path}: unsupported: {reason}. Supported are the .pkl files of tiny-training: int8 inverted residuals"
        ) from None


class _Import:
    """One import under way."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._content = content
        self._graph = GraphBuilder()
        self._layers = 0

    def run(self, network: Fields) -> Graph:
        first = _fields(network.get("first_conv"), "first_conv")
        side = _integer(first, "in_shape", "first_conv")
        x = self._input(first, side)
        x = self._convolution(x, first, "first_conv")
        blocks = network.get("blocks")
        if not isinstance(blocks, list):
            raise UnsupportedError("its blocks are no list")
        for index, block in enumerate(blocks):
            x = self._block(x, _fields(block, f"block {index}"), index)
        if network.get("feature_mix") is not None:
            x = self._convolution(x, _fields(network["feature_mix"], "feature_mix"), "feature_mix")
        output = self._head(x, network.get("classifier"))
        return self._graph.finish(
            self._path,
            input="x",
            output=output,
            source_format="tiny-training",
            sha256=hashlib.sha256(self._content).hexdigest(),
            domain="uint8 - 128",
        )

    def _input(self, first: Fields, side: int) -> Tensor:
        params = _fields(first.get("params"), "first_conv's params")
        shape = (side, side, _integer(first, "in_channel", "first_conv"))
        return self._activation("x", shape, _quantization(params, "x", "first_conv"))

    def _activation(self, name: str, shape: tuple[int, ...], quantization: Quantization) -> Tensor:
        if min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS or len(self._graph.operators) > MAX_OPERATORS:
            raise UnsupportedError(f"{name} has shape {list(shape)}, or there are more than {MAX_OPERATORS} operators")
        tensor = Tensor(name, shape, "int8", quantization)
        self._graph.add_tensor(tensor)
        return tensor

    def _block(self, x: Tensor, block: Fields, index: int) -> Tensor:
        where = f"block {index}"
        strange = sorted(key for key, value in block.items() if value is not None and key not in (*_PARTS, "residual"))
        if strange:
            raise UnsupportedError(f"{where} has {', '.join(quoted(key) for key in strange)}")
        y = x
        for part in _PARTS:
            if block.get(part) is not None:
                y = self._convolution(y, _fields(block[part], f"{where}'s {part}"), f"{where}'s {part}")
        if block.get("residual") is not None:
            y = self._residual(x, y, _fields(block["residual"], f"{where}'s residual"), f"{where}'s residual", index)
        return y

    def _residual(self, x: Tensor, y: Tensor, residual: Fields, where: str, index: int) -> Tensor:
        """The sum of a block's input, bare or through a 1x1 convolution, and of what its convolutions made of it."""
        params = _fields(residual.get("params"), f"{where}'s params")
        if "weight" in params:
            shortcut = self._convolution(x, residual, where)
            holder = params if "out_scale" in params else residual
            total = _quantization(holder, "out", where)
        else:
            _check_input(x, params, where)
            shortcut, total = x, _quantization(params, "y", where)
        if shortcut.shape != y.shape:
            raise UnsupportedError(f"{where} adds {list(shortcut.shape)} to {list(y.shape)}")
        name = f"add{index}"
        out = self._activation(f"{name}_out", y.shape, total)
        self._graph.add_operator(name, "add", (shortcut.name, y.name), out.name, AddAttributes(), "residual")
        return out

    def _convolution(self, x: Tensor, conv: Fields, where: str) -> Tensor:
        params = _fields(conv.get("params"), f"{where}'s params")
        _check_input(x, params, where)
        if conv.get("act") is not None:
            raise UnsupportedError(f"{where} has the activation {quoted(str(conv['act']))}")
        weights = _array(params, "weight", np.int8, where)
        groups, channels = _integer(conv, "groups", where), x.shape[-1]
        if weights.ndim != 4 or groups not in (1, channels) or weights.shape[1] * groups != channels:
            raise UnsupportedError(
                f"{where} has weights {list(weights.shape)} and {groups} groups for {channels} channels"
            )
        kernel = (weights.shape[2], weights.shape[3])
        if _pair(conv, "kernel_size", where) != kernel or kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
            raise UnsupportedError(f"{where} has a kernel {list(kernel)} that is even, or not its kernel_size")
        depthwise = groups > 1
        stride = _pair(conv, "stride", where)
        edges = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
        padding = Padding(edges[0], edges[0], edges[1], edges[1])
        sides = (output_side(x.shape[i], kernel[i], stride[i], edges[i], edges[i]) for i in range(2))
        codes = weights[:, 0] if depthwise else weights.transpose(0, 2, 3, 1)
        kind = "depthwise_conv2d" if depthwise else "conv2d"
        name = f"{_SOURCES[kind]}{self._layers}"
        self._layers += 1
        y = self._activation(f"{name}_out", (*sides, len(weights)), _quantization(params, "y", where))
        operands = (x.name, *self._weights(name, codes, params, x, y, where))
        attributes = ConvAttributes(stride=stride, padding=padding)
        self._graph.add_operator(name, kind, operands, y.name, attributes, _SOURCES[kind])
        return y

    def _weights(self, name: str, codes: Array, params: Fields, x: Tensor, y: Tensor, where: str) -> tuple[str, str]:
        bias = _array(params, "bias", np.int32, where)
        outputs = len(codes)
        with np.errstate(all="ignore"):
            if "w_scales" in params:
                scales = _array(params, "w_scales", np.floating, where).astype(np.float32)
            else:
                effective = _array(params, "effective_scale", np.floating, where).astype(np.float64)
                scales = (effective * y.scale / x.scale).astype(np.float32)
        if scales.shape not in ((1,), (outputs,)) or not is_usable_scale(scales) or bias.shape != (outputs,):
            raise UnsupportedError(
                f"{where} has {scales.size} usable scales and {bias.size} biases for {outputs} filters"
            )
        codes, bias, scales = self._graph.with_room(name, codes, bias.astype(np.float64), scales)
        with np.errstate(under="ignore"):
            bias_scales = np.float32(x.scale) * scales
        zeros = np.zeros(scales.shape, np.int32)
        axis = 0 if scales.size > 1 else None
        weights_name = self._graph.constant(f"{name}_weights", codes, Quantization(scales, zeros, axis))
        return weights_name, self._graph.constant(f"{name}_bias", bias, Quantization(bias_scales, zeros, axis))

    def _head(self, x: Tensor, classifier: object) -> str:
        """The mean of every channel, and the classifier where there is one; the name of the output."""
        assert x.quantization is not None
        height, width, channels = x.shape
        pooled = self._activation("pooled", (1, 1, channels), x.quantization)
        attributes = PoolAttributes((height, width), (1, 1))
        self._graph.add_operator("average_pool", "average_pool", (x.name,), pooled.name, attributes, "mean")
        features = self._activation("features", (channels,), x.quantization)
        self._graph.add_operator("flatten", "reshape", (pooled.name,), features.name, ReshapeAttributes(), "mean")
        if classifier is None:
            return features.name
        fields = _fields(classifier, "classifier")
        params = _fields(fields.get("params"), "classifier's params")
        _check_input(features, params, "classifier")
        weights = _array(params, "weight", np.int8, "classifier")
        if weights.ndim not in (2, 4) or weights.shape[1:] not in ((channels,), (channels, 1, 1)):
            raise UnsupportedError(f"classifier has weights {list(weights.shape)} for {channels} features")
        codes = weights.reshape(len(weights), channels)
        y = self._activation("logits", (len(codes),), _quantization(params, "y", "classifier"))
        operands = (features.name, *self._weights("classifier", codes, params, features, y, "classifier"))
        self._graph.add_operator("classifier", "fully_connected", operands, y.name, ConvAttributes(), "classifier")
        return y.name


def _fields(value: object, where: str) -> Fields:
    if not isinstance(value, dict):
        raise UnsupportedError(f"{where} is no dictionary")
    return value


def _integer(fields: Fields, name: str, where: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 1 <= value < 1 << 16:
        raise UnsupportedError(f"{where} has no usable {name}")
    return value


def _pair(fields: Fields, name: str, where: str) -> tuple[int, int]:
    """One integer for both directions, or two."""
    value = fields.get(name)
    pair = {"rows": value[0], "columns": value[1]} if isinstance(value, list) and len(value) == 2 else None
    if pair is None:
        return (_integer(fields, name, where),) * 2
    return _integer(pair, "rows", f"{where}'s {name}"), _integer(pair, "columns", f"{where}'s {name}")


def _array(params: Fields, name: str, kind: type[np.generic], where: str) -> Array:
    value = params.get(name)
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, kind) or not value.size:
        raise UnsupportedError(f"{where} has no {name} of type {kind.__name__}")
    return value


def _quantization(fields: Fields, which: str, where: str) -> Quantization:
    scale, zero = fields.get(f"{which}_scale"), fields.get(f"{which}_zero")
    numbers = isinstance(scale, int | float) and isinstance(zero, int | float) and zero == zero // 1
    if not numbers or not -128 <= zero <= 127 or not 0 < scale < 1e30:  # type: ignore[operator]
        raise UnsupportedError(f"{where} has no usable {which}_scale and {which}_zero")
    return Quantization(np.array([scale], np.float32), np.array([zero], np.int32))


def _check_input(x: Tensor, params: Fields, where: str) -> None:
    stated = _quantization(params, "x", where)
    same = math.isclose(float(stated.scale[0]), x.scale, rel_tol=_SAME_SCALE_TOLERANCE)
    if not same or int(stated.zero_point[0]) != x.zero_point:
        raise UnsupportedError(f"{where} does not read its input at the scale it was written with")
