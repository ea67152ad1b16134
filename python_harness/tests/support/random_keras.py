"""Random networks by Keras and its converter, as int8 .tflite files; importing this module needs TensorFlow.

Left out: UpSampling2D, whose TILE of version 3 LiteRT does not run, and PReLU and ELU, which the converter leaves in float.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.random_networks import RandomNetwork

tf: Any = importlib.import_module("tensorflow")
keras, layers = tf.keras, tf.keras.layers
LONGEST = 4  # layers


ACTIVATIONS = ("linear", "relu", "relu6", "tanh", "sigmoid", "gelu", "hard_sigmoid", "hard_swish", "silu")


def _gated(x: Any, middle: int) -> Any:
    """Squeeze and excite."""
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(middle, 1, activation="relu")(gate)
    return layers.Multiply()([x, layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)])


def _image_layer(random: np.random.Generator, x: Any) -> Any:
    """A layer of an image (batch, height, width, channels)."""
    height, width, channels = x.shape[1:]
    kernel = [int(random.integers(1, min(n, 4) + 1)) for n in (height, width)]
    padding = str(random.choice(["same", "valid"]))
    strides = [int(n) for n in random.integers(1, 3, 2)]
    activation = str(random.choice(ACTIVATIONS))
    filters = int(random.integers(1, 7))
    groups = int(random.choice([n for n in range(1, channels + 1) if channels % n == 0]))
    choices = [
        lambda: layers.Conv2D(groups * filters, kernel, strides, padding, groups=groups, activation=activation)(x),
        lambda: _gated(x, filters),
        lambda: layers.Multiply()([x, layers.Conv2D(channels, 3, padding="same", activation=activation)(x)]),
        lambda: layers.Subtract()([x, layers.DepthwiseConv2D(3, padding="same")(x)]),
        lambda: layers.Rescaling(float(random.uniform(0.3, 2.0)), float(random.uniform(-0.5, 0.5)))(x),
        lambda: layers.BatchNormalization()(x),
        lambda: layers.Cropping2D(((0, int(height > 1)), (int(width > 1), 0)))(x),
        lambda: layers.LeakyReLU(negative_slope=float(random.uniform(0.01, 0.4)))(x),
        lambda: layers.Activation(activation)(x),
        lambda: layers.Conv2D(filters, kernel, strides, padding, activation=activation)(x),
        lambda: layers.Conv2D(filters, kernel, dilation_rate=2, padding="same", activation=activation)(x),
        lambda: layers.DepthwiseConv2D(kernel, int(random.choice([strides[0]])), padding, activation=activation)(x),
        lambda: layers.SeparableConv2D(filters, kernel, padding=padding, activation=activation)(x),
        lambda: layers.AveragePooling2D(kernel, strides, padding)(x),
        lambda: layers.MaxPooling2D(kernel, strides, padding)(x),
        lambda: layers.ZeroPadding2D(int(random.integers(1, 3)))(x),
        lambda: layers.BatchNormalization()(layers.Conv2D(filters, 1)(x)),
        lambda: layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")(x)]),
        lambda: layers.Concatenate()([x, layers.Conv2D(filters, 3, padding="same")(x)]),
        lambda: layers.Permute((2, 1, 3))(x),
    ]
    return choices[int(random.integers(len(choices)))]()


def _sequence_layer(random: np.random.Generator, x: Any) -> Any:
    """A layer of a sequence (batch, length, channels)."""
    length = x.shape[1]
    kernel, filters = int(random.integers(1, min(length, 4) + 1)), int(random.integers(1, 7))
    choices = [
        lambda: layers.Conv1D(filters, kernel, padding="same", activation=str(random.choice(ACTIVATIONS)))(x),
        lambda: layers.Conv1D(filters, kernel, strides=2, padding="causal")(x),
        lambda: layers.DepthwiseConv1D(kernel, padding="same")(x),
        lambda: layers.Multiply()([x, layers.Dense(x.shape[-1], activation="sigmoid")(x)]),
        lambda: layers.Concatenate()([x, layers.Conv1D(filters, 3, padding="same")(x)]),
        lambda: layers.Conv1D(filters, kernel, dilation_rate=2, padding="same")(x),
        lambda: layers.Dense(filters, activation="relu")(x),
        lambda: layers.MaxPooling1D(kernel)(x),
        lambda: layers.AveragePooling1D(kernel)(x),
        lambda: layers.Permute((2, 1))(x),
        lambda: layers.ZeroPadding1D(1)(x),
    ]
    return choices[int(random.integers(len(choices)))]()


def keras_network(seed: int) -> RandomNetwork[bytes]:
    """A classifier of one to LONGEST layers of an image or a sequence, quantised by the converter with samples in [-1, 1)."""
    random = np.random.default_rng([seed, 4])
    keras.utils.set_random_seed(seed)
    rank = int(random.choice([2, 3, 3]))
    shape = tuple(int(n) for n in random.integers(3, 10, rank))
    inputs = x = layers.Input(shape, batch_size=1)
    draw = _image_layer if rank == 3 else _sequence_layer
    for _ in range(int(random.integers(1, LONGEST + 1))):
        if math.prod(x.shape[1:]) < 2000:
            x = draw(random, x)
    side = f"{rank - 1}D"
    ends = (f"GlobalAveragePooling{side}", f"GlobalMaxPooling{side}", "Flatten", "Flatten")
    x = getattr(layers, str(random.choice(ends)))()(x)
    x = layers.Dense(int(random.integers(2, 6)), activation=str(random.choice(["linear", "softmax", "log_softmax"])))(x)
    model = keras.Model(inputs, x)

    def samples() -> Iterator[list[NDArray[np.float32]]]:
        for _ in range(8):
            yield [random.uniform(-1, 1, (1, *shape)).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    steps = tuple(f"{layer.__class__.__name__} {list(layer.output.shape[1:])}" for layer in model.layers)
    return RandomNetwork(converter.convert(), shape, steps, True)
