"""Keywords that run the command line tool as a user does, on good input and on bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from robot.api import Failure, logger
from robot.api.deco import keyword

from mcutrain.paths import PROJECT
from mcutrain.robot.session import Session
from mcutrain.robot.words import Count, runners_on_emulator

# Lines on standard error that are no error: what `run` warns of.
_NOTES = ("warning: ",)


class CommandKeywords:
    """The command line tool: what it answers, how it fails, and what it leaves behind."""

    session: Session

    @keyword
    def run_mcutrain(self, *arguments: str) -> str:
        """Run the tool in an empty folder of its own, with these arguments; returns its standard output.

        Whatever it writes, builds and temporary files too, belongs into that folder: see `Nothing Should Be Left Behind`. Skips
        where the tool says that this machine lacks something (exit code 77). Boards of ``run`` and ``verify`` are on the library's
        ``emulator``, where it has one and they do not say theirs.

        | Run Mcutrain    inspect    ${EXAMPLES}/digits/digits.onnx
        """
        folder = self.session.new_folder()
        arguments_there = runners_on_emulator(arguments, self.session.emulator)
        outcome = self.session.tool(arguments_there, folder=folder, private=True)
        self._folder = folder
        return outcome.stdout

    @keyword
    def command_should_pass(self) -> None:
        """Assert that the last command ended with exit code 0."""
        outcome = self.session.ended
        if outcome.exit_code != 0:
            raise Failure(f"exit code {outcome.exit_code}: {outcome.message}")

    @keyword("Command Should Fail With Exit Code ${code} And One Line")
    def command_should_fail(self, code: int) -> None:
        """Assert the exit code, and that standard error is one line that begins with the tool's name, behind warnings.

        | Command Should Fail With Exit Code 2 And One Line
        """
        outcome = self.session.ended
        lines = [line for line in outcome.stderr.splitlines() if not line.startswith(_NOTES)]
        if outcome.exit_code != code:
            raise Failure(f"exit code {outcome.exit_code}, not {code}: {outcome.message}")
        if len(lines) != 1 or not lines[0].startswith("mcutrain: "):
            raise Failure(f"not one line on standard error but {len(lines)}: {outcome.stderr}")

    @keyword
    def error_should_say(self, *texts: str) -> None:
        """Assert that each of the texts stands in the last command's one line of error."""
        message = self.session.ended.message
        missing = [text for text in texts if text not in message]
        if missing or not texts:
            raise Failure(f"{' and '.join(map(repr, missing)) or 'nothing to look for'} is not in: {message}")

    @keyword
    def nothing_should_be_left_behind(self) -> None:
        """Assert that the last `Run Mcutrain` left no file: not in its folder, nor among results, builds and temporary files."""
        self.session.ended  # noqa: B018 - fails where no command was run
        left = sorted(str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if not path.is_dir())
        if left:
            raise Failure(f"{len(left)} files were left behind: {', '.join(left[:10])}")

    @keyword
    def all_runners_should_agree(self, *runners: str) -> None:
        """Assert that the last command was a ``verify ... --json`` over just these runners, and that all have the same digest.

        Boards are on the library's ``emulator``, as with `Run Mcutrain`.

        | Run Mcutrain    verify    digits-sparse    --runners    golden,host    --json
        | All Runners Should Agree    golden    host
        """
        self.command_should_pass()
        document = json.loads(self.session.ended.stdout)
        digests = document["digests"]
        wanted = [self.session.runner(name) for name in runners]
        if sorted(digests) != sorted(wanted):
            raise Failure(f"compared were {', '.join(digests)}, not {', '.join(wanted)}")
        if document["steps"] == 0 or len(set(digests.values())) != 1 or not document["matches"]:
            raise Failure(f"over {document['steps']} steps: {digests}, {document['divergences']}")
        logger.info(f"{document['steps']} steps, digest {next(iter(digests.values()))} on {', '.join(digests)}")

    @keyword
    def change_the_sources(self, file: str, old: str, new: str) -> None:
        """Take a copy of the project in which a text, which must stand there once, is another; all commands of this test then run that.

        | Change The Sources    src/kernels/update/update_bias.c    - mct_round_s32(    - (int32_t)(
        """
        root = self.session.project if self.session.project != PROJECT else self.session.copy_project()
        path = root / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(old) != 1:
            raise Failure(f"{old!r} stands {text.count(old)} times in {file}, not once; give a text that does")
        path.write_text(text.replace(old, new), encoding="utf-8")
        logger.info(f"{file}: {old!r} is now {new!r}")

    @keyword("Copy Of ${file} Cut To ${bytes} Bytes")
    def copy_cut_to(self, file: Path, bytes: Count) -> Path:
        """A copy of a file with only its first bytes, or with zeros after its end where it is shorter; returns its path."""
        copy = self._copy(file)
        with copy.open("r+b") as stream:
            stream.truncate(bytes)
        return copy

    @keyword("Copy Of ${file} With Bit ${bit} Of Byte ${byte} Flipped")
    def copy_with_bit_flipped(self, file: Path, bit: int, byte: int) -> Path:
        """A copy of a file in which one bit is another; returns its path."""
        content = bytearray(file.read_bytes())
        content[byte] ^= 1 << bit
        copy = self._copy(file)
        copy.write_bytes(content)
        return copy

    def _copy(self, file: Path) -> Path:
        return Path(shutil.copy2(file, self.session.new_folder()))

    _folder: Path
