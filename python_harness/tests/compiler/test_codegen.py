"""Generated C: it compiles for the host and both cores with every warning an error, and no name of a model file gets into the code."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcutrain.boards import load_board
from mcutrain.compiler.codegen import generate, model_header, model_source, trainable_image
from mcutrain.compiler.plan import Plan, compile_plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.methods.inference import inference
from mcutrain.methods.sparse_update import SparseUpdateOptions, sparse_update
from mcutrain.methods.training_graph import TrainingGraph
from mcutrain.ops.programs import INFER, SAMPLE, Run, runs
from mcutrain.ops.steps import Buffer, Step
from mcutrain.paths import PROJECT
from support.networks import NETWORKS, chain
from support.plans import network_plan, plan_of, training_of

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wdouble-promotion", "-pedantic")
COMPILERS: Mapping[str, tuple[str, ...]] = {
    "host": ("gcc",),
    "m4": ("arm-none-eabi-gcc", *load_board("m4-256k").compiler_flags.split()),
    "m7": ("arm-none-eabi-gcc", *load_board("m7-256k").compiler_flags.split()),
}
# What a model file may call its tensors.
HOSTILE = (
    "*/ int main(void) { return 1; } /*",
    'a\n#include "/etc/passwd"\n',
    'a"; system("true"); //',
    "a\\",
    "??/",
    "größe",
    "a.b",
    "a_b",
    "a/b",
    "static",
    "%s%n{}",
    "\x00\x1b[2J",
)


def compiled(source: str, compiler: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile, not link, ``source``."""
    program = COMPILERS[compiler]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    path = folder / "episode_model.c"
    path.write_text(source, encoding="ascii")
    (folder / "episode_model.h").write_text(model_header(_PLAN), encoding="ascii")
    command = [
        *program,
        "-std=c11",
        "-O1",
        "-DMCT_TRACE",
        *WARNINGS,
        "-I",
        str(PROJECT / "src" / "include"),
        "-c",
        str(path),
    ]
    return subprocess.run(
        [*command, "-o", str(folder / "model.o")], capture_output=True, text=True, check=False, timeout=120
    )


def renamed(plan: Plan, names: Mapping[str, str], network: str = "net", scheme: str = "full") -> Plan:
    """The plan with some buffers and the network called otherwise."""

    def new(name: str) -> str:
        return names.get(name, name)

    def of_buffer(buffer: Buffer) -> Buffer:
        return dataclasses.replace(
            buffer, name=new(buffer.name), alias=new(buffer.alias) if buffer.alias is not None else None
        )

    def of_step(step: Step) -> Step:
        return dataclasses.replace(
            step, name=new(step.name), operands={role: new(name) for role, name in step.operands.items()}
        )

    training: TrainingGraph = dataclasses.replace(
        plan.training,
        graph=dataclasses.replace(plan.training.graph, name=network),
        options={"scheme": scheme},
        buffers={new(name): of_buffer(buffer) for name, buffer in plan.buffers.items()},
        logits=new(plan.training.logits or ""),
        programs={
            name: tuple(Run(tuple(of_step(step) for step in run.steps)) for run in runs(program))
            for name, program in plan.training.programs.items()
        },
    )
    return dataclasses.replace(
        plan,
        training=training,
        offsets={new(name): offset for name, offset in plan.offsets.items()},
    )


def code_alone(source: str) -> str:
    """The source without its comments."""
    return re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_generated_code_compiles_without_a_warning(compiler: str, mode: str, tmp_path: Path) -> None:
    for rounding in ("master16", "stochastic8", "nearest8"):
        plan = network_plan("pooled", "full", mode, rounding)
        done = compiled(model_source(plan), compiler, tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_compiles_for_training_and_for_inference(name: str, tmp_path: Path) -> None:
    graph = NETWORKS[name]()
    for plan in (plan_of(graph, "b all; 0"), plan_of(graph, "head"), compile_plan(inference(graph))):
        done = compiled(model_source(plan), "host", tmp_path)
        assert done.returncode == 0, done.stderr


def test_hostile_names_compile_and_stay_in_the_comments(tmp_path: Path) -> None:
    plan = network_plan("chain")
    constants = [name for name, buffer in plan.buffers.items() if buffer.region == "constant"]
    steps = [step.name for step in plan.steps if step.name not in plan.buffers]
    targets = [*constants[: len(HOSTILE)], *steps[: len(HOSTILE)]]
    names = {target: f"{HOSTILE[i % len(HOSTILE)]}{i // len(HOSTILE) or ''}" for i, target in enumerate(targets)}
    assert len(names) >= len(HOSTILE)
    for hostile in ("".join(HOSTILE), "".join(reversed(HOSTILE))):
        source = model_source(renamed(plan, names, network=hostile, scheme=hostile))
        done = compiled(source, "host", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "passwd" in source
        assert not re.search(r'main *\(|system *\(|#include "/', code_alone(source))


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=40))
@example(name="*/")
@example(name="a*//*b")
@example(name="\\")
@example(name="é\u2028")
def test_no_name_adds_a_line_or_ends_a_comment(name: str) -> None:
    plan = _PLAN
    plain = model_source(renamed(plan, {"conv1.multiplier": "x"}, network="x", scheme="x"))
    source = model_source(renamed(plan, {"conv1.multiplier": name}, network=name, scheme=name))
    source.encode("ascii")
    assert source.count("\n") == plain.count("\n")
    assert (source.count("/*"), source.count("*/")) == (plain.count("/*"), plain.count("*/"))
    assert source.count("\\") == plain.count("\\")


