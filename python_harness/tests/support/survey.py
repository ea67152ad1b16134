"""Import every model file below a folder, run what imports, and compare it with LiteRT or onnxruntime: the table of docs/networks.md.

    cd python_harness/tests && PYTHONPATH=..:. python -m support.survey FOLDER

The folder holds one folder per owner and repository (owner/name/...); the same content twice is counted once. Of each .tflite
file that imports, ten random samples (one where it takes over 300 million multiply-accumulates) go through the golden reference
and through LiteRT's reference kernels, whose output codes have to be the same; of each .onnx file through onnxruntime, which may
differ by one code. Where a file has several outputs, each is tried. Prints a table in Markdown, rows of one repository with one
outcome together, and the count.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from mcutrain.compiler.plan import compile_plan
from mcutrain.errors import UsageError
from mcutrain.golden.executor import GoldenExecutor
from mcutrain.graph import Graph
from mcutrain.graph.summary import summarize
from mcutrain.importers import load_model
from mcutrain.methods.inference import inference

SAMPLES = 10
MOST_NAMES = 8
# Of a network that no board would run, one sample has to do.
LARGE_MACS = 300_000_000
STATUSES = ("imported", "not compared", "different", "refused", "other")

Codes = NDArray[np.int8]


@dataclass(frozen=True)
class Outcome:
    """What became of one file. status: imported, not compared, different, refused, or other (no int8 feed-forward network)."""

    file: Path
    status: str
    words: str


def real_values(codes: Codes, scale: float, zero_point: int) -> NDArray[np.float32]:
    """What codes stand for."""
    values: NDArray[np.float32] = (codes.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return values


def as_codes(values: NDArray[np.generic], scale: float, zero_point: int) -> NDArray[np.int64]:
    """An output as int8 codes, whatever the file gives it as."""
    if values.dtype == np.float32:
        return np.rint(values.astype(np.float64) / scale).astype(np.int64) + zero_point
    return values.astype(np.int64) - (128 if values.dtype == np.uint8 else 0)


def fed(codes: Codes, dtype: type, scale: float, zero_point: int) -> NDArray[np.generic]:
    """Codes as an input of ``dtype`` takes them."""
    if dtype == np.float32:
        return real_values(codes, scale, zero_point)
    return (codes.astype(np.int64) + (128 if dtype == np.uint8 else 0)).astype(dtype)


def litert_outputs(content: bytes, graph: Graph, samples: Codes, output: str | None) -> NDArray[np.int64]:
    """The codes that LiteRT's reference kernels give for each sample, at the file's output or the one named."""
    kernels = OpResolverType.BUILTIN_REF
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=kernels,
        experimental_preserve_all_tensors=output is not None,
        num_threads=1,
    )
    (x,) = interpreter.get_input_details()
    batch = int(x["shape"][0]) if x["shape_signature"][0] != -1 else 1
    interpreter.allocate_tensors()
    ends = interpreter.get_output_details() if output is None else interpreter.get_tensor_details()
    y = next(d["index"] for d in ends if output is None or d["name"].endswith(output.removeprefix("...")))
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    results = []
    for sample in samples:
        given = fed(sample, x["dtype"], source.scale, source.zero_point)
        interpreter.set_tensor(x["index"], np.stack([given] * batch))
        interpreter.invoke()
        values = interpreter.get_tensor(y)[0]
        results.append(as_codes(values, target.scale, target.zero_point).reshape(-1))
    return np.stack(results)


def onnxruntime_outputs(content: bytes, graph: Graph, samples: Codes, output: str | None) -> NDArray[np.int64]:
    """The codes that onnxruntime gives for each sample, its optimisations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    end = session.get_inputs()[0]
    dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}.get(end.type, np.int8)
    results = []
    for sample in samples:
        given = fed(np.moveaxis(sample, -1, 0) if sample.ndim > 1 else sample, dtype, source.scale, source.zero_point)
        (values,) = session.run([output or session.get_outputs()[0].name], {end.name: given[np.newaxis]})
        values = np.moveaxis(values[0], 0, -1) if values[0].ndim == 3 else values[0]
        results.append(as_codes(values, target.scale, target.zero_point).reshape(-1))
    return np.stack(results)


