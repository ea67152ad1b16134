"""From a Keras model to what digits_cnn.yaml trains on a board: writes digits_cnn.tflite (int8) and digits_cnn.npz into --folder."""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
stem = parser.parse_args().folder / "digits_cnn"
pixels, labels = load_digits(return_X_y=True)
pixels = pixels.reshape(-1, 8, 8, 1).astype(np.uint8)
images = (pixels / 16).astype(np.float32)  # 0 to 1

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
        keras.layers.SeparableConv2D(16, 3, strides=2, padding="same", activation="hard_swish"),
        keras.layers.Flatten(),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit(images[:1000], labels[:1000], batch_size=20, epochs=15, verbose=0)

converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images[:200])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
Path(f"{stem}.tflite").write_bytes(converter.convert())

turned = np.ascontiguousarray(pixels[:, ::-1, ::-1])
adapt, test = slice(1000, 1400), slice(1400, None)
np.savez(f"{stem}.npz", adapt_samples=turned[adapt], adapt_labels=labels[adapt],
         test_samples=turned[test], test_labels=labels[test])  # fmt: skip
