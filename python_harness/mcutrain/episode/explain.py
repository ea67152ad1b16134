"""What a baseline says of a run that is held against it: the cause before the figures, where the bits part, and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from mcutrain.episode.baseline import Locked, differences, lock, unlocked_figures
from mcutrain.episode.compare import Divergence
from mcutrain.episode.locked_settings import locked_differences
from mcutrain.episode.prepare import PreparedEpisode
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.runners import make_target
from mcutrain.episode.trail import Trail, name_operator, parting


@dataclass(frozen=True)
class Explanation:
    """A run held against its locked one. episode: as the user called it. where: the runner.

    causes: what differs in settings, or what must have changed if they do not. place: where the bits part, in words, or empty. figures:
    all that differs of what has to be equal; none of them: the run passes. told: what could not be compared.
    """

    episode: str
    where: str
    locked: Locked
    causes: tuple[str, ...]
    place: str
    figures: tuple[str, ...]
    told: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every figure is as locked. Settings that changed no figure are told, and fail nothing."""
        return not self.figures

    @property
    def replay(self) -> str:
        """The command that runs exactly this again."""
        name = shlex.quote(self.episode)
        return f"mcutrain run {name} --board {self.where} --steps {self.locked.steps} --test {self.locked.test}"

    @property
    def accept(self) -> str:
        """The command that locks what is now."""
        return f"mcutrain baseline update {shlex.quote(self.episode)} --board {self.where} --reason '...'"

    @property
    def title(self) -> str:
        """Which run this is, and how it went."""
        name = f"{self.episode} on {self.where}"
        if not self.passed:
            return f"{name}: not as locked"
        told = "; ".join(self.told)
        return f"{name}: as locked{f'; {told}' if told else ''}"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Causes, place and figures, in this order."""
        return tuple(filter(None, (*self.causes, self.place, *self.figures)))

    def lines(self) -> list[str]:
        """The explanation as text: one line where all is as locked."""
        if not self.passed:
            told = [*self.reasons, *self.told, f"to replay: {self.replay}", f"to accept: {self.accept}"]
        elif self.causes:
            told = [f"changed, but no figure with it: {'; '.join(self.causes)}", f"to lock the settings: {self.accept}"]
        else:
            told = []
        return [self.title, *(f"  {line}" for line in told)]

    def sentence(self) -> str:
        """That of a failed run as one line."""
        shown = self.reasons[: max(3, len(self.causes) + 2)]
        more = len(self.reasons) - len(shown)
        said = "; ".join([*shown, *([f"{more} more"] if more else [])])
        return f"{self.episode} on {self.where}: {said}. To replay: {self.replay}. To accept: {self.accept}"


def changed_settings(locked: Locked, now: Locked) -> tuple[str, ...]:
    """What of the settings is not as locked; nothing where the baseline is of an mcutrain that locked none."""
    if locked.settings is None or now.settings is None:
        return ()
    return tuple(locked_differences(locked.settings, now.settings))


def explain(
    episode: str,
    where: str,
    locked: Locked,
    trail: Trail | None,
    prepared: PreparedEpisode,
    record: EpisodeRecord,
    divergence: Divergence | None,
) -> Explanation:
    """Hold a run that has just ended against its locked one; where bits part it runs once more, to name the operator."""
    now = lock(record)
    figures = differences(locked, now)
    causes = list(changed_settings(locked, now))
    place = ""
    if divergence is not None:
        # Golden is what was locked, so this tells where, and which values.
        place = str(divergence)
        figures = figures or ["the run is not what golden does"]
    elif figures and trail is not None:
        found = parting(trail, record.step_records, locked.steps)
        if found is not None and not causes:
            found = name_operator(trail, found, prepared, make_target(prepared.plan, where))
        place = str(found) if found is not None else _no_place(locked, record)
    if figures and not causes:
        causes = [_cause(locked, now)]
    return Explanation(
        episode=episode,
        where=where,
        locked=locked,
        causes=tuple(causes),
        place=place,
        figures=tuple(figures),
        told=tuple(unlocked_figures(locked, now)),
        seconds=record.wall_seconds,
    )


def _no_place(locked: Locked, record: EpisodeRecord) -> str:
    if locked.steps == record.steps:
        return "every step left the same bits"
    return f"the first {min(locked.steps, record.steps):,} steps left the same bits; now there are {record.steps:,}"


def _cause(locked: Locked, now: Locked) -> str:
    """What must have changed where no setting has."""
    if locked.settings is None:
        return "the baseline locks no settings, as older versions wrote it: what changed is not known"
    known = [compiler for compiler in now.compilers if compiler in locked.compilers]
    compiler = "" if known else f", or the compiler, which was {' or '.join(locked.compilers)}"
    if locked.plan_crc32 != now.plan_crc32:
        return "the settings are as locked, the plan they give is another: mcutrain's import, method or planning has changed"
    return f"the settings and the plan are as locked: the kernels, their golden reference or the runtime have changed{compiler}"
