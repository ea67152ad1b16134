"""The pipeline tables of emulation/timing: classes of instructions, and what they cost on each core."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mcutrain.paths import PROJECT
from mcutrain.yaml_file import read_yaml

TABLES_FOLDER = PROJECT / "emulation" / "timing"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InstructionClass(_Table):
    """Instructions that use their operands alike; the letters of ``operands`` are explained in instructions.yaml."""

    names: tuple[str, ...]
    operands: str = ""
    sets_flags: bool = False
    reads_flags: bool = False


class Doubtful(_Table):
    """A parameter that no source gives exactly: cycles, and their range."""

    default: int
    low: int
    high: int

    @property
    def ends(self) -> tuple[int, int, int]:
        """default, low and high, in the order of a CycleEstimate."""
        return self.default, self.low, self.high


class Mispredict(Doubtful):
    """The cost of a wrong prediction; ``early`` where the flags were set ``early_distance`` cycles before."""

    early: int
    early_distance: int


class M4Class(_Table):
    """Cycles of a class on the Cortex-M4."""

    cycles: int
    per_word: int = 0
    kind: Literal["", "alu", "load", "store", "memory", "fp", "fp_slow"] = ""


class M4Table(_Table):
    """cortex-m4.yaml."""

    core: Literal["cortex-m4"]
    engine: Literal["single_issue"]
    refill: Doubtful
    divide: Doubtful
    classes: Mapping[str, M4Class]


class Latency(NamedTuple):
    """Cycles after issue from when a result can be read, by the way it is read."""

    late: int
    early: int
    factor: int
    addend: int
    store: int


class M7Class(_Table):
    """Issue and latency of a class on the Cortex-M7."""

    latency: str
    traits: tuple[str, ...] = ()
    cycles: int = 1
    alone: bool = False
    per_pair: bool = False


class FmaShadow(_Table):
    """What a floating point multiply-accumulate keeps back, and for how many cycles."""

    cycles: int
    not_younger: str
    not_at_all: str


class M7Table(_Table):
    """cortex-m7.yaml."""

    core: Literal["cortex-m7"]
    engine: Literal["dual_issue"]
    mispredict: Mispredict
    divide: Doubtful
    latencies: Mapping[str, Latency]
    never_together: tuple[tuple[str, str], ...]
    older_slot_only: tuple[str, ...]
    fma_shadow: FmaShadow
    early_alu_classes: frozenset[str]
    early_alu_either_slot: frozenset[str]
    classes: Mapping[str, M7Class]


class CacheTable(_Table):
    """A cache of memory.yaml."""

    line_bytes: int = Field(gt=0)
    sets: int = Field(gt=0)
    ways: int = Field(gt=0)


class MemoryPart(_Table):
    """A part of memory.yaml."""

    instructions: CacheTable
    data: CacheTable
    prefetch: bool
    bus: Doubtful


def _read(name: str) -> object:
    return read_yaml(TABLES_FOLDER / f"{name}.yaml")


@cache
def instruction_classes() -> Mapping[str, tuple[str, InstructionClass]]:
    """For each instruction's name, its class and the name of that."""
    classes = TypeAdapter(dict[str, InstructionClass]).validate_python(_read("instructions"))
    return {name: (kind, entry) for kind, entry in classes.items() for name in entry.names}


@cache
def m4_table() -> M4Table:
    """The Cortex-M4's table."""
    return M4Table.model_validate(_read("cortex-m4"))


@cache
def m7_table() -> M7Table:
    """The Cortex-M7's table."""
    return M7Table.model_validate(_read("cortex-m7"))


@cache
def memory_parts() -> Mapping[str, MemoryPart]:
    """The parts of memory.yaml, by name."""
    return TypeAdapter(dict[str, MemoryPart]).validate_python(_read("memory"))
