"""Energy from a datasheet's current, and what a board's file must say for it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mcutrain.boards import Board, board_names, load_board
from mcutrain.timing.energy import Supply, supply_of


def test_energy_is_voltage_times_current_times_time() -> None:
    # 100 uA/MHz at 120 MHz are 12 mA; 120 million cycles take a second: 3.3 V * 12 mA * 1 s = 39.6 mJ.
    assert Supply(100.0, 3300.0, "s").millijoules(120e6) == pytest.approx(39.6)


def test_a_board_without_a_current_has_no_supply() -> None:
    without = {"supply_ua_per_mhz": None, "supply_mv": None, "supply_source": None}
    assert supply_of(load_board("m4-256k").model_copy(update=without)) is None


def test_a_current_without_its_source_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        Board.model_validate({**load_board("m4-256k").model_dump(), "supply_source": None})


@pytest.mark.parametrize("name", board_names())
def test_each_board_names_the_source_of_its_current(name: str) -> None:
    supply = supply_of(load_board(name))
    assert supply is not None
    assert supply.source.startswith("STM32")
