"""Observations: what a run shows of its input, its updates and its loss, as its record keeps them (docs/observations.md).

They are functions of samples, plan and bits, so that every runner of an episode has the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Code = Annotated[int, Field(ge=-128, le=127)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputCodes(_Frozen):
    """The codes of one part of the samples, as the network's input takes them."""

    part: Literal["adapt", "test", "validate"]
    values: _Count = Field(description="of all its samples")
    clipped_fraction: _Share = Field(
        description="of the values, that lie outside what the codes hold and got the nearest code"
    )
    lowest_code: _Code
    highest_code: _Code


class TensorUpdates(_Frozen):
    """A tensor that trains, from its first value to its last.

    Shares are of its elements that train; ratios are what the steps of an update with a gradient were multiplied by.
    """

    tensor: str = Field(description="name in the plan")
    layer: str
    kind: Literal["weights", "bias"]
    elements: _Count = Field(description="that train: of selected channels theirs alone")
    changed_fraction: _Share = Field(description="whose last value is another than their first")
    moved: bool = Field(description="whether any has changed, or the byte behind it that master16 keeps")
    at_limit_before: _Share | None = Field(
        default=None, description="at the ends of their codes, or at the largest bias; None: float32, without limits"
    )
    at_limit_after: _Share | None = None
    updates: _Count | None = Field(default=None, description="None: of a kernel whose steps have no cap")
    without_gradient: _Count | None = Field(default=None, description="updates whose gradient was zero throughout")
    capped: _Count | None = Field(default=None, description="updates whose largest step was over the step cap")
    smallest_ratio: _Amount | None = Field(
        default=None, description="the least that steps were multiplied by to be within the cap; 1: never capped"
    )
    largest_ratio: _Amount | None = Field(default=None, description="the most; below 1: every update was capped")
    largest_step: _Amount | None = Field(
        default=None, description="before the cap: in codes of the weights, of a bias in codes of the layer's output"
    )


class LossTrend(_Frozen):
    """The loss of the samples, one a step, at both ends of the run, and by how much it falls; with standard errors of these means."""

    steps: _Count = Field(description="of a tenth of the run")
    first: _Amount = Field(description="mean of the first tenth")
    last: _Amount = Field(description="mean of the last tenth")
    last_error: _Amount
    fall: float = Field(
        allow_inf_nan=False,
        description="mean difference of a sample's loss between its first and its last step, where enough samples have two; "
        "else of both tenths",
    )
    fall_error: _Amount
    of_a_guess: _Amount | None = Field(
        default=None, description="of one that gives all classes the same probability: ln(classes); None for an mse"
    )


class Observations(_Frozen):
    """What a run shows beside its results, and in warnings what of it says that they are worth nothing."""

    input: tuple[InputCodes, ...] = ()
    loss: LossTrend | None = Field(
        default=None, description="None: too few steps to tell, or a loss that is not finite"
    )
    tensors: tuple[TensorUpdates, ...] = Field(
        default=(), description="those that train; of the run repeated by the host library, which has the same bits"
    )
    not_observed: str = Field(default="", description="why there are no tensors, where there should be some")
    warnings: tuple[str, ...] = ()

    @property
    def input_clipped_fraction(self) -> float | None:
        """Of all values of all samples."""
        values = sum(part.values for part in self.input)
        return sum(part.clipped_fraction * part.values for part in self.input) / values if values else None

    @property
    def steps_capped_fraction(self) -> float | None:
        """Of the updates with a gradient of all tensors whose steps have a cap."""
        updates = sum((tensor.updates or 0) - (tensor.without_gradient or 0) for tensor in self.tensors)
        return sum(tensor.capped or 0 for tensor in self.tensors) / updates if updates else None

    @property
    def at_limit_fraction(self) -> float | None:
        """Of all trained weights and biases that have limits, at the end."""
        limited = [tensor for tensor in self.tensors if tensor.at_limit_after is not None]
        elements = sum(tensor.elements for tensor in limited)
        return sum((t.at_limit_after or 0.0) * t.elements for t in limited) / elements if elements else None

    @property
    def unmoved_tensors(self) -> int | None:
        """How many of them nothing has moved."""
        return sum(not tensor.moved for tensor in self.tensors) if self.tensors else None
