"""EpisodeRecord: what a training episode did, whoever ran it.

JSON with a versioned schema; keys are only ever added. Every count of work carries its kind in its name: `instructions` are exact
counts of an emulator, `estimated_cycles` come from the timing model at zero wait states, `hardware_cycles` from a board;
`estimated_millijoules` are estimated cycles times a supply current from a datasheet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mcutrain.episode.observations import Observations

SCHEMA_VERSION = 1


Phase = Literal["forward", "loss", "backward", "update"]
PHASES: tuple[Phase, ...] = ("forward", "loss", "backward", "update")

# What a figure of a record or of a baseline can be at all; a file with another was not written by a run.
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Bits = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
"""32 bits, as eight hexadecimal digits."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

MOST_CONFUSION_CLASSES = 100
"""Above so many classes a record has no confusion matrix: it would be larger than all the rest."""

Confusion = tuple[tuple[Count, ...], ...]

# What two runs of the same may differ in.
_INFORMATIVE: dict[str, Any] = {"wall_seconds": True, "settings": {"date": True, "git_revision": True}}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PhaseCounts(_Frozen):
    """Mean counts of one training step: each phase, and their sum, which is that of all operators.

    `other` is the driver's work between operators (digest, protocol); it is in no phase, and not in `total`.
    """

    total: Amount
    forward: Amount
    loss: Amount
    backward: Amount
    update: Amount
    other: Amount = 0.0

    @property
    def whole(self) -> float:
        """All of the step, the driver's work too: what shares are of, so that those of the phases and of `other` sum to 100 %."""
        return self.total + self.other

    def parts(self) -> dict[str, float]:
        """Each phase, and `other`: they sum to `whole`."""
        return {name: float(getattr(self, name)) for name in (*PHASES, "other")}


class OperatorCounts(_Frozen):
    """Mean instructions of one operator in one training step, and its cycles by the timing model.

    visits: how often it runs for each sample: more than once in loops, less than once where it runs once a minibatch.
    """

    op: int
    name: str
    layer: str
    phase: Phase
    instructions: Amount
    estimated_cycles: Amount | None = None
    visits: Amount = 1.0


class FunctionCounts(_Frozen):
    """Mean counts of one C function in one training step, while an operator ran (op -1: the driver's work between them)."""

    op: int
    name: str
    instructions: Amount
    estimated_cycles: Amount


class StepRecord(_Frozen):
    """One training step. loss_bits and digest are eight hexadecimal digits; prediction and correct are of before its update.

    prediction: the largest output. correct: whether it is the label; None where the network trains values.
    """

    n: Count
    loss_bits: Bits
    loss: float
    prediction: Count
    correct: bool | None
    digest: Bits


class SramUse(_Frozen):
    """Measured static use and stack, bytes. arena and trainable are parts of data + bss; state, zero at reset, is one of trainable."""

    data: Count
    bss: Count
    arena: Count
    trainable: Count
    state: Count = 0
    stack_peak: Count
    stack_reserve: Count


class TensorLife(_Frozen):
    """One life of a tensor in the arena, for the memory timeline: bytes [offset, offset + size) over moments first_op..last_op."""

    name: str
    offset_bytes: Count
    size_bytes: Count
    first_op: Count
    last_op: Count


