"""Cases of the kernels that take a small part of any step: one typical shape each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcutrain.bench.cases import INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, Case, Operand, Output, codes, generator, mantissas
from mcutrain.ops.add_broadcast import AddBroadcastS8Params
from mcutrain.ops.arithmetic import quantise_multiplier
from mcutrain.ops.average_pool import AveragePoolRescaleS8Params, PoolS8Params, average_multipliers
from mcutrain.ops.base import Window, mask_words
from mcutrain.ops.broadcast import BroadcastErrorParams, broadcast
from mcutrain.ops.copy import Side, contiguous, copy_params
from mcutrain.ops.error_quantize import ElementsParams
from mcutrain.ops.gather_channels import GatherChannelsS8Params
from mcutrain.ops.head import HeadF32Params
from mcutrain.ops.log_softmax import log_softmax_params
from mcutrain.ops.loss import MeanSquaredErrorF32Params, SoftmaxCrossEntropyF32Params
from mcutrain.ops.mean import MeanS8Params, mean_multiplier
from mcutrain.ops.mean_rate import MeanRateParams
from mcutrain.ops.multiply import MultiplyS8Params
from mcutrain.ops.pad import PadS8Params
from mcutrain.ops.pad_gradient import PadErrorParams
from mcutrain.ops.pool_gradient import AveragePoolErrorParams, MaxPoolErrorParams
from mcutrain.ops.prelu import PreluErrorParams, PreluS8Params
from mcutrain.ops.requantize import RequantizeS8Params
from mcutrain.ops.resize_nearest import ResizeNearestParams
from mcutrain.ops.softmax import softmax_params
from mcutrain.ops.steps import Phase
from mcutrain.ops.table import TableErrorParams, TableS8Params
from mcutrain.ops.update_bias import UpdateBiasParams

Operands = dict[str, Operand]

_POOL = Window(16, 16, 32, 8, 8, 32, 2, 2, 2, 2, 0, 0)
_GLOBAL = Window(8, 8, 64, 1, 1, 64, 8, 8, 1, 1, 0, 0)
_FEATURES, _CLASSES = 64, 10
# An image turned channels-first, in the place of half the channels of one twice as wide, and repeated two by two.
_IMAGE = Side(0, contiguous((16, 16, 32)), 8192)
_TURNED = copy_params((32, 16, 16), Side(0, (1, 512, 32), 8192), Side(0, (256, 16, 1), 8192))
_BESIDE = copy_params((16, 16, 32), _IMAGE, Side(0, contiguous((16, 16, 64)), 16384))
_TWICE = np.arange(16, dtype=np.int32) // 2
_RESIZED = ResizeNearestParams(8, 8, 32, 16, 16)


def small_kernels() -> Iterator[Case]:
    """Forward, then the head with the loss and its updates, then backward."""
    yield from _forward()
    yield from _head()
    yield from _backward()


def _forward() -> Iterator[Case]:
    image = codes((16, 16, 32), "image")
    pooled: Operands = {"x": image, "y": Output((8, 8, 32)), "argmax": Output((8, 8, 32))}
    yield Case("max_pool_s8", "2x2 /2 16x16x32", PoolS8Params(_POOL), Phase.FORWARD, pooled, 8 * 8 * 32)
    gate = broadcast((16, 16, 32), (1, 1, 32))
    gated: Operands = {"a": image, "b": codes((32,), "gate"), "y": Output((16, 16, 32))}
    ends = (INPUT_ZERO_POINT, 3, OUTPUT_ZERO_POINT)
    product = MultiplyS8Params(gate, *ends, *quantise_multiplier(0.01), -128, 127)
    yield Case("multiply_s8", "16x16x32 by 32", product, Phase.FORWARD, gated, 8192)
    halves = (*quantise_multiplier(0.5), *quantise_multiplier(0.3), *quantise_multiplier(2.0**-19))
    added = AddBroadcastS8Params(gate, 0, *ends, *halves, 20, -128, 127)
    yield Case("add_broadcast_s8", "16x16x32 by 32", added, Phase.FORWARD, gated, 8192)
    placed: Operands = {"x": codes((8, 8, 64), "mean"), "y": Output((64,)), "argmax": Output((64,))}
    yield Case("max_pool_wide_s8", "8x8x64", PoolS8Params(_GLOBAL), Phase.FORWARD, placed, 8 * 8 * 64)
    mean = MeanS8Params(64, 64, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, *mean_multiplier(0.9, 64), -128, 127)
    averaged: Operands = {"x": codes((8, 8, 64), "mean"), "y": Output((64,)), "inside": Output((mask_words(64),))}
    yield Case("mean_s8", "8x8x64", mean, Phase.FORWARD, averaged, 8 * 8 * 64)
    count, multiplier, shift = average_multipliers(_GLOBAL, 1.8)
    rescale_average = AveragePoolRescaleS8Params(_GLOBAL, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, -128, 127, len(count))
    constants: Operands = {"count": count, "multiplier": multiplier, "shift": shift}
    yield Case("average_pool_rescale_s8", "8x8x64", rescale_average, Phase.FORWARD, averaged | constants, 8 * 8 * 64)
    padded: Operands = {"x": image, "y": Output((18, 18, 32))}
    yield Case("pad_s8", "16x16x32", PadS8Params(16, 16, 32, 1, 1, 1, 1, -5), Phase.FORWARD, padded, 18 * 18 * 32)
    turned: Operands = {"x": image, "y": Output((32, 16, 16))}
    yield Case("copy_s8", "16x16x32 transposed", _TURNED, Phase.FORWARD, turned, 8192)
    beside: Operands = {"x": image, "y": codes((16, 16, 64), "beside")}
    yield Case("copy_into_s8", "16x16x32 of 64", _BESIDE, Phase.FORWARD, beside, 8192)
    tables: Operands = {"rows": _TWICE, "columns": _TWICE}
    resized: Operands = {"x": codes((8, 8, 32), "small"), **tables, "y": Output((16, 16, 32))}
    yield Case("resize_nearest_s8", "8x8x32 to 16x16", _RESIZED, Phase.FORWARD, resized, 8192)
    rescale = RequantizeS8Params(8192, INPUT_ZERO_POINT, OUTPUT_ZERO_POINT, *quantise_multiplier(0.7), -128, 127)
    rescaled: Operands = {"x": image, "y": Output((8192,)), "inside": Output((mask_words(8192),))}
    yield Case("requantize_s8", "8192 mask", rescale, Phase.FORWARD, rescaled, 8192)
    selected = np.arange(0, 32, 2, dtype=np.int32)
    gathered: Operands = {"x": image, "index": selected, "y": Output((16, 16, 16))}
    gather = GatherChannelsS8Params(256, 32, 16)
    yield Case("gather_channels_s8", "16x16x32->16", gather, Phase.FORWARD, gathered, 256 * 16)
    softmax: Operands = {"x": codes((_CLASSES,), "logits"), "y": Output((_CLASSES,))}
    yield Case("softmax_s8", "10", softmax_params((_CLASSES,), 0.1, 1.0), Phase.FORWARD, softmax, _CLASSES)
    logarithm: Operands = {"x": codes((_CLASSES,), "logits"), "y": Output((_CLASSES,))}
    yield Case("log_softmax_s8", "10", log_softmax_params((_CLASSES,), 0.1), Phase.FORWARD, logarithm, _CLASSES)
    slopes: Operands = {"x": image, "alpha": np.arange(-8, 24, dtype=np.int32), "y": Output((8192,))}
    prelu = PreluS8Params(8192, 32, -5, 7, *quantise_multiplier(0.7), *quantise_multiplier(0.01))
    yield Case("prelu_s8", "8192", prelu, Phase.FORWARD, slopes, 8192)
    looked_up: Operands = {"x": image, "table": codes((256,), "table"), "y": Output((8192,))}
    yield Case("table_s8", "8192", TableS8Params(8192), Phase.FORWARD, looked_up, 8192)


def _head() -> Iterator[Case]:
    params = HeadF32Params(_FEATURES, _CLASSES)
    quantization = np.array([0.05, -128.0])
    shape = f"{_FEATURES}->{_CLASSES}"
    x = codes((_FEATURES,), "features")
    weights = generator("head").normal(0, 0.1, (_CLASSES, _FEATURES)).astype(np.float32)
    gradient = generator("gradient").normal(0, 0.1, _CLASSES).astype(np.float32)
    bias = np.zeros(_CLASSES, np.float32)
    rate = np.array([2.0**-6], np.float32)
    head: Operands = {"x": x, "x_quantization": quantization, "weights": weights, "bias": bias}
    head |= {"logits": Output((_CLASSES,)), "prediction": Output((1,))}
    yield Case("head_f32", shape, params, Phase.FORWARD, head, _CLASSES)
    loss: Operands = {"logits": 4 * gradient, "label": np.array([3], np.int32)}
    loss |= {"gradient": Output((_CLASSES,)), "loss": Output((1,))}
    yield Case(
        "softmax_cross_entropy_f32", "10", SoftmaxCrossEntropyF32Params(_CLASSES), Phase.BACKWARD, loss, _CLASSES
    )
    squared: Operands = {
        "outputs": 4 * gradient,
        "target": gradient,
        "gradient": Output((_CLASSES,)),
        "loss": Output((1,)),
    }
    yield Case("mean_squared_error_f32", "10", MeanSquaredErrorF32Params(_CLASSES), Phase.BACKWARD, squared, _CLASSES)
    error: Operands = {"weights": weights, "gradient": gradient, "x_quantization": quantization}
    error |= {"error": Output((_FEATURES,))}
    yield Case("head_error_f32", shape, params, Phase.BACKWARD, error, _FEATURES)
    update: Operands = {
        "x": x,
        "x_quantization": quantization,
        "gradient": gradient,
        "learning_rate": rate,
        "weights": weights,
        "bias": bias,
    }
    yield Case("head_update_f32", shape, params, Phase.UPDATE, update, weights.size)
    sums: Operands = {"weight_gradient": weights, "bias_gradient": bias}
    sample: Operands = {"x": x, "x_quantization": quantization, "gradient": gradient, **sums}
    yield Case("head_accumulate_f32", shape, params, Phase.UPDATE, sample, weights.size)
    step: Operands = {"learning_rate": rate, **sums, "weights": weights, "bias": bias}
    yield Case("head_step_f32", shape, params, Phase.UPDATE, step, weights.size)
    mean: Operands = {"learning_rate": rate, "samples": np.array([6], np.int32), "rate": Output((1,))}
    yield Case("mean_rate_f32", "1", MeanRateParams(8), Phase.UPDATE, mean, 1)


def _backward() -> Iterator[Case]:
    values = generator("error").normal(0, 1, 4096).astype(np.float32)
    quantized: Operands = {"error": values, "out": Output((4096,))}
    yield Case("error_quantize_b16", "4096", ElementsParams(4096), Phase.BACKWARD, quantized, 4096)
    average: Operands = {"error": mantissas((64,), "average"), "sums": Output((8, 8, 64))}
    yield Case(
        "average_pool_error_b16", "8x8x64", AveragePoolErrorParams(_GLOBAL, 0), Phase.BACKWARD, average, 8 * 8 * 64
    )
    errors = mantissas((8, 8, 32), "pooled")
    argmax = generator("argmax").integers(0, 4, errors.shape).astype(np.uint8)
    largest: Operands = {"error": errors, "argmax": argmax, "sums": Output((16, 16, 32))}
    yield Case("max_pool_error_b16", "2x2 /2 16x16x32", MaxPoolErrorParams(_POOL), Phase.BACKWARD, largest, 8192)
    words: Operands = {
        "error": mantissas((64,), "global"),
        "argmax": generator("words").integers(0, 64, 64).astype(np.int32),
        "sums": Output((8, 8, 64)),
    }
    yield Case("max_pool_wide_error_b16", "8x8x64", MaxPoolErrorParams(_GLOBAL), Phase.BACKWARD, words, 8 * 8 * 64)
    factors: Operands = {
        "error": mantissas((16, 16, 32), "factors"),
        "other": codes((16, 16, 32), "factor"),
        "sums": Output((32,)),
    }
    summed = BroadcastErrorParams(broadcast((1, 1, 32), (16, 16, 32)), INPUT_ZERO_POINT, 0)
    yield Case("broadcast_error_b16", "32 of 16x16x32", summed, Phase.BACKWARD, factors, 8192)
    border: Operands = {"error": mantissas((18, 18, 32), "border"), "out": Output((16, 16, 32))}
    yield Case("pad_error_b16", "16x16x32", PadErrorParams(16, 16, 32, 1, 1, 1, 1), Phase.BACKWARD, border, 8192)
    slopes = generator("slopes").integers(-(1 << 30), 1 << 31, 256).astype(np.int32)
    curved: Operands = {"error": mantissas((4096,), "curved"), "x": codes((4096,), "points"), "slope": slopes}
    curved |= {"out": Output((4096,))}
    yield Case("table_error_b16", "4096", TableErrorParams(4096, -31), Phase.BACKWARD, curved, 4096)
    sloped: Operands = {"error": mantissas((4096,), "sloped"), "x": codes((4096,), "points"), "slope": slopes[:33]}
    sloped |= {"out": Output((4096,))}
    yield Case("prelu_error_b16", "4096", PreluErrorParams(4096, 32, -5, -31), Phase.BACKWARD, sloped, 4096)
    turned: Operands = {"error": mantissas((16, 16, 32), "turned"), "out": Output((32, 16, 16))}
    yield Case("copy_error_b16", "16x16x32 transposed", _TURNED, Phase.BACKWARD, turned, 8192)
    resized: Operands = {"error": mantissas((16, 16, 32), "resized"), "rows": _TWICE, "columns": _TWICE}
    resized |= {"sums": Output((8, 8, 32))}
    yield Case("resize_nearest_error_b16", "8x8x32 to 16x16", _RESIZED, Phase.BACKWARD, resized, 8192)
    biases: Operands = {
        "gradient": generator("bias").integers(-(1 << 20), 1 << 20, 64).astype(np.int32),
        "factor": np.ones(64, np.float32),
        "output_scale": np.array([0.05], np.float32),
        "learning_rate": np.array([2.0**-20], np.float32),
        "bias": np.zeros(64, np.int32),
    }
    yield Case("update_bias_b16", "64", UpdateBiasParams(64, 1 << 24, 0.5), Phase.UPDATE, biases, 64)
