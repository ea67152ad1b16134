"""The profile plugin against a fake QEMU of each version of the plugin interface, which plays runs that no one QEMU plays."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcutrain.emulators import qemu
from mcutrain.emulators.build import build_profile_plugin
from mcutrain.emulators.profile import FillCount, Profile, read_profile
from mcutrain.emulators.qemu import PLUGIN_APIS, plugin_api
from mcutrain.errors import NotAvailableError
from mcutrain.paths import PROJECT

SOURCE = Path(__file__).parent / "fake_qemu.c"

# The whole block at 0x100 has 5 instructions: movs, ldr, str, nop.w, b back to 0x100. A device may be behind the ldr and the str.
WHOLE = "0120 0868 0860 aff30080 f9e7".replace(" ", "")
BEHIND_LDR = WHOLE[8:]
BEHIND_STR = WHOLE[12:]
LDR = "only 102 0868 40004004"
STR = "only 104 0860 40004004"
START = "block 80 00bf"
ELSEWHERE = "block 200 00bf7047"

Play = Callable[..., Profile]


@pytest.fixture(scope="session")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Builds the fake QEMU of a version, once."""
    folder = tmp_path_factory.mktemp("fake_qemu")

    def build(api: int) -> Path:
        program = folder / f"fake_qemu_{api}"
        if not program.exists():
            options = ["-std=c11", "-Wall", "-Werror", f"-DMCT_QEMU_PLUGIN_API={api}", "-rdynamic"]
            include = PROJECT / "emulation" / "qemu"
            command = ["cc", *options, f"-I{include}", str(SOURCE), "-o", str(program), "-ldl"]
            subprocess.run(command, check=True)
        return program

    return build


@pytest.fixture
def play(fakes: Callable[[int], Path], tmp_path: Path) -> Play:
    """Plays a run on the fake QEMU of a version, and reads its profile. The function at 0x200 is the mark `elsewhere`."""

    def run(*rows: str, api: int = 4, memory: str = "") -> Profile:
        (tmp_path / "marks.txt").write_text("200 elsewhere\n", encoding="ascii")
        arguments = ["marks=marks.txt", "output=profile.txt"]
        if memory:
            (tmp_path / "memory.txt").write_text(memory, encoding="ascii")
            arguments.append("memory=memory.txt")
        plugin = build_profile_plugin(api)
        command = [str(fakes(api)), str(plugin), str(api), *arguments]
        subprocess.run(command, cwd=tmp_path, input="\n".join(rows), text=True, check=True, timeout=60)
        return read_profile(tmp_path / "profile.txt")

    return run


def runs(profile: Profile) -> dict[tuple[str, int, int], int]:
    return {(run.mark, run.block.pc, run.block.instructions): run.count for run in profile.blocks}


def edges(profile: Profile) -> dict[tuple[int, int, int, int], int]:
    return {
        (edge.block.pc, edge.block.instructions, edge.to_block.pc, edge.to_block.instructions): edge.count
        for edge in profile.edges
    }


def test_a_run_is_the_same_profile_with_every_version_of_the_interface(play: Play) -> None:
    run = [START, *[f"block 100 {WHOLE}"] * 3, ELSEWHERE, f"block 100 {WHOLE}"]
    profiles = [play(*run, api=api) for api in PLUGIN_APIS]
    assert profiles[0].instructions == 1 + 3 * 5 + 2 + 5
    assert runs(profiles[0]) == {
        ("reset", 0x80, 1): 1,
        ("reset", 0x100, 5): 3,
        ("elsewhere", 0x200, 2): 1,
        ("elsewhere", 0x100, 5): 1,
    }
    assert {run.block.code.hex() for run in profiles[0].blocks} == {"00bf", WHOLE, "00bf7047"}
    assert all(profile == profiles[0] for profile in profiles)


