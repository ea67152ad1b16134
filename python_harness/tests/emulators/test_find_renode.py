"""Which Renode is taken, how it is reached, and what is said of the first thing that is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mcutrain.emulators import renode
from mcutrain.emulators.renode import Installation, find_renode
from mcutrain.errors import NotAvailableError, UsageError

ELF = b"\x7fELF\x02\x01\x01"


def program(path: Path, content: bytes = b"#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, where `python3` has pyrenode3, and none of the variables is set."""
    for name in (
        *renode.PLACE_VARIABLES,
        renode.OUTPUT_VARIABLE,
        renode.RUNTIME_VARIABLE,
        renode.PYTHON_VARIABLE,
        "DOTNET_ROOT",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    program(tmp_path / "bin" / "python3")
    monkeypatch.setattr(renode, "_has_pyrenode", lambda python: python == str(tmp_path / "bin" / "python3"))
    return tmp_path


def found(**variables: str) -> Installation:
    installation = find_renode()
    assert installation.variables == variables
    return installation


def test_without_renode_the_docs_are_named(machine: Path) -> None:
    with pytest.raises(NotAvailableError, match=r"^Renode is not installed; docs/renode\.md says how"):
        find_renode()
    assert (Path(__file__).parents[3] / "docs" / "renode.md").exists()


def test_a_portable_renode_on_path_is_taken_as_it_is(machine: Path) -> None:
    binary = program(machine / "bin" / "renode", ELF)
    installation = found(PYRENODE_BIN=str(binary), PYRENODE_RUNTIME="coreclr")
    assert (installation.place, installation.python) == (binary, str(machine / "bin" / "python3"))


def test_a_link_on_path_is_followed_to_the_portable_renode(machine: Path) -> None:
    binary = program(machine / "renode_1.16.1" / "renode", ELF)
    (machine / "bin" / "renode").symlink_to(binary)
    found(PYRENODE_BIN=str(binary), PYRENODE_RUNTIME="coreclr")


@pytest.mark.parametrize(
    ("file", "runtime", "needs"), [("Renode.runtimeconfig.json", "coreclr", "dotnet"), ("Renode.exe", "mono", "mono")]
)
def test_a_package_on_path_is_taken_by_the_folder_of_its_programs(
    machine: Path, file: str, runtime: str, needs: str
) -> None:
    script = program(machine / "opt" / "renode" / "renode")
    program(machine / "opt" / "renode" / "bin" / file)
    program(machine / "bin" / needs)
    (machine / "bin" / "renode").symlink_to(script)
    found(PYRENODE_BUILD_DIR=str(script.parent), PYRENODE_BUILD_OUTPUT="bin", PYRENODE_RUNTIME=runtime)


def test_a_script_without_programs_beside_it_says_which_variables_to_set(machine: Path) -> None:
    program(machine / "bin" / "renode")
    with pytest.raises(NotAvailableError, match="set one of PYRENODE_PKG, PYRENODE_BIN, PYRENODE_BUILD_DIR"):
        find_renode()


@pytest.mark.parametrize(
    ("variable", "name", "runtime"),
    [
        ("PYRENODE_BIN", "renode", "coreclr"),
        ("PYRENODE_PKG", "renode-1.16.1.linux-dotnet.tar.gz", "coreclr"),
        ("PYRENODE_PKG", "renode-1.13.0-1-x86_64.pkg.tar.xz", "mono"),
    ],
)
def test_a_variable_goes_before_path(
    machine: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str, runtime: str
) -> None:
    program(machine / "bin" / "renode", ELF)
    for command in ("dotnet", "mono"):
        program(machine / "bin" / command)
    place = program(machine / "elsewhere" / name, ELF)
    monkeypatch.setenv(variable, str(place))
    found(**{variable: str(place), "PYRENODE_RUNTIME": runtime})
    monkeypatch.setenv("PYRENODE_RUNTIME", "mono")  # the user's word goes before the file's name
    found(**{variable: str(place), "PYRENODE_RUNTIME": "mono"})


@pytest.mark.parametrize("output", ["output/bin/Release", "bin"])
@pytest.mark.parametrize(("file", "runtime"), [("Renode.runtimeconfig.json", "coreclr"), ("Renode.exe", "mono")])
def test_a_build_of_renode_is_known_by_its_files(
    machine: Path, monkeypatch: pytest.MonkeyPatch, output: str, file: str, runtime: str
) -> None:
    for command in ("dotnet", "mono"):
        program(machine / "bin" / command)
    program(machine / "renode" / output / file)
    monkeypatch.setenv("PYRENODE_BUILD_DIR", str(machine / "renode"))
    said = {}
    if output != renode.BUILD_OUTPUT:
        monkeypatch.setenv("PYRENODE_BUILD_OUTPUT", output)
        said = {"PYRENODE_BUILD_OUTPUT": output}
    found(PYRENODE_BUILD_DIR=str(machine / "renode"), PYRENODE_RUNTIME=runtime, **said)


def test_two_variables_are_one_too_many(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRENODE_BIN", str(machine))
    monkeypatch.setenv("PYRENODE_PKG", str(machine))
    with pytest.raises(UsageError, match="PYRENODE_PKG and PYRENODE_BIN are set"):
        find_renode()


def test_a_variable_that_names_nothing_is_told(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRENODE_BIN", "/nowhere/renode")
    with pytest.raises(UsageError, match="PYRENODE_BIN: there is no /nowhere/renode"):
        find_renode()


def test_without_pyrenode_its_installation_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(machine / "bin" / "renode", ELF)
    monkeypatch.setattr(renode, "_has_pyrenode", lambda python: False)
    with pytest.raises(
        NotAvailableError, match=r"pyrenode3 is not installed: no python3 on PATH has it; give `pip install "
    ):
        find_renode()
    monkeypatch.setenv(renode.PYTHON_VARIABLE, "/usr/bin/python9")
    with pytest.raises(NotAvailableError, match=r"MCUTRAIN_RENODE_PYTHON \(/usr/bin/python9\) has it"):
        find_renode()


def test_our_own_interpreter_is_asked_first_and_a_named_one_alone(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine / "bin" / "renode", ELF)
    asked: list[str] = []

    def has_pyrenode(python: str) -> bool:
        asked.append(python)
        return len(asked) == 2

    monkeypatch.setattr(renode, "_has_pyrenode", has_pyrenode)
    assert find_renode().python == str(machine / "bin" / "python3")
    assert asked == [sys.executable, str(machine / "bin" / "python3")]
    asked.clear()
    monkeypatch.setenv(renode.PYTHON_VARIABLE, "/usr/bin/python9")
    with pytest.raises(NotAvailableError):
        find_renode()
    assert asked == ["/usr/bin/python9"]


def test_a_renode_of_dotnet_needs_dotnet_but_a_portable_one_brings_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = program(machine / "renode-1.16.1.linux-dotnet.tar.gz")
    monkeypatch.setenv("PYRENODE_PKG", str(package))
    with pytest.raises(
        NotAvailableError, match=r"runs on \.NET, and there is none: install \.NET 8, or set DOTNET_ROOT"
    ):
        find_renode()
    monkeypatch.setenv("DOTNET_ROOT", str(machine))
    assert find_renode().place == package


def test_a_renode_of_mono_needs_mono(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRENODE_PKG", str(program(machine / "renode.pkg.tar.xz")))
    with pytest.raises(NotAvailableError, match="runs on Mono, and there is none"):
        find_renode()


def test_an_interpreter_has_pyrenode_or_not() -> None:
    assert not renode._has_pyrenode("/nowhere/python3")
