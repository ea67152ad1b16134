"""Where the tool is run: closed and full streams, odd terminals and locales, odd paths and names, folders that cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.table import Table

from mcutrain import streams
from mcutrain.atomic import write_file
from mcutrain.commands import options
from mcutrain.emulators import qemu
from mcutrain.emulators.cmake_paths import fit_for_cmake
from mcutrain.errors import UsageError
from mcutrain.paths import PROJECT, require_writable

DIGITS = PROJECT / "examples" / "digits" / "digits.onnx"
ODD = "we[i]rd $HOME; \"q\" 'r' \\b =,#é"


def tool(
    *arguments: str | Path, folder: Path, shell: str = '"$@"', project: Path = PROJECT, settings: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the tool as a line of the shell, in which "$@" is its command."""
    own = {"MCUTRAIN_BUILD": f"{folder}/build", "MCUTRAIN_RESULTS": f"{folder}/results"}
    variables = dict(setting.split("=", 1) for setting in settings)
    command = ["bash", "-c", shell, "-", sys.executable, "-m", "mcutrain", *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, **own, "PYTHONPATH": f"{project}/python_harness", **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("setting", ["COLUMNS=0", f"COLUMNS={10**20}", "LC_ALL=C", "PYTHONIOENCODING=latin-1:strict"])
def test_a_plan_is_shown_on_any_terminal_and_in_any_locale(setting: str, tmp_path: Path) -> None:
    done = tool(
        "plan", DIGITS, folder=tmp_path, settings=(setting, "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0", "TERM=dumb")
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "lower bound of any placement" in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 40


@pytest.mark.parametrize("setting", ["LC_ALL=C", "PYTHONIOENCODING=latin-1:strict"])
def test_a_name_that_the_locale_cannot_write_is_written_as_an_escape(setting: str, tmp_path: Path) -> None:
    shutil.copy2(DIGITS, tmp_path / "netz\N{RIGHTWARDS ARROW}.onnx")
    settings = (setting, "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0")
    done = tool("inspect", "netz\N{RIGHTWARDS ARROW}.onnx", folder=tmp_path, settings=settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "netz\\" in done.stdout


@pytest.mark.parametrize("variable", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("value", ["", "0", "1", "-1", "wide", str(10**20), "\N{SUPERSCRIPT TWO}", "80"])
def test_only_a_size_that_something_fits_in_is_believed(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    streams.prepare()
    assert os.environ.get(variable) == ("80" if value == "80" else None)


@pytest.mark.parametrize(
    ("shell", "exit_code", "stderr"),
    [
        ('"$@" >&-', 0, ""),
        ('"$@" <&- >&- 2>&-', 0, ""),
        ('"$@" >/dev/full', 2, "mcutrain: standard output: No space left on device\n"),
        ('"$@" 2>/dev/full', 0, ""),
        ('set -o pipefail; "$@" | true', 141, ""),
        ('set -o pipefail; "$@" --json | true', 141, ""),
    ],
)
def test_closed_and_full_streams_end_in_no_traceback(shell: str, exit_code: int, stderr: str, tmp_path: Path) -> None:
    done = tool("plan", DIGITS, folder=tmp_path, shell=shell)
    assert (done.returncode, done.stderr) == (exit_code, stderr)


def test_a_file_never_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """What a child writes to its standard output would go into the first file that was opened."""
    text = "from mcutrain import streams; streams.prepare(); print(open('/dev/zero').fileno(), file=__import__('sys').stderr)"
    done = subprocess.run(
        ["bash", "-c", '"$@" <&- >&-', "-", sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": f"{PROJECT}/python_harness"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(done.stderr) > 2


MARKUP = "[red]x[/red] [/] [bold :smile:"


def test_names_that_look_like_markup_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed with the tool's console, plain, in tables, and as a heading."""
    table = Table(MARKUP, title=MARKUP)
    table.add_row(MARKUP)
    with options.console.capture() as captured:
        options.console.print(MARKUP, soft_wrap=True)
        options.console.print(table)
    assert captured.get().count(MARKUP) == 4
    with options.log.capture() as captured:
        options.log.print(MARKUP, soft_wrap=True)
    assert captured.get() == f"{MARKUP}\n"


def test_a_model_whose_name_looks_like_markup_is_named(tmp_path: Path) -> None:
    shutil.copy2(DIGITS, tmp_path / "[red]x[bold.onnx")
    done = tool("inspect", "[red]x[bold.onnx", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "[red]x[bold" in done.stdout


def test_an_unknown_name_is_repeated_as_it_is(tmp_path: Path) -> None:
    done = tool("run", "[red]x[/].yaml", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "mcutrain: no episode file '[red]x[/].yaml'\n"


@pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("ninja")), reason="needs CMake and Ninja")
def test_a_project_of_any_path_builds_and_trains_an_episode_of_any_name(tmp_path: Path) -> None:
    project, temporary = tmp_path / ODD, tmp_path / "temporary"
    (project / "python_harness").mkdir(parents=True)
    temporary.mkdir()
    for name in ("CMakeLists.txt", "cmake", "src", "emulation", "examples", "python_harness/mcutrain"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, project / name)
    episode = project / f"{ODD} [red].yaml"
    shutil.copy2(PROJECT / "emulation" / "episodes" / "digits-sparse.yaml", episode)
    output = f"out {ODD}"
    arguments = ("run", f"./{episode.name}", "--board", "host", "--steps", "2", "--test", "2", "--output", output)
    done = tool(*arguments, folder=project, project=project, settings=("MCUTRAIN_BUILD=", f"TMPDIR={temporary}"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "build" / "library" / "host" / "libmcutrain.a").is_file()
    assert json.loads((project / output / "records.json").read_text())["episodes"][0]["matches_golden"]
    assert list(temporary.iterdir()) == []


def test_cmake_gets_links_for_what_it_cannot_take_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fine, odd, file = tmp_path / "a b$c", tmp_path / ODD, tmp_path / ODD / "lib.a"
    fine.mkdir()
    odd.mkdir()
    file.touch()
    with fit_for_cmake(fine, {"build": fine}) as paths:
        assert paths == {"build": fine}
    seen = []
    for _ in range(2):
        with fit_for_cmake(odd, {"build": odd, "library": file}) as paths:
            assert paths["build"].resolve() == odd and paths["library"].resolve() == file
            assert not set('[];"\\') & set("".join(map(str, paths.values())))
            assert (paths["library"].parent / "lib.a").exists()
            links = paths["build"].parent
            seen.append(paths)
        assert not links.exists()
    assert seen[0] == seen[1]
    links.symlink_to(fine)  # somebody else was here before
    with pytest.raises(UsageError, match="is not ours"), fit_for_cmake(odd, {"build": odd}):
        pass
    assert links.is_symlink()


def test_a_plugin_of_any_path_is_one_option_of_qemu() -> None:
    assert qemu._plugin_option(Path("/a=b,c/x.so"), "output=y") == ["-plugin", "file=/a=b,,c/x.so,output=y"]


@pytest.mark.parametrize(
    "arguments", [("run", "digits-sparse"), ("demo",), ("baseline", "check"), ("report", "x.json")]
)
def test_results_that_could_not_be_written_are_refused_before_anything_runs(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    done = tool(*arguments, folder=tmp_path, settings=(f"MCUTRAIN_RESULTS={tmp_path}/taken",))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write to" in done.stderr and "set MCUTRAIN_RESULTS" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "build").exists()


def test_a_build_folder_that_cannot_be_written_is_named_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    done = tool(
        "run", "digits-sparse", "--board", "host", folder=tmp_path, settings=(f"MCUTRAIN_BUILD={tmp_path}/taken",)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "taken is no folder; set MCUTRAIN_BUILD" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_refused() -> None:
    with pytest.raises(UsageError, match="may not be written to; do that"):
        require_writable(Path("/etc/mcutrain/results"), "do that")


def test_a_folder_without_a_writable_parent_is_refused() -> None:
    with pytest.raises(UsageError, match=r"/proc/.* may not be written to|/proc/.* is no folder"):
        require_writable(Path("/proc/version/results"), "do that")


def test_a_full_disk_names_the_file() -> None:
    """Python itself leaves out which file a write was for."""
    with pytest.raises(OSError, match="No space left") as full:
        write_file(Path("/dev/full"), b"x")
    assert full.value.filename == "/dev/full"


def test_warnings_of_libraries_do_not_reach_the_screen(tmp_path: Path) -> None:
    text = (
        "import sys; sys.argv = ['mcutrain', 'methods']; from mcutrain.commands import methods\n"
        "import numpy as np; from mcutrain import cli\n"
        "cli.app.registered_commands[:] = []\n"
        "cli.app.command('methods')(lambda: print(np.float32(1e38) * np.float32(10)))\n"
        "cli.app.command('other')(lambda: None)\n"
        "cli.run_process()\n"
    )
    variables = {**os.environ, "PYTHONPATH": f"{PROJECT}/python_harness"}
    variables.pop("PYTHONWARNINGS", None)
    done = subprocess.run(
        [sys.executable, "-c", text], env=variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "inf\n", "")
