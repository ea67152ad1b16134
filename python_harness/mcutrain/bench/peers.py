"""What other kernels take for the same work, to stand beside ours.

Estimated cycles a multiply-accumulate on the M4 and the M7, of instructions profiled on QEMU and pipeline tables like those of
emulation/timing, zero wait states; built with gcc 12.2, CMSIS-NN with -O3, TinyEngine with -Ofast. They were measured apart from this
project and are not measured again by its commands.
"""

from __future__ import annotations

CMSIS_NN, TINY_ENGINE = "CMSIS-NN", "TinyEngine"

# (kernel, shape) as in the catalogue -> peer -> cycles/MAC on the M4 and the M7.
PEERS: dict[tuple[str, str], dict[str, tuple[float, float]]] = {
    ("conv2d_s8", "3x3 32x32x3->16"): {CMSIS_NN: (6.09, 3.44)},
    ("conv2d_s8", "3x3 32x32x16->16"): {CMSIS_NN: (2.86, 1.65), TINY_ENGINE: (3.07, 1.89)},
    ("conv2d_s8", "3x3 16x16x32->32"): {CMSIS_NN: (2.33, 1.39), TINY_ENGINE: (2.74, 1.69)},
    ("conv2d_s8", "3x3 8x8x64->64"): {CMSIS_NN: (2.11, 1.28), TINY_ENGINE: (2.58, 1.59)},
    ("conv2d_s8", "1x1 1x1x64->10"): {CMSIS_NN: (3.69, 1.97)},
    ("conv2d_s8", "1x1 32x32x16->48"): {CMSIS_NN: (4.62, 2.41), TINY_ENGINE: (3.35, 1.91)},
    ("conv2d_s8", "1x1 8x8x96->96"): {CMSIS_NN: (2.23, 1.22), TINY_ENGINE: (2.32, 1.16)},
    ("conv2d_s8", "1x1 16x16x48->192"): {CMSIS_NN: (2.66, 1.45), TINY_ENGINE: (2.58, 1.36)},
    ("conv2d_s8", "1x1 4x4x576->160"): {CMSIS_NN: (2.06, 1.13), TINY_ENGINE: (2.16, 1.01)},
    ("depthwise_conv2d_s8", "3x3 16x16x120->120"): {CMSIS_NN: (10.1, 6.1), TINY_ENGINE: (8.9, 5.3)},
    ("depthwise_conv2d_s8", "5x5 8x8x160->160"): {CMSIS_NN: (10.7, 6.0), TINY_ENGINE: (6.7, 3.7)},
    ("depthwise_conv2d_s8", "7x7 8x8x160->160"): {CMSIS_NN: (9.4, 5.3), TINY_ENGINE: (5.0, 2.95)},
}
