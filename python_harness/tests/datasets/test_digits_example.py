import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mcutrain.datasets import Dataset, digits_held_out, digits_shifted, to_codes
from mcutrain.importers import load_model

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"
MODEL = EXAMPLE / "digits.onnx"
PACKAGE_ROOT = Path(__file__).parents[2]


def accuracy(model: Path, data: Dataset) -> float:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    images = data.samples.transpose(0, 3, 1, 2).astype(np.float32) * np.float32(data.pixel_scale)
    logits = [session.run(None, {"image": image[np.newaxis]})[0][0] for image in images]
    return float(np.mean(np.argmax(logits, axis=1) == data.labels))


def stated(row: str) -> float:
    """The int8 accuracy that the example's README states in the row that starts so."""
    line = next(line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith(f"| {row}"))
    return float(re.findall(r"([\d.]+) %", line)[-1]) / 100


def test_the_shipped_network_is_small() -> None:
    assert MODEL.stat().st_size < 100_000


def test_the_shipped_network_has_the_stated_accuracy_on_clean_digits() -> None:
    measured = accuracy(MODEL, digits_held_out())
    assert measured >= 0.95
    assert measured == pytest.approx(stated("clean"), abs=0.005)


def test_the_shift_costs_the_shipped_network_the_stated_accuracy() -> None:
    measured = accuracy(MODEL, digits_shifted().test)
    assert 0.4 <= measured <= 0.7
    assert measured == pytest.approx(stated("deployed domain"), abs=0.01)


def test_the_input_codes_of_the_shipped_network_are_pixel_minus_128() -> None:
    onnx = pytest.importorskip("onnx")
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in onnx.load(MODEL).graph.initializer}
    data = digits_held_out()
    scale, zero_point = float(constants["image_scale"]), int(constants["image_zero_point"])
    codes = to_codes(data.samples, data.pixel_scale, scale, zero_point, "int8 codes")
    assert np.array_equal(codes, data.samples.astype(np.int16) - 128)


def run_script(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(PACKAGE_ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


def test_a_few_epochs_of_the_script_make_a_network_of_the_same_operators(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "again.onnx"
    shortened = (
        f"import sys; sys.path.insert(0, {str(EXAMPLE)!r}); sys.argv = ['script', '--output', {str(output)!r}]\n"
        "import train_digits as script; assert script.EPOCHS > 2; script.EPOCHS = 2; script.main()"
    )
    result = run_script("-c", shortened)
    assert result.returncode == 0, result.stderr
    assert "clean    800 images: float" in result.stdout
    assert [op.kind for op in load_model(output).operators] == [op.kind for op in load_model(MODEL).operators]
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_script_makes_such_a_network_again(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "again.onnx"
    result = run_script(str(EXAMPLE / "train_digits.py"), "--output", str(output))
    assert result.returncode == 0, result.stderr
    assert "clean    800 images: float 9" in result.stdout
    assert accuracy(output, digits_held_out()) >= 0.95
    assert list(tmp_path.iterdir()) == [output]


def test_without_torch_the_script_says_so_in_one_line() -> None:
    script = EXAMPLE / "train_digits.py"
    without_torch = (
        f"import sys, runpy; sys.modules['torch'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    result = run_script("-c", without_torch)
    assert result.returncode == 77
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("train_digits.py: torch is not installed; run pip install torch onnxruntime, or ")
