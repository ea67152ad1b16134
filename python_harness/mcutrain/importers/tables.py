"""What the importers share of table operators: real inputs of all codes, and attributes from outputs and slopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcutrain.graph.attributes import TableAttributes
from mcutrain.graph.model import Tensor

ALL_CODES = np.arange(-128, 128)


def real_inputs(x: Tensor) -> NDArray[np.float32]:
    """The real value of each code of ``x`` in float32, as a dequantisation has it: shape (256,)."""
    values: NDArray[np.float32] = np.float32(x.scale) * (ALL_CODES - x.zero_point).astype(np.float32)
    return values


def table_attributes(
    function: str, x: Tensor, y: Tensor, codes: NDArray[np.float64], slopes: NDArray[np.float64]
) -> TableAttributes:
    """The table from ``x`` to ``y``.

    codes: the output code of each input code before it is cut off, (256,). slopes: d real output / d real input of each; one that is
    not finite, and that of a code which is cut off, counts as 0.
    """
    inside = (codes >= -128) & (codes <= 127) & np.isfinite(slopes)
    by_code = np.where(inside, slopes, 0.0) * (x.scale / y.scale)
    return TableAttributes(
        function, tuple(int(code) for code in np.clip(codes, -128, 127)), tuple(float(slope) for slope in by_code)
    )
