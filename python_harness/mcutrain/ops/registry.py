"""Every kernel by name: the one place where the kernels of the operator files come together."""

from __future__ import annotations

import importlib

from mcutrain.ops.base import Kernel

# Each module lists its kernels in a tuple named KERNELS.
_MODULES = (
    "conv2d",
    "depthwise_conv2d",
    "grouped_conv2d",
    "add",
    "add_broadcast",
    "average_pool",
    "copy",
    "log_softmax",
    "max_pool",
    "mean",
    "multiply",
    "pad",
    "prelu",
    "requantize",
    "resize_nearest",
    "softmax",
    "table",
    "gather_channels",
    "head",
    "loss",
    "error_quantize",
    "error_normalize",
    "error_scale",
    "error_sum",
    "conv2d_gradient",
    "depthwise_conv2d_gradient",
    "grouped_conv2d_gradient",
    "bias_gradient",
    "broadcast",
    "pool_gradient",
    "pad_gradient",
    "gradient_accumulate",
    "gradient_drain",
    "mean_rate",
    "update_weights",
    "update_bias",
)


def _collect() -> dict[str, Kernel]:
    kernels: dict[str, Kernel] = {}
    for module in _MODULES:
        for kernel in importlib.import_module(f"mcutrain.ops.{module}").KERNELS:
            if kernel.name in kernels:
                raise ValueError(f"two kernels are called {kernel.name}")
            kernels[kernel.name] = kernel
    return kernels


KERNELS: dict[str, Kernel] = _collect()
