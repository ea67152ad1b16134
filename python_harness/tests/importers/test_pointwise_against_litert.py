"""Pointwise operators of a .tflite file, imported, planned and run by golden, leave LiteRT's reference bits: any rank, all codes."""

from __future__ import annotations

import numpy as np
import pytest

from mcutrain.errors import UsageError
from support.golden_inference import golden_output, loaded
from support.tflite_builder import run_litert, softmax_model, unary_model


@pytest.mark.parametrize("shape", [(7,), (6, 5), (1, 1, 9), (4, 3, 10), (2, 3, 1)])
@pytest.mark.parametrize("scale", [0.25, 0.0371, 1.0])
def test_a_softmax_is_over_the_last_axis(shape: tuple[int, ...], scale: float) -> None:
    model = softmax_model(shape, input=(scale, 3))
    x = np.random.default_rng(len(shape)).integers(-128, 128, shape).astype(np.int8)
    np.testing.assert_array_equal(golden_output(loaded(model), x)[0], run_litert(model, x))


def test_a_softmax_whose_output_litert_would_refuse_is_refused() -> None:
    with pytest.raises(UsageError, match=r"SOFTMAX #0 .*its output has scale 0.0039\d+ and zero point -128, not 1/256"):
        loaded(unary_model("SOFTMAX", (4,), input=(0.1, 0), output=(1 / 255, -128), options={"Beta": 1.0}))
