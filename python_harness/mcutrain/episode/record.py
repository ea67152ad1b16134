"""EpisodeRecord: what a training episode did, whoever ran it.

JSON with a versioned schema; keys are only ever added. Every count of work carries its kind in its name: `instructions` are exact
counts of an emulator, `estimated_cycles` come from the timing model at zero wait states, `hardware_cycles` from a board;
`estimated_millijoules` are estimated cycles times a supply current from a datasheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


Phase = Literal["forward", "loss", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "loss", "backward", "update")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PhaseCounts(_Frozen):
    """Mean counts of one training step: the sum and each phase. `other` is the driver's work between operators (digest, protocol)."""

    total: float
    forward: float
    loss: float
    backward: float
    update: float
    other: float = 0.0


class OperatorCounts(_Frozen):
    """Mean instructions of one operator in one training step, and its cycles by the timing model.

    visits: how often it runs for each sample: more than once in loops, less than once where it runs once a minibatch.
    """

    op: int
    name: str
    layer: str
    phase: Phase
    instructions: float
    estimated_cycles: float | None = None
    visits: float = 1.0


class FunctionCounts(_Frozen):
    """Mean counts of one C function in one training step, while an operator ran (op -1: the driver's work between them)."""

    op: int
    name: str
    instructions: float
    estimated_cycles: float


class StepRecord(_Frozen):
    """One training step. loss_bits and digest are eight hexadecimal digits; prediction and correct are of before its update.

    prediction: the largest output. correct: whether it is the label; None where the network trains values.
    """

    n: int
    loss_bits: str
    loss: float
    prediction: int
    correct: bool | None
    digest: str


class SramUse(_Frozen):
    """Measured static use and stack, bytes. arena and trainable are parts of data + bss; state, zero at reset, is one of trainable."""

    data: int
    bss: int
    arena: int
    trainable: int
    state: int = 0
    stack_peak: int
    stack_reserve: int


class TensorLife(_Frozen):
    """One life of a tensor in the arena, for the memory timeline: bytes [offset, offset + size) over moments first_op..last_op."""

    name: str
    offset_bytes: int
    size_bytes: int
    first_op: int
    last_op: int


class EpisodeRecord(_Frozen):
    """The record of one run of one episode."""

    schema_version: int = SCHEMA_VERSION
    episode: str
    board: str
    core: str
    runner: str
    method: str
    scheme: str
    error_mode: str
    weight_rounding: str
    options: dict[str, Any] = Field(default_factory=dict, description="of the method, as its own model names them")
    batch: int = Field(default=1, description="samples of one update")
    steps: int
    samples_adapt: int
    samples_test: int
    accuracy_before: float | None
    accuracy_after: float | None
    loss: Literal["cross_entropy", "mse"] = Field(
        default="cross_entropy", description="mse: the network trains values, and has no accuracy"
    )
    mse_before: float | None = Field(default=None, description="mean squared error over the test samples' values")
    mse_after: float | None = None
    digest: str = Field(description="CRC-32 over the loss, prediction and state digest of every step")
    plan_crc32: str
    matches_golden: bool | None
    golden_steps: int = Field(default=0, description="how many steps were held against golden")
    instructions_per_step: PhaseCounts | None = None
    estimated_cycles_per_step: PhaseCounts | None = None
    estimated_cycles_low: float | None = Field(default=None, description="of the total, see docs/timing.md")
    estimated_cycles_high: float | None = Field(default=None, description="of the total, see docs/timing.md")
    instructions_per_inference: float | None = None
    estimated_cycles_per_inference: float | None = None
    estimated_cycles_per_inference_low: float | None = None
    estimated_cycles_per_inference_high: float | None = None
    estimated_millijoules_per_step: float | None = Field(
        default=None, description="from supply_source; None: no source"
    )
    estimated_millijoules_per_inference: float | None = None
    supply_source: str | None = Field(default=None, description="of the supply current, with its condition")
    operators: tuple[OperatorCounts, ...] = ()
    functions: tuple[FunctionCounts, ...] = ()
    sram: SramUse
    sram_peak_bytes: int
    sram_planned_bytes: int
    input_placement: Literal["sram", "external"] | None = Field(
        default=None, description="where the sample lies; external: no figure of SRAM has it; None: not stated"
    )
    input_bytes: int = Field(default=0, description="of a sample")
    sram_limit_bytes: int = Field(description="of the board; 0 on the host, which has none")
    flash_bytes: int
    flash_limit_bytes: int
    clock_hz: int
    macs_forward: int
    macs_backward: int
    step_records: tuple[StepRecord, ...] = ()
    arena_tensors: tuple[TensorLife, ...] = ()
    operator_names: tuple[str, ...] = Field(
        default=(),
        description="of every moment: each operator where it stands in the programs' text; tensors' lives count in these",
    )
    operator_programs: tuple[str, ...] = Field(default=(), description="the program of each of operator_names")
    emulator: str
    emulator_version: str
    compiler: str
    compiler_flags: str
    elf_sha256: str
    wall_seconds: float = Field(description="of the run on the host; informative, never asserted")


def option_words(options: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a record that say what trains and how it is rounded; ``none`` where the method has no such option."""
    keys = {"scheme": "scheme", "error_mode": "errors", "weight_rounding": "weights"}
    return {key: str(options.get(option, "none")) for key, option in keys.items()}
