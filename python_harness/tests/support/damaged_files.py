"""Read files of one kind, each damaged by chance, with a limit on memory and on time; run by tests/test_damaged_files.py.

Run as: python -m support.damaged_files KIND COUNT SEED FOLDER. Prints one line: how many were read, how many refused, with how many
different words, the longest time (s) and the memory they took (MiB). A traceback is a fault; what raised it stays in FOLDER.
"""

from __future__ import annotations

import io
import resource
import signal
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from importers.test_hostile_models import bit_flips, small_onnx, small_tflite, truncations, words
from mcutrain.datasets import read_npz
from mcutrain.episode.definition import load_episode
from mcutrain.errors import UsageError
from mcutrain.importers import load_model
from support.tiny_training import small_network, torch_zip

MOST_SECONDS = 10
MOST_BYTES = 1 << 30

EPISODE = b"""\
name: mine
description: "what it is: a test"
model: examples/digits/digits.onnx
data: &data {set: digits, shift: gaussian_noise, severity: 3, seed: 7}
boards: [m4-256k, m7-1m]
options:
  scheme: 'b1; 0@1/2'
  step_cap: 0.25
learning_rate: 1e-3
epochs: 2
"""
PIECES = [
    b"*data", b"&a ", b"<<: ", b"!!python/name:os.system ", b"!!float ", b"!!int ", b"[", b"{", b"? ", b"- ", b": ", b"'", b'"', b"\n",
    b"\t", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"1e999", b".nan", b"12:30:59", b"2026-02-31", b"9" * 5000, b"0x" + b"f" * 4000, b"[" * 500,
    b"epochs: 3\n", b"\\ud800", b"\\U7fffffff", b"|9", b">-", b"%YAML 3.0\n---\n", b"---\n", b"...\n", b"~", b"#", b"@", b"`",
]  # fmt: skip


def samples() -> bytes:
    random = np.random.default_rng(5)
    file = io.BytesIO()
    arrays: dict[str, Any] = {
        f"{part}_samples": random.integers(0, 255, (6, 4, 4, 1)).astype(np.uint8) for part in ("adapt", "test")
    }
    labels: dict[str, Any] = {f"{part}_labels": np.arange(6) for part in ("adapt", "test")}
    np.savez_compressed(file, **arrays, **labels)
    return file.getvalue()


def pieces(content: bytes, random: np.random.Generator) -> bytes:
    """A few pieces of YAML put in, or in place of what stood there; lines moved."""
    for _ in range(int(random.integers(1, 5))):
        at, length = int(random.integers(0, len(content))), int(random.integers(0, 12))
        content = content[:at] + PIECES[int(random.integers(len(PIECES)))] + content[at + length :]
    return content


def inner(content: bytes, random: np.random.Generator) -> bytes:
    """One member of a zip file damaged, and its checksum and size made to fit again."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        chosen = random.choice([i for i, member in enumerate(old.infolist()) if member.file_size >= 32])
        for index, name in enumerate(old.namelist()):
            member = old.read(name)
            if index == chosen:
                member = DAMAGES[int(random.integers(len(DAMAGES)))](member[:128], random) + member[128:]
            new.writestr(name, member)
    return file.getvalue()


def _load_model(path: Path) -> None:
    load_model(path)


def _load_episode(path: Path) -> None:
    load_episode(str(path))


def _read_npz(path: Path) -> None:
    read_npz(path)


Damage = Callable[[bytes, np.random.Generator], bytes]
DAMAGES: list[Damage] = [truncations, bit_flips, words]
KINDS: dict[str, tuple[Callable[[], bytes], str, list[Damage], Callable[[Path], None]]] = {
    "npz": (samples, ".npz", [*DAMAGES, inner, inner], _read_npz),
    "onnx": (small_onnx, ".onnx", DAMAGES, _load_model),
    "pkl": (lambda: torch_zip(small_network()), ".pkl", [*DAMAGES, inner], _load_model),
    "tflite": (small_tflite, ".tflite", DAMAGES, _load_model),
    "yaml": (lambda: EPISODE, ".yaml", [*DAMAGES, pieces, pieces, pieces], _load_episode),
}


def limit_memory() -> None:
    """What is asked for beyond a gigabyte more than now is not given: MemoryError, which nothing catches."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(kind: str, count: int, seed: int, folder: Path) -> None:
    """Damage and read ``count`` files."""
    warnings.simplefilter("error")
    make, suffix, damages, read = KINDS[kind]
    content, path = make(), folder / f"damaged{suffix}"
    path.write_bytes(content)
    read(path)
    limit_memory()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process: a file took too long
    random = np.random.default_rng(seed)
    before, longest, loaded, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, 0, []
    for _ in range(count):
        path.write_bytes(damages[int(random.integers(len(damages)))](content, random))
        began = time.perf_counter()
        signal.alarm(MOST_SECONDS)
        try:
            read(path)
            loaded += 1
        except UsageError as error:
            said.append(str(error))
            if not said[-1].isprintable():
                raise AssertionError(f"no one line: {said[-1]!r}") from error
        signal.alarm(0)
        longest = max(longest, time.perf_counter() - began)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{loaded} loaded, {len(said)} refused in {len(set(said))} ways, longest {longest:.2f} s, {memory:.0f} MiB")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
