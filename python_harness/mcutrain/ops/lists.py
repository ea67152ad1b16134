"""Index lists in golden kernels: which channels a list names, and the packed buffers of what it names.

A buffer has room for the most channels that a list may hold. What belongs to the listed ones lies packed at its front, as if there were no
others, and what lies behind is neither read nor written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcutrain.ops.base import Block, IndexList


def listed_channels(views: Mapping[str, Any], role: str, most: int, channels: int) -> NDArray[np.int32]:
    """The channels that the list of ``role`` names, or all ``channels`` where that role is absent.

    Raises ValueError for a list of more than ``most``, and for one that does not ascend within the channels: MCT_ERROR_ARGUMENT in C.
    """
    if role not in views:
        return np.arange(channels, dtype=np.int32)
    listed: IndexList = views[role]
    count, found = int(listed.count[0]), listed.listed
    in_range = 0 <= count <= most and (found >= 0).all() and (found < channels).all()
    if not in_range or not (np.diff(found.astype(np.int64)) > 0).all():
        raise ValueError(
            f"{role}: a list of {count} with {found.tolist()} is not of at most {most} of {channels} channels"
        )
    return found


def packed(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The front of a buffer's values as an array of ``shape``: a view."""
    return values.reshape(-1)[: int(np.prod(shape, dtype=np.int64))].reshape(shape)


def packed_block(block: Block, shape: tuple[int, ...]) -> Block:
    """The front of a block as one of ``shape``: a view."""
    return Block(block.exponent, packed(block.mantissa, shape))
