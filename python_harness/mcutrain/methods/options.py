"""MethodOptions: what a user can choose of a method."""

from __future__ import annotations

from mcutrain.strict import StrictModel


class MethodOptions(StrictModel):
    """Base of the options of every method. Fields are the keys of an episode's file; each says in its description what it does."""


class NoOptions(MethodOptions):
    """Of a method that leaves nothing to choose."""
