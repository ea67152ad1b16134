"""Plans: the addresses are harmless, the CRC names what is computed, and what does not fit is refused with the numbers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcutrain.boards import load_board
from mcutrain.compiler.plan import ALIGNMENT_BYTES, IO_BYTES, Fit, Plan, compile_plan, fit, require_fit
from mcutrain.errors import UsageError
from mcutrain.graph import Graph
from mcutrain.methods.inference import inference
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.ops.programs import INFER, SAMPLE
from mcutrain.ops.steps import PERSISTENT, Phase
from mcutrain.paths import PROJECT
from support.networks import NETWORKS, chain, random_network
from support.plans import in_order, isolated, moved, network_plan, outcome, plan_of, sample_steps

MODES = ("b16", "f32")
TESTS = Path(__file__).resolve().parents[1]


def aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


# Addresses


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), mode=st.sampled_from(MODES), pattern=st.integers(0, 255))
def test_sharing_memory_changes_nothing_and_nothing_is_read_before_it_is_written(
    seed: int, mode: str, pattern: int
) -> None:
    plan = plan_of(random_network(seed), "full", mode)
    alone = outcome(isolated(plan.training), steps=2)
    assert outcome(plan, steps=2) == alone
    assert outcome(plan, steps=2, arena_pattern=pattern) == alone


@pytest.mark.parametrize("scheme", ["full", "b all; 1@1/2 2@1/4", "b1; 0", "head"])
@pytest.mark.parametrize("mode", MODES)
def test_sharing_memory_changes_nothing_under_any_scheme(mode: str, scheme: str) -> None:
    plan = plan_of(chain(), scheme, mode)
    alone = outcome(isolated(plan.training))
    assert outcome(plan) == alone == outcome(plan, arena_pattern=0)
    assert len({digest for digest, _, _ in alone}) == 3, "every step changes something"


def test_a_buffer_in_the_wrong_place_changes_the_result() -> None:
    """The check of the two tests above: a saved input that the errors are written over does show."""
    plan = network_plan("chain")
    over = min(plan.offsets["conv1.scaled_error"], plan.arena_bytes - aligned(plan.buffers["conv0.out"].size_bytes))
    assert outcome(moved(plan, {"conv0.out": over})) != outcome(plan)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", MODES)
def test_every_size_and_address_is_a_multiple_of_eight(name: str, mode: str) -> None:
    plan = network_plan(name, "full", mode)
    assert ALIGNMENT_BYTES == 8
    assert plan.arena_bytes > 0 and plan.arena_bytes % 8 == 0
    assert plan.trainable_bytes > 0 and plan.trainable_bytes % 8 == 0
    assert all(offset % 8 == 0 for offset in plan.offsets.values())


@pytest.mark.parametrize("mode", MODES)
def test_trainable_buffers_do_not_overlap(mode: str) -> None:
    plan = network_plan("chain", "full", mode)
    spans = sorted(
        (plan.offsets[name], plan.offsets[name] + buffer.size_bytes)
        for name, buffer in plan.buffers.items()
        if buffer.region in PERSISTENT
    )
    assert len(spans) == 14
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert spans[-1][1] <= plan.persistent_bytes


def test_the_arena_holds_the_live_bytes_of_every_operator() -> None:
    for name in NETWORKS:
        plan = network_plan(name)
        live = plan.live_bytes()
        assert len(live) == len(plan.timeline.moments)
        assert max(live) == plan.arena.lower_bound_bytes <= plan.arena_bytes


def test_an_operator_in_place_shares_the_address_or_the_end_of_an_input_that_ends_there() -> None:
    plans = [network_plan(name) for name in NETWORKS]
    assert sum(len(plan.in_place) for plan in plans) >= 2
    for plan in plans:
        lives = {block.name: block for block in plan.blocks}
        for pair in plan.in_place:
            source, output = (plan.offsets[name] for name in (pair.source, pair.output))
            behind = aligned(lives[pair.source].size_bytes) - aligned(lives[pair.output].size_bytes)
            assert output == source or (pair.may_end and output == source + behind)
            assert lives[pair.source].last_op == lives[pair.output].first_op


def test_an_inference_is_the_first_operators_of_a_plan() -> None:
    plan = network_plan("chain")
    phases = [step.phase for step in plan.steps]
    inference_ops = tuple(plan.ops[moment.step.name] for moment in plan.moments_of(INFER))
    assert inference_ops == tuple(range(5))
    assert set(phases[:5]) == {Phase.FORWARD} and Phase.FORWARD not in phases[5:]
    assert set(plan.timeline.programs) == {SAMPLE}, "it needs no moments of its own"


# Identity


def changed_weight(graph: Graph) -> Graph:
    weights = graph.tensors["w2"].data
    assert weights is not None
    altered = weights.copy()
    altered.reshape(-1)[7] ^= 1
    return dataclasses.replace(
        graph, tensors={**graph.tensors, "w2": dataclasses.replace(graph.tensors["w2"], data=altered)}
    )


def changed_scale(graph: Graph) -> Graph:
    tensor = graph.tensors["t1"]
    assert tensor.quantization is not None
    scale = np.nextafter(tensor.quantization.scale, np.float32(1))
    quantization = dataclasses.replace(tensor.quantization, scale=scale)
    return dataclasses.replace(
        graph, tensors={**graph.tensors, "t1": dataclasses.replace(tensor, quantization=quantization)}
    )


def planned(**options: object) -> Callable[[], Plan]:
    chosen = SparseUpdateOptions.model_validate({"scheme": "full", **options})
    return lambda: compile_plan(sparse_update(chain(), chosen))


DIFFERENT: dict[str, Callable[[], Plan]] = {
    "as it is": planned(),
    "another scheme": planned(scheme="b all; 0 1 2 3@1/2"),
    "another error mode": planned(errors="f32"),
    "stochastic8": planned(weights="stochastic8"),
    "nearest8": planned(weights="nearest8"),
    "another step cap": planned(step_cap=0.25),
    "no gradient scaling": planned(gradient_scaling="none"),
    "no input scale correction": planned(input_scale_correction=False),
    "one weight": lambda: plan_of(changed_weight(chain())),
    "one bit of a scale": lambda: plan_of(changed_scale(chain())),
    "the input outside": lambda: compile_plan(plan_of(chain()).training, "external"),
    "inference": lambda: compile_plan(inference(chain())),
    "another address": lambda: moved(network_plan("chain"), {"conv0.out": 8192}),
    "two steps exchanged": lambda: swapped(network_plan("chain")),
}


def swapped(plan: Plan) -> Plan:
    steps = sample_steps(plan.training.programs)
    steps[-2:] = reversed(steps[-2:])
    return dataclasses.replace(
        plan, training=dataclasses.replace(plan.training, programs=in_order(plan.training, steps))
    )


def test_the_crc_changes_with_everything_that_decides_what_is_computed() -> None:
    crcs = {name: make().crc32 for name, make in DIFFERENT.items()}
    assert len(set(crcs.values())) == len(DIFFERENT), crcs
    assert network_plan("chain").crc32 == crcs["as it is"]


def test_the_crc_is_that_of_the_canonical_json() -> None:
    plan = network_plan("chain")
    text = plan.canonical_json()
    assert plan.crc32 == zlib.crc32(text.encode())
    assert json.loads(text).keys() == {"steps", "buffers", "programs", "batch"}


_IN_ANOTHER_PROCESS = """
from support.networks import NETWORKS
from support.plans import network_plan
print(*[network_plan(name, "full", "MODE").crc32 for name in NETWORKS])
"""


def test_the_plan_is_the_same_in_every_process() -> None:
    """Hash seeds order sets differently: nothing of a plan may depend on them."""
    for seed, mode in enumerate(MODES, start=1):
        here = [network_plan(name, "full", mode).crc32 for name in NETWORKS]
        path = os.pathsep.join([str(PROJECT / "python_harness"), str(TESTS)])
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": path}
        command = [sys.executable, "-c", _IN_ANOTHER_PROCESS.replace("MODE", mode)]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout
        assert [int(crc) for crc in said.split()] == here


# Fit

BOARD = load_board("m4-256k")


def fitted(plan: Plan, sram_bytes: int = 2**18, flash_bytes: int = 2**20) -> Fit:
    board = BOARD.model_copy(update={"sram_bytes": sram_bytes, "flash_bytes": flash_bytes})
    return fit(plan, board, runtime_bytes=24, stack_bytes=4096, code_bytes=30000)


def test_the_peak_is_arena_trainable_state_io_runtime_and_stack() -> None:
    plan = network_plan("residual")
    found = fitted(plan)
    assert found.sram_peak_bytes == plan.arena_bytes + plan.persistent_bytes + IO_BYTES + 24 + 4096
    assert found.sram_lower_bound_bytes <= found.sram_peak_bytes
    assert plan.static_bytes == plan.arena_bytes + plan.persistent_bytes + IO_BYTES
    assert found.flash_bytes == plan.constant_bytes + 30000
    assert (found.sram_limit_bytes, found.flash_limit_bytes) == (2**18, 2**20)


def test_constants_and_initial_values_count_into_flash() -> None:
    head, full = network_plan("residual", "head"), network_plan("residual")
    data = sum(b.size_bytes for b in head.buffers.values() if b.region == "constant")
    assert head.constant_bytes == data + head.trainable_bytes
    assert full.trainable_bytes > head.trainable_bytes


def test_a_plan_fits_to_the_last_byte_and_not_beyond() -> None:
    plan = network_plan("residual")
    need = fitted(plan).sram_peak_bytes
    assert fitted(plan, sram_bytes=need).fits
    assert not fitted(plan, sram_bytes=need - 1).fits
    flash = fitted(plan).flash_bytes
    assert fitted(plan, flash_bytes=flash).fits
    assert not fitted(plan, flash_bytes=flash - 1).fits
    require_fit(plan, BOARD, fitted(plan, sram_bytes=need))


def test_what_does_not_fit_is_refused_with_the_numbers_and_a_way_out() -> None:
    plan = network_plan("residual")
    found = fitted(plan, sram_bytes=6000)
    with pytest.raises(UsageError) as refusal:
        require_fit(plan, BOARD, found)
    said = str(refusal.value)
    largest = max(plan.blocks, key=lambda block: block.size_bytes)
    for part in (found.sram_peak_bytes, 6000, plan.arena_bytes, plan.persistent_bytes, 4096, largest.size_bytes):
        assert f"{part:,}" in said
    assert "m4-256k" in said and largest.name in said and "train fewer weights" in said and "\n" not in said
    with pytest.raises(UsageError, match="B of flash"):
        require_fit(plan, BOARD, fitted(plan, flash_bytes=1000))
