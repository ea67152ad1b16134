"""Synthetic records with the proportions of real ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from mcutrain.episode.record import (
    EpisodeRecord,
    OperatorCounts,
    Phase,
    PhaseCounts,
    SramUse,
    StepRecord,
    TensorLife,
)

MakeRecord = Callable[..., EpisodeRecord]

_ACTIVATION_BYTES = (3072, 16384, 16384, 16384, 16384, 8192, 8192, 8192, 4096, 4096, 4096, 64, 40)


def _steps(number: int) -> tuple[StepRecord, ...]:
    """A loss that falls from about 2 to about 0.5, noisy as a batch of one is."""
    rng = np.random.default_rng(7)
    loss = (0.5 + 1.6 * np.exp(-np.arange(number) / (0.3 * number + 1))) * rng.gamma(0.8, 1.25, number)
    return tuple(
        StepRecord(
            n=n,
            loss_bits=struct.pack(">f", value).hex(),
            loss=float(np.float32(value)),
            prediction=n % 10,
            correct=bool(value < np.log(2)),
            digest=f"{zlib.crc32(str(n).encode()):08x}",
        )
        for n, value in enumerate(loss)
    )


def _operators() -> tuple[OperatorCounts, ...]:
    layers = [f"conv{i}" for i in range(9)] + ["add9", "average_pool10", "fully_connected11"]
    found: list[tuple[str, str, Phase, float]] = []
    for i, layer in enumerate(layers):
        found.append((layer, layer, "forward", 900_000.0 / (1 + i // 3) if layer.startswith("conv") else 24_000.0))
    found.append(("softmax_cross_entropy", "loss", "loss", 7_412.5))
    for i, layer in reversed(list(enumerate(layers))):
        conv = layer.startswith("conv")
        found.append((f"{layer}.input_gradient", layer, "backward", 610_000.0 / (1 + i // 3) if conv else 17_000.0))
        if conv and i in (1, 4, 6):
            found.append((f"{layer}.weight_gradient", layer, "backward", 720_000.0))
            found.append((f"{layer}.update_weight", layer, "update", 61_000.0))
        if conv:
            found.append((f"{layer}.update_bias", layer, "update", 1_250.0))
    return tuple(
        OperatorCounts(op=op, name=name, layer=layer, phase=phase, instructions=count)
        for op, (name, layer, phase, count) in enumerate(found)
    )


def _arena(operators: tuple[OperatorCounts, ...]) -> tuple[TensorLife, ...]:
    """Activations kept for the backward pass and error tensors, placed first-fit, the largest first."""
    wanted: list[tuple[str, int, int, int]] = []
    for i, size in enumerate(_ACTIVATION_BYTES[:-1]):
        kept = next((o.op for o in operators if o.name == f"conv{i}.weight_gradient"), i + 1)
        wanted.append((f"activation{i}", size, i, kept))
    for o in operators:
        if o.name.endswith("input_gradient"):
            index = int("".join(c for c in o.layer if c.isdigit()))
            wanted.append((f"error{index}", 2 * _ACTIVATION_BYTES[index], o.op, min(o.op + 3, len(operators) - 1)))
    placed: list[TensorLife] = []
    for name, size, first, last in sorted(wanted, key=lambda w: -w[1]):
        offset = 0
        for other in sorted(placed, key=lambda t: t.offset_bytes):
            if other.last_op >= first and other.first_op <= last and other.offset_bytes < offset + size:
                offset = max(offset, other.offset_bytes + other.size_bytes)
        placed.append(TensorLife(name=name, offset_bytes=offset, size_bytes=size, first_op=first, last_op=last))
    return tuple(placed)


def _make(steps: int = 1000, **changes: Any) -> EpisodeRecord:
    operators = _operators()
    tensors = _arena(operators)
    by_phase = {
        p: sum(o.instructions for o in operators if o.phase == p) for p in ("forward", "loss", "backward", "update")
    }
    arena = max(t.offset_bytes + t.size_bytes for t in tensors)
    sram = SramUse(
        data=1_284, bss=arena + 47_656 + 5_120, arena=arena, trainable=47_656, stack_peak=2_168, stack_reserve=4_096
    )
    values: Mapping[str, Any] = {
        "episode": "resnet8-noise",
        "board": "m4-256k",
        "core": "cortex-m4",
        "runner": "qemu",
        "method": "sparse-update",
        "scheme": "biases+conv0,1,4,6",
        "error_mode": "int16",
        "weight_rounding": "master16",
        "steps": steps,
        "samples_adapt": 1000,
        "samples_test": 1000,
        "accuracy_before": 0.173,
        "accuracy_after": 0.584,
        "digest": "89abcdef",
        "plan_crc32": "01234567",
        "matches_golden": True,
        "golden_steps": steps,
        "instructions_per_step": PhaseCounts(total=sum(by_phase.values()), **by_phase, other=41_337.0),
        "instructions_per_inference": by_phase["forward"] + 1_000,
        "operators": operators,
        "sram": sram,
        "sram_peak_bytes": sram.data + sram.bss + sram.stack_peak,
        "sram_planned_bytes": sram.data + sram.bss + sram.stack_reserve,
        "sram_limit_bytes": 262_144,
        "flash_bytes": 178_316,
        "flash_limit_bytes": 1_048_576,
        "clock_hz": 80_000_000,
        "macs_forward": 12_501_632,
        "macs_backward": 9_873_408,
        "step_records": _steps(steps),
        "arena_tensors": tensors,
        "operator_names": tuple(o.name for o in operators),
        "emulator": "qemu-system-arm",
        "emulator_version": "7.2.17",
        "compiler": "arm-none-eabi-gcc 12.2.1",
        "compiler_flags": "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard -O3 -ffp-contract=off",
        "elf_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "wall_seconds": 41.7,
    }
    return EpisodeRecord(**{**values, **changes})


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Make a record of `steps` steps; other fields by keyword."""
    return _make
