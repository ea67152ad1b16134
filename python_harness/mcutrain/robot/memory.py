"""Keywords about memory: what a plan says it needs, and what a run used."""

from __future__ import annotations

import json
from typing import Any

from robot.api import Failure, logger
from robot.api.deco import keyword

from mcutrain.episode.definition import load_episode
from mcutrain.episode.prepare import prepare
from mcutrain.episode.record import EpisodeRecord
from mcutrain.episode.targets import planned_static_bytes
from mcutrain.errors import McutrainError
from mcutrain.robot.session import Session
from mcutrain.robot.words import Count, Place


class MemoryKeywords:
    """The board's limits are real, and the plan knows them before the run does."""

    session: Session

    @keyword("Peak SRAM Should Be At Most ${bytes} Bytes")
    def peak_sram_should_be_at_most(self, bytes: Count) -> None:
        """Assert static data plus the stack's high-water mark, in bytes; also that they are within the board's SRAM.

        | Peak SRAM Should Be At Most 8,192 Bytes
        """
        record = self._measured()
        limit = min(bytes, record.sram_limit_bytes)
        if record.sram_peak_bytes > limit:
            raise Failure(f"the peak of SRAM is {record.sram_peak_bytes:,} B, over {limit:,} B")

    @keyword("Static SRAM Should Be What The Plan Says")
    def static_sram_should_be_what_the_plan_says(self) -> None:
        """Assert that the firmware's data and bss are together what the plan of the same episode says, to the byte."""
        record = self._measured()
        try:
            placement = {} if record.input_placement is None else {"input": record.input_placement}
            plan = prepare(load_episode(self.session.last.episode).changed(placement, record.options)).plan
        except McutrainError as error:
            raise Failure(str(error)) from None
        measured = {
            "static SRAM": record.sram.data + record.sram.bss,
            "arena": record.sram.arena,
            "trainable state": record.sram.trainable,
            "state that is zero at reset": record.sram.state,
        }
        planned = {
            "static SRAM": planned_static_bytes(plan),
            "arena": plan.arena_bytes,
            "trainable state": plan.persistent_bytes,
            "state that is zero at reset": plan.state_bytes,
        }
        wrong = [
            f"{name} is {measured[name]:,} B, planned {planned[name]:,} B"
            for name in planned
            if measured[name] != planned[name]
        ]
        if wrong:
            raise Failure(f"{record.episode} on {record.board}: {'; '.join(wrong)}")
        logger.info(", ".join(f"{name} {size:,} B" for name, size in planned.items()) + ", planned and measured")

    @keyword
    def stack_should_stay_within_its_reserve(self) -> None:
        """Assert that the stack's high-water mark was measured, and is no larger than what the linker set aside for it."""
        sram = self._measured().sram
        if not 0 < sram.stack_peak <= sram.stack_reserve:
            raise Failure(f"the stack took {sram.stack_peak:,} B, its reserve is {sram.stack_reserve:,} B")

    @keyword("Training ${model} With Scheme ${scheme} Should Fit On ${board}")
    def training_should_fit(self, model: str, scheme: str, board: Place, budget: Count | None = None) -> None:
        """Assert that the plan of a model file stays within the board, or within ``budget`` bytes of its SRAM."""
        plan = self._plan(model, scheme, board, budget)
        outcome = self.session.ended
        if outcome.exit_code != 0 or not plan["fits"] or plan["sram_peak_bytes"] > plan["sram_limit_bytes"]:
            raise Failure(outcome.message)

    @keyword("Training ${model} With Scheme ${scheme} Should Not Fit On ${board}")
    def training_should_not_fit(self, model: str, scheme: str, board: Place, budget: Count | None = None) -> None:
        """Assert that the plan of a model file is refused with exit code 2, in one line with the bytes it needs and the bytes there are.

        ``budget`` takes less of the board's SRAM than there is.

        | Training mlperf_tiny/pretrainedResnet_quant.tflite With Scheme full Should Not Fit On m4-256k
        """
        self._should_not_fit(model, scheme, board, budget)

    @keyword("Training ${model} With Scheme ${scheme} Should Not Fit In ${bytes} Bytes On ${board}")
    def training_should_not_fit_in(self, model: str, scheme: str, bytes: Count, board: Place) -> None:
        """As `Training ${model} With Scheme ${scheme} Should Not Fit On ${board}` with a ``budget``.

        | Training ${DIGITS} With Scheme full Should Not Fit In 32,768 Bytes On m4-256k
        """
        self._should_not_fit(model, scheme, board, bytes)

    def _should_not_fit(self, model: str, scheme: str, board: Place, budget: Count | None) -> None:
        plan = self._plan(model, scheme, board, budget)
        outcome = self.session.ended
        needed, limit = plan["sram_peak_bytes"], plan["sram_limit_bytes"]
        if outcome.exit_code != 2 or plan["fits"] or needed <= limit:
            raise Failure(f"it fits: {needed:,} of {limit:,} B, exit code {outcome.exit_code}")
        missing = [text for text in (f"{needed:,}", f"{limit:,}") if text not in outcome.message]
        if missing or len(outcome.stderr.strip().splitlines()) != 1:
            raise Failure(f"refused without saying {' and '.join(missing) or 'so in one line'}: {outcome.stderr}")

    def _measured(self) -> EpisodeRecord:
        record = self.session.last.record
        if record.sram_limit_bytes == 0:
            raise Failure(f"{record.board} has no memory of a board to measure; train on a board")
        return record

    def _plan(self, model: str, scheme: str, board: Place, budget: Count | None) -> dict[str, Any]:
        given = [] if budget is None else ["--budget", str(budget)]
        outcome = self.session.tool(["plan", model, "--board", board, "--scheme", scheme, "--json", *given])
        try:
            document = json.loads(outcome.stdout)
        except ValueError:
            raise Failure(outcome.message) from None
        assert isinstance(document, dict)
        return document
