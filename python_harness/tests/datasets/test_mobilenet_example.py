import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mcutrain.compiler.plan import compile_plan
from mcutrain.datasets import Dataset, digits_held_out, digits_shifted
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference

EXAMPLE = Path(__file__).parents[3] / "examples" / "mobilenet"
MODEL = EXAMPLE / "mobilenet.onnx"
PACKAGE_ROOT = Path(__file__).parents[2]


def classes_of_onnxruntime(model: Path, data: Dataset) -> list[int]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    images = data.samples.transpose(0, 3, 1, 2).astype(np.float32) * np.float32(data.pixel_scale)
    return [int(np.argmax(session.run(None, {"image": image[np.newaxis]})[0][0])) for image in images]


def classes_of_golden(model: Path, data: Dataset) -> list[int]:
    executor = GoldenExecutor(compile_plan(inference(load_model(model))))
    return [executor.infer(codes) for codes in (data.samples.astype(np.int16) - 128).astype(np.int8)]


def stated(row: str) -> list[float]:
    """The accuracies that the example's README states in the row that starts so: float, onnxruntime, device."""
    line = next(line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith(f"| {row}"))
    return [float(number) / 100 for number in re.findall(r"([\d.]+) %", line)]


def test_the_shipped_network_is_small() -> None:
    assert MODEL.stat().st_size < 100_000


@pytest.mark.parametrize("row", ["clean", "deployed domain"])
def test_the_shipped_network_has_the_stated_accuracies(row: str) -> None:
    data = digits_held_out() if row == "clean" else digits_shifted().test
    ort, golden = (np.array(classes(MODEL, data)) for classes in (classes_of_onnxruntime, classes_of_golden))
    _, stated_ort, stated_device = stated(row)
    assert np.mean(golden == data.labels) == pytest.approx(stated_device, abs=1e-4)
    # onnxruntime's float sums depend on the processor.
    assert np.mean(ort == data.labels) == pytest.approx(stated_ort, abs=0.01)
    assert np.mean(ort == golden) > 0.985


def test_the_shipped_network_holds_what_the_readme_says() -> None:
    graph = load_model(MODEL)
    kinds = [op.kind for op in graph.operators]
    assert (kinds.count("depthwise_conv2d"), kinds.count("add")) == (4, 2)
    assert sum(tensor.elements for tensor in graph.tensors.values() if tensor.data is not None) == 14_314


def run_script(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(PACKAGE_ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


def test_a_few_epochs_of_the_script_make_a_network_of_the_same_operators(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "again.onnx"
    shortened = (
        f"import sys; sys.path.insert(0, {str(EXAMPLE)!r}); sys.argv = ['script', '--output', {str(output)!r}]\n"
        "import train_mobilenet as script; assert script.EPOCHS > 2; script.EPOCHS = 2; script.main()"
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
    result = run_script(str(EXAMPLE / "train_mobilenet.py"), "--output", str(output))
    assert result.returncode == 0, result.stderr
    assert "clean    800 images: float 9" in result.stdout
    assert list(tmp_path.iterdir()) == [output]


def test_without_torch_the_script_says_so_in_one_line() -> None:
    script = EXAMPLE / "train_mobilenet.py"
    without_torch = (
        f"import sys, runpy; sys.modules['torch'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    result = run_script("-c", without_torch)
    assert result.returncode == 77
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("train_mobilenet.py: torch is not installed; run pip install torch onnxruntime")
