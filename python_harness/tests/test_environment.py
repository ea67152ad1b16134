import json
from pathlib import Path

import pytest
from rich.console import Console

from mcutrain.emulators.renode import PLACE_VARIABLES
from mcutrain.environment import Check, doctor, render, to_json

GCC = "arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205"
QEMU = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH, on a machine where no variable of ours is set."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("MCUTRAIN_DATA", "MCUTRAIN_MODELS", *PLACE_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    return folder


def add_command(folder: Path, name: str, prints: str, exit_code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {exit_code}\n")
    path.chmod(0o755)


def check(name: str) -> Check:
    return next(check for check in doctor() if check.name == name)


def test_doctor_covers_every_tool_emulator_oracle_data_set_and_model(commands: Path) -> None:
    assert [check.name for check in doctor()] == [
        "python",
        "arm-none-eabi-gcc",
        "qemu-system-arm",
        "cmake",
        "ninja",
        "cc",
        "chromium",
        "renode",
        "torch",
        "CIFAR-10",
        "MLPerf Tiny",
    ]


def test_on_an_empty_machine_only_python_is_found_and_the_rest_says_how_to_get_it(commands: Path) -> None:
    checks = [check for check in doctor() if check.name != "torch"]  # torch lies beside this Python, not on PATH
    assert [check.name for check in checks if check.found] == ["python"]
    assert all(check.how_to_get and check.needed_for and not check.version for check in checks if not check.found)


@pytest.mark.parametrize(
    ("command", "prints", "version"),
    [
        ("arm-none-eabi-gcc", GCC, "12.2.1"),
        ("qemu-system-arm", QEMU, "7.2.22"),
        ("cc", "Debian clang version 14.0.6", "14.0.6"),
        ("ninja", "1.11.1", "1.11.1"),
        ("chromium", "Chromium 156.0.8078.108 built on Debian GNU/Linux 12 (bookworm)", "156.0.8078.108"),
    ],
)
def test_the_version_is_the_programs_own_not_its_packages(
    commands: Path, command: str, prints: str, version: str
) -> None:
    add_command(commands, command, prints)
    assert check(command).found
    assert check(command).version == version


def test_a_program_that_fails_is_not_found(commands: Path) -> None:
    add_command(commands, "cmake", "cmake version 3.25.1", exit_code=1)
    assert not check("cmake").found


def test_a_file_that_is_no_program_is_not_found(commands: Path) -> None:
    (commands / "cmake").write_bytes(b"\x7fELF")
    (commands / "cmake").chmod(0o755)
    assert not check("cmake").found


@pytest.mark.parametrize(
    ("variable", "file", "name"),
    [
        ("MCUTRAIN_DATA", "cifar-10-batches-bin/test_batch.bin", "CIFAR-10"),
        ("MCUTRAIN_MODELS", "mlperf_tiny/pretrainedResnet_quant.tflite", "MLPerf Tiny"),
    ],
)
def test_data_and_models_are_found_below_their_variable(
    commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, file: str, name: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    assert not check(name).found
    assert variable in check(name).how_to_get
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).touch()
    assert check(name).found


def test_json_holds_every_field_of_every_check(commands: Path) -> None:
    document = json.loads(json.dumps(to_json(doctor())))
    assert len(document["checks"]) == len(doctor())
    assert set(document["checks"][0]) == {
        *("name", "found", "version", "needed_for", "how_to_get", "tried", "is_untried")
    }


def test_the_table_tells_how_to_get_only_what_is_absent(commands: Path) -> None:
    add_command(commands, "cmake", "cmake version 3.25.1")
    console = Console(width=200)
    with console.capture() as printed:
        console.print(render([check("cmake"), check("ninja")]))
    cmake, ninja = printed.get().splitlines()
    assert cmake.split()[:3] == ["yes", "cmake", "3.25.1"]
    assert "apt-get" not in cmake
    assert ninja.split()[:2] == ["no", "ninja"]
    assert "apt-get install ninja-build" in ninja


@pytest.mark.parametrize(
    ("version", "untried"), [("12.2", False), ("12.2.1", False), ("14.2.1", False), ("12.20", True), ("13.2.1", True)]
)
def test_a_version_is_tried_whatever_its_patch_level(commands: Path, version: str, untried: bool) -> None:
    add_command(commands, "arm-none-eabi-gcc", f"arm-none-eabi-gcc {version}")
    assert check("arm-none-eabi-gcc").is_untried == untried


def test_nothing_is_untried_that_is_absent_or_of_which_any_will_do(commands: Path) -> None:
    add_command(commands, "cmake", "cmake version 99.1")
    assert check("qemu-system-arm").tried
    assert not check("qemu-system-arm").is_untried
    assert not check("cmake").is_untried


@pytest.mark.parametrize(
    ("prints", "line"),
    [
        (QEMU, "yes qemu-system-arm 7.2.22 running firmware (tried with 7.2, 10.0 and 11.1)"),
        (
            "QEMU emulator version 8.1.0",
            "yes qemu-system-arm 8.1.0 running firmware (not tried with 8.1.0, only with 7.2, 10.0 and 11.1)",
        ),
    ],
)
def test_the_table_names_what_was_tried_and_says_when_the_installed_is_another(
    commands: Path, prints: str, line: str
) -> None:
    add_command(commands, "qemu-system-arm", prints)
    console = Console(width=200)
    with console.capture() as printed:
        console.print(render([check("qemu-system-arm")]))
    assert " ".join(printed.get().split()) == line
