"""Small networks as the tiny-training release writes them, right and wrong."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import Any

import numpy as np


def conv(
    random: np.random.Generator,
    shape: tuple[int, int, int, int],
    x: tuple[float, int],
    y: tuple[float, int],
    *,
    stride: int = 1,
    groups: int = 1,
    side: int = 9,
) -> dict[str, Any]:
    """One convolution: weights of ``shape`` (out, in / groups, height, width)."""
    return {
        "in_channel": shape[1] * groups,
        "in_shape": side,
        "out_channel": shape[0],
        "kernel_size": shape[2:],
        "stride": stride,
        "groups": groups,
        "act": None,
        "params": {
            "weight": random.integers(-127, 128, shape).astype(np.int8),
            "bias": random.integers(-2000, 2000, shape[0]).astype(np.int32),
            "x_scale": x[0],
            "x_zero": x[1],
            "y_scale": y[0],
            "y_zero": y[1],
            "w_scales": random.uniform(0.002, 0.01, shape[0]).astype(np.float32),
        },
    }


def small_network() -> dict[str, Any]:
    """A stem, a block without first pointwise convolution, a residual block, and a classifier of five."""
    random = np.random.default_rng(8)
    x, a, b, c, d, e, total = (
        (1 / 127.5, 0), (0.05, -128), (0.04, -128), (0.07, 3), (0.05, -128), (0.06, -128), (0.08, 5)
    )  # fmt: skip
    out = (0.05, -2)
    residual = {"in_channel": 4, "in_shape": 9, "params": _scales(c, total)}
    return {
        "first_conv": conv(random, (4, 3, 3, 3), x, a, stride=2),
        "blocks": [
            {
                "pointwise1": None,
                "depthwise": conv(random, (4, 1, 5, 5), a, b, groups=4),
                "pointwise2": conv(random, (4, 4, 1, 1), b, c),
                "residual": None,
                "se": None,
            },
            {
                "pointwise1": conv(random, (8, 4, 1, 1), c, d),
                "depthwise": conv(random, (8, 1, 3, 3), d, e, groups=8),
                "pointwise2": conv(random, (4, 8, 1, 1), e, out),
                "residual": residual,
                "se": None,
            },
        ],
        "feature_mix": None,
        "classifier": conv(random, (5, 4, 1, 1), total, (0.1, 0)),
    }


def residual_conv(network: dict[str, Any]) -> dict[str, Any]:
    """A residual of block 1 that goes through a 1x1 convolution; the classifier is told the new scale."""
    params = network["blocks"][0]["pointwise2"]["params"]
    made = conv(np.random.default_rng(9), (4, 4, 1, 1), (params["y_scale"], params["y_zero"]), (0.05, 1))
    made["params"] |= {"out_scale": 0.09, "out_zero": -3}
    network["classifier"]["params"] |= {"x_scale": 0.09, "x_zero": -3}
    return made


def torch_zip(
    network: Any,
    *,
    program: bytes | None = None,
    name: str = "archive/data.pkl",
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """What torch.save writes: a stored zip of a protocol 2 pickle; ``program`` takes the pickle's place."""
    target = io.BytesIO()
    # NumPy 2 calls the module by another name than the one that published files were written with.
    content = (
        program
        if program is not None
        else pickle.dumps(network, 2).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    )
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.writestr(name, content)
        archive.writestr("archive/version", b"3\n")
    return target.getvalue()


def _scales(x: tuple[float, int], y: tuple[float, int]) -> dict[str, Any]:
    return {"x_scale": x[0], "x_zero": x[1], "y_scale": y[0], "y_zero": y[1]}
