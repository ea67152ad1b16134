"""Episode images that were mutated: a device refuses each or runs it, and never reads outside."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from emulators.helpers import PERCEPTRON, perceptron_image
from mcutrain.emulators.image import HEADER_BYTES, EpisodeImage
from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT
from mcutrain.status import status_number, statuses
from support.fuzz import bounded

# Every flag is set in one of them, and one has no steps.
IMAGES = [
    perceptron_image(6, predictions=True, trace_step=3, dump_op=2, digest_every=4).to_bytes(),
    perceptron_image(3).to_bytes(),
    perceptron_image(0, predictions=True).to_bytes(),
]
WORDS = HEADER_BYTES // 4
NASTY = (0, 1, 2, 3, 4, 94, 95, 96, 97, 98, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime, the port for this machine and the perceptron, watched by the sanitizers."""
    path = tmp_path_factory.mktemp("images") / "run_images"
    sources = [Path(__file__).parent / "run_images.c", PERCEPTRON / "model.c"]
    for folder in ("runtime", "model", "ports/host"):
        sources += sorted((PROJECT / "src" / folder).glob("*.c"))
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [f"-I{PROJECT / 'src' / 'include'}", f"-I{PROJECT / 'src'}"]
    done = subprocess.run(
        ["cc", *flags, *includes, *map(str, sources), "-lm", "-o", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in done.stderr and "asan" in done.stderr:
        pytest.skip("this compiler has no AddressSanitizer")
    assert done.returncode == 0, done.stderr
    return path


def run(program: Path, images: list[bytes]) -> list[tuple[int, int]]:
    """The status of each image, and how many lines it gave."""
    stream = b"".join(struct.pack("=I", len(image)) + image for image in images)
    done = subprocess.run([str(program)], input=stream, capture_output=True, timeout=300, check=False)
    results = [tuple(map(int, row.split())) for row in done.stdout.decode().splitlines()]
    at = f"image {len(results)}: {images[len(results)][:HEADER_BYTES].hex()}" if len(results) < len(images) else ""
    assert done.returncode == 0, f"{at}\n{done.stderr.decode()[:4000]}"
    return [(status, lines) for status, lines in results]


def sealed(image: bytes) -> bytes:
    """With the CRC that it should have."""
    return image[:12] + struct.pack("<I", zlib.crc32(image[16:])) + image[16:] if len(image) >= 16 else image


def set_word(image: bytes, rng: random.Random) -> bytes:
    at = 4 * rng.randrange(WORDS)
    (before,) = struct.unpack_from("<I", image, at)
    near = (before + rng.choice((-4, -2, -1, 1, 2, 4))) & 0xFFFFFFFF
    value = rng.choice((near, rng.choice(NASTY), len(image) + rng.choice((-4, -2, 0)), before ^ 1 << rng.randrange(32)))
    return image[:at] + struct.pack("<I", value) + image[at + 4 :]


def flip(image: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(image))
    return image[:at] + bytes([image[at] ^ 1 << rng.randrange(8)]) + image[at + 1 :]


def fill(image: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(image))
    count = rng.choice((2, 4, 40))
    return (image[:at] + rng.choice((b"\xff", b"\0", b"\x7f")) * count + image[at + count :])[: len(image)]


def cut(image: bytes, rng: random.Random) -> bytes:
    return image[: rng.randrange(len(image))]


def cut_and_say_so(image: bytes, rng: random.Random) -> bytes:
    size = rng.randrange(HEADER_BYTES, len(image)) & ~3
    return image[:8] + struct.pack("<I", size) + image[12:size]


def lengthen(image: bytes, rng: random.Random) -> bytes:
    return image + rng.randbytes(rng.choice((1, 4, 100)))


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(set_word, set_word, set_word, set_word, flip, fill, cut, cut_and_say_so, lengthen),
)


def mutated(case: int) -> bytes:
    rng = random.Random(case)
    image = rng.choice(IMAGES)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if len(image) > HEADER_BYTES:
            image = rng.choice(MUTATIONS)(image, rng)
    return sealed(image) if rng.random() < 0.9 else image


def try_images(program: Path, seed: int, count: int) -> tuple[int, int]:
    """Run ``count`` mutated images; returns how many were refused, and how many ran."""
    known = {status.number for status in statuses().values()}
    refused = 0
    for first in range(seed, seed + count, 1000):
        images = [mutated(case) for case in range(first, min(first + 1000, seed + count))]
        for case, (image, (status, lines)) in enumerate(zip(images, run(program, images), strict=True), first):
            assert status in known, f"case {case}"
            if status == status_number("MCT_ERROR_FORMAT"):
                assert lines == 2, f"case {case}: something ran of a refused image"
                refused += 1
            with bounded(f"case {case}"):
                assert status != 0 or reads_back(image), f"case {case}: a device runs what the harness refuses"
    return refused, count - refused


def reads_back(image: bytes) -> bool:
    """Whether the harness takes the image, too. A device looks at as many bytes as the header says, the harness at all.

    Without steps a device does not look at what only steps need, such as digest_every.
    """
    (size,) = struct.unpack_from("<I", image, 8)
    (steps,) = struct.unpack_from("<I", image, 32)
    if steps == 0:
        return True
    try:
        EpisodeImage.from_bytes(image[:size])
    except UsageError:
        return False
    return True


def test_the_images_themselves_run(program: Path) -> None:
    assert [status for status, _ in run(program, IMAGES)] == [0, 0, 0]


def test_a_mutated_image_is_refused_or_runs(program: Path) -> None:
    refused, ran = try_images(program, 0, 2000)
    assert refused > 500 and ran > 100


@pytest.mark.fuzz
def test_many_mutated_images_are_refused_or_run(program: Path) -> None:
    refused, ran = try_images(program, 1_000_000, 25_000)
    assert refused > 5_000 and ran > 1_000