_PLAN = network_plan("chain", "head")


def test_two_names_that_differ_only_in_what_c_does_not_allow_stay_two_constants(tmp_path: Path) -> None:
    plan = network_plan("chain")
    names = {"conv0.multiplier": "a.b", "conv1.multiplier": "a_b", "conv2.multiplier": "a/b", "conv3.multiplier": "a-b"}
    source = model_source(renamed(plan, names))
    assert compiled(source, "host", tmp_path).returncode == 0
    symbols = re.findall(r"static const int32_t (\w*a_b)\[", source)
    assert len(set(symbols)) == len(symbols) == 4
    for symbol in symbols:
        assert re.search(rf"mct_conv2d_s8\([^;]*\b{symbol}\b", source), symbol


def test_extreme_constants_keep_their_bits_through_the_compiler(tmp_path: Path) -> None:
    floats = np.array(
        [0.0, -0.0, 1e-45, -1.17549435e-38, 3.4028234664e38, -3.4028234664e38, 0.1, 1 / 3, 16777217.0], np.float32
    )
    integers = np.array([-(2**31), 2**31 - 1, -(2**31) + 1, 0, -1], np.int32)
    codes = np.array([-128, 127, -1], np.int8)
    training = training_of(chain(), "head")
    constants: dict[str, NDArray[Any]] = {
        "conv0.multiplier": np.resize(integers, 6),
        "conv0.shift": np.resize(integers[::-1], 6),
        "conv0.weights": np.resize(codes, training.buffers["conv0.weights"].shape),
        "fully_connected5.weights": np.resize(floats, training.buffers["fully_connected5.weights"].shape),
    }
    buffers = {
        name: dataclasses.replace(buffer, data=constants.get(name, buffer.data))
        for name, buffer in training.buffers.items()
    }
    plan = compile_plan(dataclasses.replace(training, buffers=buffers))
    source = model_source(plan)
    checks = []
    for name in ("conv0.multiplier", "conv0.shift", "conv0.weights"):
        symbol = re.search(rf"(c\d+_{name.replace('.', '_')})\[", source)
        assert symbol is not None
        data = constants[name].reshape(-1)
        checks += [f"(long long){symbol[1]}[{i}] == {int(value)}LL" for i, value in enumerate(data[:6])]
    image = trainable_image(plan)
    checks += [f"initial[{i}] == {int(value)}" for i, value in enumerate(image[:64])]
    test = "#include <stdio.h>\nint main(void) { return " + " && ".join(checks) + " ? 0 : 1; }\n"
    stubs = ""
    for kernel in sorted({step.kernel for step in plan.steps}):
        # Nothing of the model runs here: only its constants are looked at.
        stubs += f'__asm__(".globl mct_{kernel}\\nmct_{kernel}: ret\\n");\n'
    (tmp_path / "episode_model.h").write_text(model_header(plan), encoding="ascii")
    path = tmp_path / "edge.c"
    path.write_text(source + stubs + test, encoding="ascii")
    program = tmp_path / "edge"
    include = str(PROJECT / "src" / "include")
    command = ["gcc", "-std=gnu11", *WARNINGS, "-Wno-pedantic", "-I", include, str(path), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([str(program)], check=False, timeout=30).returncode == 0


def test_float_parameters_are_printed_with_all_their_bits() -> None:
    source = model_source(compile_plan(sparse_update(chain(), SparseUpdateOptions(scheme="full", step_cap=0.3))))
    assert f".step_cap = {float(np.float32(0.3)).hex()}f" in source


@pytest.mark.parametrize("mode", ["b16", "f32"])
def test_the_initial_values_are_those_golden_starts_from(mode: str) -> None:
    plan = network_plan("chain", "full", mode)
    executor = GoldenExecutor(plan)
    assert trainable_image(plan).tobytes() == executor.persistent[: plan.trainable_bytes].tobytes()
    assert not executor.persistent[plan.trainable_bytes :].any()
    assert np.count_nonzero(trainable_image(plan)) > 100


def test_every_tensor_an_operator_writes_is_in_the_trace_and_no_scratch_is() -> None:
    plan = network_plan("chain")
    assert {row.op for row in plan.traced} == set(range(len(plan.steps)))
    assert {row.name for row in plan.traced} == {
        name for step in plan.steps for name in step.writes() if plan.buffers[name].dtype != "scratch"
    }


def test_an_operator_is_printed_once_and_called_in_every_program_that_has_it() -> None:
    plan = network_plan("chain")
    source = model_source(plan)
    assert source.count("MCT_OPERATOR mct_status mct_op_") == len(plan.steps)
    assert source.count("RUN(mct_op_") == len(plan.moments_of(INFER)) + len(plan.moments_of(SAMPLE))


def test_an_unchanged_model_is_not_written_again(tmp_path: Path) -> None:
    plan = network_plan("chain")
    path = generate(plan, tmp_path)
    before = path.stat().st_mtime_ns
    assert generate(plan, tmp_path) == path and path.stat().st_mtime_ns == before
    generate(network_plan("chain", "head"), tmp_path)
    assert path.stat().st_mtime_ns != before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["episode_model.c", "episode_model.h"]


def test_the_source_is_the_same_in_every_run() -> None:
    assert model_source(plan_of(chain())) == model_source(plan_of(chain()))
