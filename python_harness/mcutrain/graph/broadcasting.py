"""How the elements of two operands meet where their shapes broadcast."""

from __future__ import annotations

import numpy as np

MOST_AXES = 4
"""Axes that the kernels walk."""


def broadcast_axes(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """(size, a's step, b's step) of as few axes as describe two shapes that broadcast as NumPy's do, the outermost first.

    size: of the output; a step: how many elements apart neighbours along the axis lie in an operand, 0 where it is repeated. Raises
    ValueError where the shapes do not broadcast.
    """
    out = np.broadcast_shapes(a, b)
    axes: list[tuple[int, int, int]] = []
    sizes = [1, 1]  # elements of both operands within the axes so far
    for axis in range(1, len(out) + 1):
        sides = [shape[-axis] if axis <= len(shape) else 1 for shape in (a, b)]
        steps = [size if side > 1 else 0 for size, side in zip(sizes, sides, strict=True)]
        sizes = [size * side for size, side in zip(sizes, sides, strict=True)]
        if out[-axis] == 1:
            continue
        size, inner = (axes[0][0], axes[0][1:]) if axes else (0, (0, 0))
        if axes and all((s > 0) == (i > 0) and s == i * size for s, i in zip(steps, inner, strict=True)):
            axes[0] = (out[-axis] * size, *inner)
        else:
            axes.insert(0, (out[-axis], steps[0], steps[1]))
    return axes