class RunSettings(_Frozen):
    """What is needed to run it again, and by what and when it was run.

    definition: the episode as it was used, by the keys of its YAML file, with its defaults and what the command line replaced. Its model
    and its data.file are relative to the project, to $MCUTRAIN_MODELS or to $MCUTRAIN_DATA where they lie below one, absolute elsewhere.
    steps, test, golden_steps, profile: how much of it was run; None: all of the schedule, all test samples, golden_steps of the definition.
    """

    definition: dict[str, Any]
    steps: Count | None = None
    test: Count | None = None
    golden_steps: Count | None = None
    profile: bool = True
    model_sha256: Sha256 = Field(description="of the model file")
    data_sha256: Sha256 = Field(
        description="of the adapt and test samples, labels and targets: shifted, split and cut to their counts, before they are quantised"
    )
    input_scale: Amount = Field(description="real value of one step of an input code")
    input_zero_point: int
    tool_version: str
    git_revision: str = Field(
        pattern=r"^([0-9a-f]{40,64}(-dirty)?)?$", description="of the project; empty where it is no checkout"
    )
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="UTC, when the run had ended")


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
    seed: Count | None = Field(default=None, description="of order and stochastic rounding; None: not stated")
    batch: int = Field(default=1, ge=1, description="samples of one update")
    trained_parameters: Count | None = Field(
        default=None,
        description="numbers that updates change: weights, biases, the head; None: of an mcutrain that did not count them",
    )
    steps: Count
    samples_adapt: Count
    samples_test: Count
    evaluated: Literal["test", "validate"] = Field(
        default="test", description="the part that accuracies and errors are of; validate: to choose settings"
    )
    accuracy_before: Fraction | None
    accuracy_after: Fraction | None
    class_names: tuple[str, ...] = Field(default=(), description="of the test samples' labels; empty: not known")
    confusion_before: Confusion | None = Field(
        default=None,
        description="test samples by true (row) and predicted class; None: no classifier, not evaluated, or over 100 classes",
    )
    confusion_after: Confusion | None = None
    loss: Literal["cross_entropy", "mse"] = Field(
        default="cross_entropy", description="mse: the network trains values, and has no accuracy"
    )
    mse_before: Amount | None = Field(default=None, description="mean squared error over the test samples' values")
    mse_after: Amount | None = None
    digest: Bits = Field(description="CRC-32 over the loss, prediction and state digest of every step")
    plan_crc32: Bits
    matches_golden: bool | None
    golden_steps: Count = Field(default=0, description="how many steps were held against golden")
    instructions: Count | None = Field(default=None, description="of the whole run, from reset to its end")
    instructions_by_part: dict[str, Count] = Field(
        default_factory=dict, description="of the whole run: reset, evaluation before, training, evaluation after"
    )
    instructions_per_step: PhaseCounts | None = None
    estimated_cycles_per_step: PhaseCounts | None = None
    estimated_cycles_low: Amount | None = Field(default=None, description="of the total, see docs/timing.md")
    estimated_cycles_high: Amount | None = Field(default=None, description="of the total, see docs/timing.md")
    instructions_per_inference: Amount | None = None
    estimated_cycles_per_inference: Amount | None = None
    estimated_cycles_per_inference_low: Amount | None = None
    estimated_cycles_per_inference_high: Amount | None = None
    estimated_millijoules_per_step: Amount | None = Field(
        default=None, description="from supply_source; None: no source"
    )
    estimated_millijoules_per_inference: Amount | None = None
    supply_source: str | None = Field(default=None, description="of the supply current, with its condition")
    operators: tuple[OperatorCounts, ...] = ()
    functions: tuple[FunctionCounts, ...] = ()
    sram: SramUse
    sram_peak_bytes: Count
    sram_planned_bytes: Count
    input_placement: Literal["sram", "external"] | None = Field(
        default=None, description="where the sample lies; external: no figure of SRAM has it; None: not stated"
    )
    input_bytes: Count = Field(default=0, description="of a sample")
    sram_limit_bytes: Count = Field(description="of the board; 0 on the host, which has none")
    reference_board: str | None = Field(
        default=None, description="the episode's first board, of a run on the host: what its memory is held against"
    )
    reference_sram_limit_bytes: Count = Field(default=0, description="of reference_board; 0 where there is none")
    flash_bytes: Count
    flash_limit_bytes: Count
    clock_hz: Count
    macs_forward: Count
    macs_backward: Count
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
    wall_seconds: Amount = Field(description="of the run on the host; informative, never asserted")
    counts_source: str | None = Field(
        default=None,
        description="the run that counts, stack and firmware are of, where it is another, shorter one of the same plan; None: this run",
    )
    observations: Observations | None = Field(
        default=None, description="what the run shows beside its results; None: not asked for, or of an older mcutrain"
    )
    settings: RunSettings | None = Field(default=None, description="None: of an mcutrain that did not write them yet")

    @field_validator("golden_steps")
    @classmethod
    def _within_the_run(cls, golden_steps: int, info: ValidationInfo) -> int:
        if golden_steps > info.data.get("steps", golden_steps):
            raise ValueError(f"{golden_steps} steps were held against golden, but {info.data['steps']} ran")
        return golden_steps

    @field_validator("confusion_before", "confusion_after")
    @classmethod
    def _as_accurate(cls, matrix: Confusion | None, info: ValidationInfo) -> Confusion | None:
        if matrix is None:
            return None
        which = str(info.field_name).removeprefix("confusion_")
        samples, accuracy = info.data.get("samples_test"), info.data.get(f"accuracy_{which}")
        if any(len(row) != len(matrix) for row in matrix) or len(info.data.get("class_names", ())) > len(matrix):
            raise ValueError("there have to be as many predicted classes as true ones, and no more names")
        total, right = sum(map(sum, matrix)), sum(row[i] for i, row in enumerate(matrix))
        # Both are counts: the fraction that the record has is that of the same two, and no other.
        if total != samples or accuracy != (right / total if total else None):
            raise ValueError(
                f"{right} of {total} samples are right in it, but samples_test and accuracy_{which} say otherwise"
            )
        return matrix

    @field_validator("step_records")
    @classmethod
    def _every_step_once(cls, records: tuple[StepRecord, ...], info: ValidationInfo) -> tuple[StepRecord, ...]:
        steps = info.data.get("steps", len(records))
        if records and [record.n for record in records] != list(range(steps)):
            raise ValueError(f"they have to be of the {steps} steps from 0 on, each once and in order")
        return records


def comparable(record: EpisodeRecord) -> dict[str, Any]:
    """The record's keys without what is informative: equal for two runs of the same. Whatever compares whole records compares these."""
    return record.model_dump(exclude=_INFORMATIVE)


def option_words(options: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a record that say what trains and how it is rounded; ``none`` where the method has no such option."""
    keys = {"scheme": "scheme", "error_mode": "errors", "weight_rounding": "weights"}
    return {key: str(options.get(option, "none")) for key, option in keys.items()}
