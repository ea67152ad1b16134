"""A change of scale takes the quotient of its scales as LiteRT's kernel does: in double, or in float32 where it is a stand-alone relu."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference
from support.tflite_builder import run_litert, unary_model

ALL_CODES = np.arange(-128, 128).astype(np.int8)
# 1.5 in float32 and below it in double: every odd code lies on a tie, or beside it.
INPUT, OUTPUT = (0.5, 0), (float(np.float32(1 / 3)), 0)


@pytest.mark.parametrize("kind", ["QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"])
def test_codes_on_a_tie_of_the_quotient_are_those_of_litert(kind: str, tmp_path: Path) -> None:
    model = unary_model(kind, (256,), input=INPUT, output=OUTPUT)
    (tmp_path / "model.tflite").write_bytes(model)
    executor = GoldenExecutor(compile_plan(inference(load_model(tmp_path / "model.tflite"))))
    executor.infer(ALL_CODES)
    np.testing.assert_array_equal(executor.output(), run_litert(model, ALL_CODES))