def test_a_plugin_refuses_a_qemu_of_a_newer_version_than_it_was_built_for(
    fakes: Callable[[int], Path], tmp_path: Path
) -> None:
    command = [str(fakes(4)), str(build_profile_plugin(2)), "4", "marks=marks.txt", "output=profile.txt"]
    done = subprocess.run(command, cwd=tmp_path, input="", text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "built for version 2 of QEMU's plugin interface, this QEMU has 4" in done.stderr


def test_a_block_that_is_left_at_a_device_access_and_gone_on_with_is_counted_once(play: Play) -> None:
    cut = [f"block 100 {WHOLE}", LDR, f"block 104 {BEHIND_LDR}"]
    profile = play(START, *cut, *cut, ELSEWHERE)
    assert profile == play(START, *[f"block 100 {WHOLE}"] * 2, ELSEWHERE)
    assert profile.instructions == 1 + 2 * 5 + 2


def test_a_block_that_is_left_twice_is_counted_once(play: Play) -> None:
    cut = [f"block 100 {WHOLE}", LDR, f"block 104 {BEHIND_LDR}", STR, f"block 106 {BEHIND_STR}"]
    assert play(START, *cut, *cut, ELSEWHERE) == play(START, *[f"block 100 {WHOLE}"] * 2, ELSEWHERE)


def test_an_instruction_of_several_accesses_leaves_its_block_once(play: Play) -> None:
    cut = [f"block 100 {WHOLE}", LDR, LDR, f"block 104 {BEHIND_LDR}"]
    assert play(START, *cut, ELSEWHERE) == play(START, f"block 100 {WHOLE}", ELSEWHERE)


def test_of_a_block_that_is_not_gone_on_with_only_what_ran_is_counted(play: Play) -> None:
    # An interrupt comes behind the access; its handler is the mark, and the rest runs behind it.
    cut = [f"block 100 {WHOLE}", LDR, ELSEWHERE, f"block 104 {BEHIND_LDR}"]
    profile = play(START, *cut)
    assert runs(profile) == {
        ("reset", 0x80, 1): 1,
        ("reset", 0x100, 2): 1,
        ("elsewhere", 0x200, 2): 1,
        ("elsewhere", 0x104, 3): 1,
    }
    assert edges(profile) == {(0x80, 1, 0x100, 2): 1, (0x100, 2, 0x200, 2): 1, (0x200, 2, 0x104, 3): 1}
    assert next(run.block.code.hex() for run in profile.blocks if run.block.pc == 0x100) == WHOLE[:8]
    assert profile.instructions == 1 + 2 + 2 + 3


def test_a_rest_that_ends_elsewhere_than_the_block_is_another_block(play: Play) -> None:
    profile = play(START, f"block 100 {WHOLE}", LDR, f"block 104 {BEHIND_LDR[:12]}", f"block 10a {WHOLE[-4:]}")
    assert runs(profile) == {
        ("reset", 0x80, 1): 1,
        ("reset", 0x100, 2): 1,
        ("reset", 0x104, 2): 1,
        ("reset", 0x10A, 1): 1,
    }


def test_a_block_that_did_not_run_has_no_row(play: Play, tmp_path: Path) -> None:
    play(START, f"block 100 {WHOLE}", LDR, ELSEWHERE)
    rows = (tmp_path / "profile.txt").read_text(encoding="ascii").splitlines()
    assert [row.split()[1:3] for row in rows if row.startswith("block ")] == [["0", "80"], ["1", "100"], ["2", "200"]]


def test_what_ran_of_a_block_up_to_its_second_access_is_counted(play: Play) -> None:
    cut = [f"block 100 {WHOLE}", LDR, f"block 104 {BEHIND_LDR}", STR]
    profile = play(START, *cut, ELSEWHERE)
    assert runs(profile) == {("reset", 0x80, 1): 1, ("reset", 0x100, 3): 1, ("elsewhere", 0x200, 2): 1}


def test_a_loop_whose_body_begins_behind_a_device_access_is_counted_round_by_round(play: Play) -> None:
    # The same blocks in the same order, but no access has left the first: its branch leads back to the instruction behind the ldr.
    profile = play(START, f"block 100 {WHOLE}", f"block 104 {BEHIND_LDR}")
    assert runs(profile) == {("reset", 0x80, 1): 1, ("reset", 0x100, 5): 1, ("reset", 0x104, 3): 1}


def test_an_access_of_a_block_of_one_instruction_that_began_is_nothing_special(play: Play) -> None:
    rows = [START, "block 300 0868", "access 300 40004004", "block 302 0868", "access 302 40004004"]
    assert runs(play(*rows)) == {("reset", 0x80, 1): 1, ("reset", 0x300, 1): 1, ("reset", 0x302, 1): 1}


def test_fills_of_a_block_that_is_left_are_those_of_the_uncut_one(play: Play) -> None:
    # Lines of 4 bytes: the whole block, 12 bytes from 0x100, has 3. The ldr's own access is no device's but a constant in flash.
    memory = "instructions 4 8 2\ndata 4 8 2\nflash 0 1000\nfree 40000000 10000\n"
    at_ldr = "only 102 0868 f00"
    cut = play(START, f"block 100 {WHOLE}", at_ldr, f"block 104 {BEHIND_LDR}", memory=memory)
    uncut = play(START, f"block 100 {WHOLE}", "access 102 f00", memory=memory)
    assert cut == uncut
    (fills,) = (fills for fills in cut.fills if fills.block.pc == 0x100)
    assert isinstance(fills, FillCount)
    assert (fills.at_jumps, fills.in_sequence, fills.data) == (1, 2, 1)


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a qemu-system-arm on PATH that refuses every plugin with these words."""
    monkeypatch.setattr(qemu, "build_ask_api_plugin", lambda: Path("ask.so"))
    qemu.qemu_version.cache_clear()
    plugin_api.cache_clear()

    def put(words: str) -> None:
        program = tmp_path / "bin" / qemu.PROGRAM
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "QEMU emulator version 99.1" && exit\necho "{words}" >&2; exit 1\n',
            encoding="ascii",
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return put


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a test has made qemu.py believe of the machine must not stay."""
    yield
    qemu.qemu_version.cache_clear()
    plugin_api.cache_clear()


def test_qemu_tells_the_version_by_what_it_refuses(answer: Callable[[str], None]) -> None:
    answer("Could not load plugin: requires API version 2147483647, but this QEMU supports only up to version 6")
    assert plugin_api() == 6


def test_a_version_that_the_profiler_is_not_written_for_is_named(answer: Callable[[str], None]) -> None:
    answer("Could not load plugin: requires API version 2147483647, but this QEMU supports only up to version 8")
    with pytest.raises(NotAvailableError, match=r"qemu-system-arm 99\.1 has version 8 of the plugin interface.*1 to 7"):
        plugin_api()


def test_a_qemu_without_plugins_says_so(answer: Callable[[str], None]) -> None:
    answer("-plugin: invalid option")
    with pytest.raises(NotAvailableError, match=r"99\.1 counts nothing: it has no plugins: -plugin: invalid option"):
        plugin_api()


@pytest.mark.qemu
def test_the_qemu_of_this_machine_tells_its_version() -> None:
    major = int(qemu.qemu_version().split(".")[0])
    assert plugin_api() in PLUGIN_APIS
    assert (plugin_api() == 1) == (major < 9)
