"""How many random cases a property test tries: a few in a daily run, thousands where they are asked for."""

from __future__ import annotations

import os

from hypothesis import settings

EXAMPLES_VARIABLE = "MCUTRAIN_EXAMPLES"


def examples(count: int) -> settings:
    """``count`` random cases, or $MCUTRAIN_EXAMPLES where that is more: 2000 is the thorough run of CONTRIBUTING.md.

    No deadline: a case takes what it takes on a loaded machine.
    """
    return settings(max_examples=max(count, int(os.environ.get(EXAMPLES_VARIABLE) or 0)), deadline=None)
