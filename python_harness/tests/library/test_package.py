"""What `cmake --install` leaves: a package that can be moved, asked for by version and component, or the project as a part of another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from library.conftest import run
from mcutrain import __version__
from mcutrain.paths import PROJECT


def configured(folder: Path, package: Path, project: str, *options: str) -> tuple[int, str]:
    """Configure a project with this CMakeLists.txt; the exit code, and what cmake said with its lines joined."""
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.22)\n{project}\n", encoding="utf-8")
    command = ["cmake", "-S", folder, "-B", folder / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={package}", *options]
    done = run(command)
    return done.returncode, " ".join(done.stdout.split())


def test_headers_archive_sources_and_package_are_there_and_the_runtime_is_not(package: Path) -> None:
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    headers = {path.name for path in (PROJECT / "src" / "include" / "mcutrain").glob("*.h")} - {"episode.h"}
    assert {f"include/mcutrain/{name}" for name in headers | {"archive.h"}} <= files
    assert {"lib/libmcutrain.a", "lib/cmake/mcutrain/mcutrainConfig.cmake", "share/mcutrain/LICENSE"} <= files
    for room in ("kernels", "model"):
        sources = {path.relative_to(PROJECT) for path in (PROJECT / "src" / room).rglob("*.[ch]")}
        assert {f"share/mcutrain/{path}" for path in sources} <= files
    assert [name for name in files if re.search(r"episode|runtime|ports|firmware", name)] == []


def test_nothing_in_the_package_names_a_folder_of_the_machine_that_made_it(package: Path) -> None:
    # The package has been moved: neither the place where it was installed nor those of the sources and the build may be in it.
    # A folder of the package may end as another begins: a path begins where no name goes before it.
    folders = b"|".join(re.escape(str(folder).encode()) for folder in (PROJECT, package.parent, Path.home()))
    unwanted = re.compile(rb"(?<![\w.-])(?:" + folders + rb")/")
    for path in package.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert unwanted.findall(content) == [], path


@pytest.mark.parametrize(
    ("find", "said"),
    [
        ("find_package(mcutrain REQUIRED COMPONENTS kernels)", "its components are sources and archive"),
        ("find_package(mcutrain REQUIRED COMPONENTS sources archive)", "one of them at a time"),
        ("find_package(mcutrain REQUIRED)\nfind_package(mcutrain REQUIRED COMPONENTS archive)", "is already there"),
        ("find_package(mcutrain 99 REQUIRED)", f"version: {__version__}"),
    ],
)
def test_what_cannot_be_found_is_refused_with_the_reason(find: str, said: str, package: Path, tmp_path: Path) -> None:
    status, output = configured(tmp_path / "project", package, f"project(other LANGUAGES C)\n{find}")
    assert status != 0 and said in output


def test_a_project_without_c_is_told_so(package: Path, tmp_path: Path) -> None:
    project = "project(other LANGUAGES NONE)\nfind_package(mcutrain REQUIRED)"
    status, output = configured(tmp_path / "project", package, project)
    assert status != 0 and "project(... LANGUAGES C)" in output


@pytest.mark.parametrize("component", ["sources", "archive"])
def test_the_version_is_the_projects_and_it_can_be_found_again(component: str, package: Path, tmp_path: Path) -> None:
    find = f"find_package(mcutrain {__version__} EXACT REQUIRED COMPONENTS {component})"
    project = f'project(other LANGUAGES C)\n{find}\n{find}\nmessage("found ${{mcutrain_VERSION}}")'
    status, output = configured(tmp_path / "project", package, project)
    assert status == 0 and f"found {__version__}" in output


def test_in_another_project_there_is_the_library_alone_with_that_projects_flags(tmp_path: Path) -> None:
    application = PROJECT / "cmake" / "tests" / "application" / "main.c"
    project = f"""project(other LANGUAGES C)
        add_subdirectory("{PROJECT}" mcutrain)
        add_executable(application "{application}")
        target_link_libraries(application PRIVATE mcutrain::mcutrain)"""
    options = ("-DCMAKE_C_FLAGS=-O1 -std=gnu17", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    status, output = configured(tmp_path / "project", tmp_path, project, *options)
    assert status == 0, output
    build = tmp_path / "project" / "build"
    commands = (build / "compile_commands.json").read_text(encoding="utf-8")
    assert "/src/kernels/" in commands and "/src/runtime/" not in commands and "/emulation/" not in commands
    assert "-O2" not in commands and "-O3" not in commands and "-Werror" not in commands and "-std=c11" not in commands
    done = run(["cmake", "--build", build])
    assert done.returncode == 0, done.stdout
    assert run([build / "application"]).returncode == 0
    assert "No tests were found" in run(["ctest", "--test-dir", build]).stdout
