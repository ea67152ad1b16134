"""MLPerf Tiny's networks: golden, the host build and all boards give the bits of LiteRT's reference kernels."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from mcutrain.boards import board_names, load_board
from mcutrain.emulators.host import HostModel
from mcutrain.emulators.image import HEADER_BYTES, EpisodeImage
from mcutrain.emulators.lines import Line
from mcutrain.episode.runners import make_target
from mcutrain.episode.targets import build_for_host
from mcutrain.golden.executor import GoldenExecutor
from support.own_builds import own_build_folder
from support.published_networks import NETWORKS, Codes, PublishedNetwork

on_networks = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
on_boards = pytest.mark.parametrize("board", board_names())
needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="qemu-system-arm or gcc-arm-none-eabi is not installed",
)


@pytest.fixture(scope="module", autouse=True)
def _own_build_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUTRAIN_BUILD", str(own_build_folder(tmp_path_factory.mktemp("build"))))
        yield


def evaluation_image(network: PublishedNetwork, indices: NDArray[np.intp]) -> EpisodeImage:
    """One evaluation with a line an input, no training."""
    rows = network.inputs.codes[indices].reshape(len(indices), -1)
    return EpisodeImage(
        plan_crc32=network.plan.crc32,
        adapt_samples=rows[:0],
        adapt_labels=np.zeros(0, np.uint16),
        test_samples=rows,
        test_labels=network.inputs.labels[indices].astype(np.uint16),
        order=np.zeros(0, np.uint16),
        learning_rates=np.zeros(0, np.float32),
        evaluate_after=False,
        predictions=True,
    )


def predictions_of_board(network: PublishedNetwork, board: str, indices: NDArray[np.intp]) -> list[Line]:
    """The prediction lines of the board, in as many runs as its external memory asks for."""
    target = make_target(network.plan, board)
    input_bytes = network.inputs.codes[0].size + 4
    runs = -(-(len(indices) * input_bytes) // (load_board(board).external_bytes - 2 * HEADER_BYTES))
    lines: list[Line] = []
    for part in np.array_split(indices, runs):
        found = [line for line in target.run(evaluation_image(network, part)) if line.kind == "prediction"]
        assert [line.integer("n") for line in found] == list(range(len(part)))
        lines += found
    return lines


def assert_bits_of_litert_on(board: str, network: PublishedNetwork, count: int) -> None:
    indices = network.spread(count)
    expected = network.litert(indices)
    lines = predictions_of_board(network, board, indices)
    assert [line.text("output") for line in lines] == [f"{zlib.crc32(row.tobytes()):08x}" for row in expected]
    classes = np.array([line.integer("class") for line in lines])
    np.testing.assert_array_equal(classes, expected.argmax(axis=1))
    assert_many_outputs(expected)
    if count == network.total and network.correct is not None:
        assert int((classes == network.inputs.labels).sum()) == network.correct


def assert_many_outputs(outputs: Codes) -> None:
    """Else equal bits would prove little."""
    assert len(np.unique(outputs, axis=0)) > len(outputs) // 20


def assert_bits_of_litert_on_the_host(network: PublishedNetwork, count: int) -> None:
    indices = network.spread(count)
    expected = network.litert(indices)
    host = HostModel(build_for_host(network.plan))
    found = [host.infer(network.inputs.codes[index]) for index in indices]
    outputs, classes = np.array([output for _, output in found]), np.array([prediction for prediction, _ in found])
    differs = np.flatnonzero((outputs != expected).any(axis=1))
    assert differs.size == 0, f"{differs.size} of {count} inputs differ, the first is {indices[differs[0]]}"
    np.testing.assert_array_equal(classes, expected.argmax(axis=1))
    assert_many_outputs(expected)
    if count == network.total and network.correct is not None:
        assert int((classes == network.inputs.labels).sum()) == network.correct


@on_networks
def test_the_host_has_the_bits_of_litert(network: PublishedNetwork) -> None:
    assert_bits_of_litert_on_the_host(network, network.on_host)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_the_host_has_the_bits_of_litert_on_all_ten_thousand_images_of_cifar10() -> None:
    assert_bits_of_litert_on_the_host(NETWORKS["resnet8"], 10_000)


@on_networks
def test_golden_has_the_bits_of_litert(network: PublishedNetwork) -> None:
    indices = network.spread(network.golden)
    executor = GoldenExecutor(network.plan)
    rows = []
    for index in indices:
        executor.infer(network.inputs.codes[index])
        rows.append(executor.output().copy())
    np.testing.assert_array_equal(rows, network.litert(indices))


@needs_qemu
@pytest.mark.qemu
@on_networks
@on_boards
def test_a_board_has_the_bits_of_litert(board: str, network: PublishedNetwork) -> None:
    assert_bits_of_litert_on(board, network, network.on_board)


@needs_qemu
@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.exhaustive
@on_boards
def test_a_board_has_the_bits_of_litert_on_all_ten_thousand_images_of_cifar10(board: str) -> None:
    assert_bits_of_litert_on(board, NETWORKS["resnet8"], 10_000)