def compared(path: Path, output: str | None = None) -> Outcome:
    """Import a file and run ten samples. Raises UsageError where it does not import."""
    graph = load_model(path, output=output)
    shape = graph.tensors[graph.input].shape
    count = SAMPLES if summarize(graph).macs < LARGE_MACS else 1
    samples = np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)
    executor = GoldenExecutor(compile_plan(inference(graph)))
    ours = []
    for sample in samples:
        executor.infer(sample)
        ours.append(executor.output().astype(np.int64).reshape(-1))
    is_onnx = path.suffix == ".onnx"
    words = f" (`output: {output}`)" if output else ""
    try:
        theirs = (onnxruntime_outputs if is_onnx else litert_outputs)(path.read_bytes(), graph, samples, output)
    except (ValueError, RuntimeError) as error:
        return Outcome(
            path, "not compared", f"imports; its runtime refuses the file ({' '.join(str(error).split())[:60]}){words}"
        )
    furthest = int(np.abs(np.stack(ours) - theirs).max())
    if furthest > (1 if is_onnx else 0):
        return Outcome(path, "different", f"differs from {'onnxruntime' if is_onnx else 'LiteRT'} by {furthest}{words}")
    return Outcome(path, "imported", f"imports, {'within 1 code' if furthest else 'bit-exact'}{words}")


def outcome(path: Path) -> Outcome:
    """What becomes of a file, at its own output or else at the first of several that imports."""
    try:
        return compared(path)
    except UsageError as error:
        reason = str(error).removeprefix(f"{path}: ")
    several = re.search(r"\((?=')(.*)\)[:,] choose one by its name", reason)
    for name in re.findall(r"'([^']*)'", several.group(1)) if several else ():
        try:
            return compared(path, name)
        except UsageError as error:
            reason = str(error).removeprefix(f"{path}: ")
    is_int8 = re.search(r"^\d+ unsupported|^the network has|^a network that ends", reason) is not None
    return Outcome(path, "refused" if is_int8 else "other", f"refused: {reason}")


def shortened(words: str) -> str:
    """What is wrong without the places where it is."""
    words = words.partition(". Supported operators")[0]
    words = re.sub(r" #\d+ \(output '.*?'(?: and \d+ more)?\)", "", words)
    words = re.sub(r" '[^']*' \(#\d+\)| '[^']*'(?=: )", "", words)
    what, _, rest = words.removeprefix("refused: ").partition(": ")
    parts = [what] if re.match("an? |the ", what) else list(dict.fromkeys(rest.split("; ")))
    return "; ".join(parts) if words.startswith("refused: ") else words


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="part of the paths of the files to take")
    parser.add_argument("--files", action="store_true", help="one row for every file, with the whole reason")
    arguments = parser.parse_args()
    seen: set[str] = set()
    rows: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for path in sorted(arguments.folder.glob("*/*/**/*.*")):
        if path.suffix not in (".tflite", ".onnx"):
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if arguments.only not in str(path) or digest in seen:
            continue
        seen.add(digest)
        try:
            found = outcome(path)
        except Exception as error:
            # A file on which the oracle or this project fails is a finding, not the end of the survey.
            found = Outcome(path, "different", f"fails: {type(error).__name__}: {str(error)[:100]}")
        relative = path.relative_to(arguments.folder)
        if arguments.files:
            print(f"{found.status}\t{relative}\t{found.words}", flush=True)
        rows["/".join(relative.parts[:2]), found.status, shortened(found.words)].append(path.stem)
    print("\n| repository | files | outcome |\n|---|---|---|")
    for (repository, status, words), names in sorted(rows.items()):
        unique = list(dict.fromkeys(names))
        shown = ", ".join(unique[:MOST_NAMES]) + (", ..." if len(unique) > MOST_NAMES else "")
        print(f"| {repository} | {len(names)}: {shown} | {'' if status == 'imported' else f'{status}: '}{words} |")
    counts = {status: sum(len(n) for key, n in rows.items() if key[1] == status) for status in STATUSES}
    int8 = sum(counts.values()) - counts["other"]
    print(
        f"\n{counts['imported']} of {int8} int8 feed-forward files import and give the bits of their runtime; {counts}"
    )


if __name__ == "__main__":
    main()
