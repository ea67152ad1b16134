import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mcutrain.datasets import quantize, to_codes
from mcutrain.errors import UsageError

ALL_PIXELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
PIXEL_MINUS_128 = (np.arange(256) - 128).astype(np.int8).reshape(1, 16, 16, 1)


def quantize_linear(real: NDArray[np.float32], scale: float, zero_point: int) -> NDArray[np.int8]:
    """ONNX's QuantizeLinear, by onnxruntime."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["y"])],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(real.shape))],
        [helper.make_tensor_value_info("y", TensorProto.INT8, list(real.shape))],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
            helper.make_tensor("zero_point", TensorProto.INT8, [], [zero_point]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    codes: NDArray[np.int8] = session.run(None, {"x": real})[0]
    return codes


def test_pixels_into_scale_one_are_pixel_minus_128() -> None:
    assert np.array_equal(to_codes(ALL_PIXELS, 1.0, 1.0, -128, "int8 codes"), PIXEL_MINUS_128)


def test_pixels_of_a_network_on_0_to_1_are_pixel_minus_128_too() -> None:
    input_scale = float(np.float32(1.0 / 255.0))
    assert np.array_equal(to_codes(ALL_PIXELS, 1.0 / 255.0, input_scale, -128, "int8 codes"), PIXEL_MINUS_128)


def test_a_network_that_takes_pixels_minus_128_gets_them_whatever_its_scale() -> None:
    assert np.array_equal(to_codes(ALL_PIXELS, 1.0, 0.0078125, -1, "uint8 - 128"), PIXEL_MINUS_128)


@pytest.mark.parametrize(
    ("pixel_scale", "scale", "zero_point"), [(1.0, 1.7, -128), (1 / 255, 0.0071, -12), (1.0, 0.4, 3)]
)
def test_codes_are_those_of_quantize_linear(pixel_scale: float, scale: float, zero_point: int) -> None:
    real = ALL_PIXELS.astype(np.float32) * np.float32(pixel_scale)
    codes = to_codes(ALL_PIXELS, pixel_scale, scale, zero_point, "int8 codes")
    assert codes.dtype == np.int8
    assert np.array_equal(codes, quantize_linear(real, scale, zero_point))


def test_float_samples_are_quantised_by_the_same_rule() -> None:
    samples = np.random.RandomState(0).normal(0.0, 2.0, (50, 6)).astype(np.float32)
    codes = to_codes(samples, 1.0, 0.03, 5, "float32 / 0.03 + 5")
    assert np.array_equal(codes, quantize_linear(samples, 0.03, 5))
    assert (codes.min(), codes.max()) == (-128, 127)


def test_int8_samples_are_codes_already() -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    for domain in ("int8 codes", "uint8 - 128"):
        assert np.array_equal(to_codes(codes, 1.0, 0.5847, 83, domain), codes)


def test_a_half_rounds_to_the_even_code() -> None:
    samples = np.array([-1.5, -0.5, 0.5, 1.5, 2.5], dtype=np.float32)
    assert to_codes(samples, 1.0, 1.0, 0, "int8 codes").tolist() == [-2, 0, 0, 2, 2]


def test_a_value_outside_the_codes_saturates() -> None:
    samples = np.array([-1e30, -129.0, 128.0, 1e30], dtype=np.float32)
    assert to_codes(samples, 1.0, 1.0, 0, "int8 codes").tolist() == [-128, -128, 127, 127]


@pytest.mark.parametrize(("pixel_scale", "input_scale"), [(1.0, 1.0 / 255.0), (1.0 / 255.0, 1.0)])
def test_a_pixel_scale_of_the_other_convention_is_refused(pixel_scale: float, input_scale: float) -> None:
    with pytest.raises(UsageError, match=r"set pixel_scale to 1 for a network trained on 0\.\.255, to 1/255"):
        to_codes(ALL_PIXELS, pixel_scale, input_scale, -128, "int8 codes")


def test_other_types_values_and_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="samples are float64: give uint8 pixels, float32 values or int8 input codes"):
        to_codes(np.zeros(3), 1.0, 1.0, 0, "int8 codes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not finite"):
        to_codes(np.array([np.nan], dtype=np.float32), 1.0, 1.0, 0, "int8 codes")
    with pytest.raises(UsageError, match=r"input scale 0\.0: it must be above 0"):
        to_codes(ALL_PIXELS, 1.0, 0.0, 0, "int8 codes")


def test_values_are_clipped_whose_rounded_code_is_none() -> None:
    samples = np.array([[-129.0, -128.6, -128.4, -128.0], [127.0, 127.4, 127.6, 1e30]], dtype=np.float32)
    assert quantize(samples, 1.0, 1.0, 0, "int8 codes").clipped == 4
    assert quantize(samples, 0.5, 0.5, 0, "int8 codes").clipped == 4
    assert quantize(samples[:, 2:3], 1.0, 1.0, 0, "int8 codes").clipped == 1


def test_pixels_of_a_shifted_domain_and_codes_are_never_clipped() -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    assert quantize(codes, 1.0, 0.5847, 83, "int8 codes").clipped == 0
    assert quantize(ALL_PIXELS, 1.0, 0.0078125, -1, "uint8 - 128").clipped == 0
    assert quantize(ALL_PIXELS, 1.0, 1.0, -128, "int8 codes").clipped == 0
    assert quantize(ALL_PIXELS, 1.0, 1.0, 0, "int8 codes").clipped == 128 * (ALL_PIXELS.size // 256)
