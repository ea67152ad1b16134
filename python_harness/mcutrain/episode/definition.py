"""EpisodeDefinition: one YAML file that says what is trained where, on what and how."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from mcutrain.boards import board_names
from mcutrain.errors import UsageError
from mcutrain.methods.new_head import MOST_CLASSES
from mcutrain.methods.options import MethodOptions, NoOptions
from mcutrain.methods.registry import DEFAULT_METHOD, METHODS, find_method, methods_with_option
from mcutrain.paths import EPISODES, is_file
from mcutrain.strict import (
    LARGEST_FLOAT32,
    MOST,
    SMALLEST_FLOAT32,
    StrictModel,
    no_such_key,
    one_line,
    refuse,
    relocated,
)
from mcutrain.yaml_file import read_yaml

RATE_TABLE_ENTRIES = 250
WORDS = frozenset({"name", "description", "boards", "golden_steps"})
"""Keys of an episode that do not change what a run computes."""
MOST_STEPS = 1 << 24  # 64 MiB of order; a day of the fastest network on a board


class DataSource(StrictModel):
    """Where the samples come from: a known set under a shift, or a .npz file of the user's.

    set, shift, severity, seed: see mcutrain.datasets; the shift none tests on the whole set and trains nothing. file: a .npz with
    adapt_samples, test_samples, and what they are to be: adapt_labels and test_labels, adapt_targets and test_targets (float32 values),
    or neither (an autoencoder's samples are their own targets); without the adapt arrays it trains nothing either.
    evaluate: the part whose accuracy is measured: test, or validate while settings are chosen (validate_samples of a file, the third part
    of a set, or every fourth adapt sample, which is then not trained on).
    adapt, test: how many samples to use (all where not given; of a validate part always all). targets: "input" trains an autoencoder on
    samples whatever labels they have.
    pixel_scale: real input value of one pixel step, 1 or 1/255 as the network was trained.
    """

    set: str | None = None
    shift: str | None = None
    severity: int = Field(default=5, ge=1, le=5)
    seed: int = Field(default=0, ge=0, lt=2**32)
    file: str | None = None
    adapt: int | None = Field(default=None, ge=1, le=MOST)
    test: int | None = Field(default=None, ge=1, le=MOST)
    evaluate: Literal["test", "validate"] = "test"
    targets: Literal["input"] | None = None
    pixel_scale: float | None = Field(default=None, ge=SMALLEST_FLOAT32, le=LARGEST_FLOAT32, allow_inf_nan=False)

    @property
    def evaluated(self) -> int | None:
        """How many samples of the evaluated part to use; None for all."""
        return self.test if self.evaluate == "test" else None

    @model_validator(mode="after")
    def _one_source(self) -> DataSource:
        if (self.file is None) == (self.set is None):
            raise ValueError("give either 'set' and 'shift', or 'file'")
        if self.set is not None and self.shift is None:
            raise ValueError("a 'set' needs a 'shift'")
        return self


class EpisodeDefinition(StrictModel):
    """One training episode. Field names are the keys of its YAML file.

    method: a name of the table of methods. options: its own model; their keys may also stand beside those of the episode.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    description: str
    model: str
    output: str | None = Field(
        default=None, min_length=1, description="tensor of the model file to end at; None for the file's own output"
    )
    data: DataSource
    boards: tuple[str, ...] = Field(min_length=1)
    method: str = DEFAULT_METHOD
    options: SerializeAsAny[MethodOptions] = NoOptions()
    new_head: int | None = Field(
        default=None, ge=2, le=MOST_CLASSES, description="replace the head by a fresh one of so many classes"
    )
    input: Literal["sram", "external"] = Field(
        default="sram", description="where the sample lies: in SRAM, or in memory that the board has mapped anyway"
    )
    learning_rate: float = Field(ge=SMALLEST_FLOAT32, le=LARGEST_FLOAT32, allow_inf_nan=False)
    schedule: Literal["cosine", "constant"] = "cosine"
    epochs: int = Field(default=1, ge=1, le=MOST)
    steps: int | None = Field(default=None, ge=0, le=MOST, description="stop after this many steps of the schedule")
    seed: int = Field(default=1, ge=1, lt=2**32)
    golden_steps: int = Field(
        default=200, ge=0, le=MOST, description="steps that the golden reference repeats on every run"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, document: Any) -> Any:
        """Gather the method's options, from ``options`` and from beside the episode's own keys, and check them."""
        if not isinstance(document, dict):
            return document
        name = document.get("method", DEFAULT_METHOD)
        if not isinstance(name, str) or name not in METHODS:
            refuse({"method": f"there is no method {name!r}: give one of {', '.join(METHODS)}"})
        return _gathered(document, name, {key for key in cls.model_fields if key != "options"})

    def changed(
        self, changes: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> EpisodeDefinition:
        """The episode with some keys, and some options of its method, replaced; another method begins with its own defaults.

        Raises UsageError for what the models refuse.
        """
        own = self.model_dump()
        method = find_method((changes or {}).get("method", self.method)).name
        current = own.pop("options")
        kept = current if method == self.method else {}
        for key in options or {}:
            if key not in METHODS[method].options.model_fields:
                raise UsageError(f"{key}: {_not_an_option(key, method)}")
        try:
            # Options beside the episode's keys: what is wrong with one is then said of the key as it was given.
            return EpisodeDefinition.model_validate({**own, **kept, **(options or {}), **(changes or {})})
        except ValidationError as error:
            raise UsageError(one_line(error)) from error

    def total_steps(self, adapt_count: int) -> int:
        """Steps of the whole schedule with batch 1."""
        return self.epochs * adapt_count

    def order(self, adapt_count: int) -> NDArray[np.uint32]:
        """Sample of every step: each epoch its own permutation, from the seed. Raises UsageError for more than MOST_STEPS."""
        total = self.total_steps(adapt_count)
        steps = total if self.steps is None else min(total, self.steps)
        if steps > MOST_STEPS:
            raise UsageError(
                f"{self.name}: {steps:,} steps, a run takes at most {MOST_STEPS:,}; lower epochs or give steps"
            )
        # RandomState: NumPy has frozen its streams, and baselines rest on them.
        random = np.random.RandomState(self.seed)
        order = np.empty(steps, np.uint32)
        for start in range(0, steps, max(adapt_count, 1)):
            order[start : start + adapt_count] = random.permutation(adapt_count)[: steps - start]
        return order

    def learning_rates(self, adapt_count: int) -> tuple[NDArray[np.float32], int]:
        """(rates, steps per rate). Cosine: rate * (1 + cos(pi n / steps)) / 2 at the first step of each entry."""
        total = self.total_steps(adapt_count)
        if self.schedule == "constant" or total == 0:
            return np.array([self.learning_rate], dtype=np.float32), max(total, 1)
        steps_per_rate = math.ceil(total / RATE_TABLE_ENTRIES)
        starts = range(0, total, steps_per_rate)
        rates = [self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * start / total)) for start in starts]
        return np.array(rates, dtype=np.float32), steps_per_rate


def _gathered(document: dict[str, Any], method: str, own: set[str]) -> dict[str, Any]:
    """The document with the checked options of its method, wherever they stood. own: the episode's other keys."""
    model = METHODS[method].options
    nested = document.get("options", {})
    if isinstance(nested, MethodOptions):
        nested = nested.model_dump()
    if not isinstance(nested, dict):
        refuse({"options": f"give the options of method {method} as keys with values"})
    beside = {key: value for key, value in document.items() if key in model.model_fields}
    refuse({key: "given twice, in 'options' and beside it; leave one out" for key in beside if key in nested})
    unknown = [str(key) for key in document if key not in own and key not in beside and key != "options"]
    refuse({key: _not_an_option(key, method, own | {"options"}) for key in unknown[:1]})
    try:
        options = model.model_validate({**nested, **beside})
    except ValidationError as error:
        raise relocated(error, lambda key: (key,) if key in beside else ("options", key)) from None
    return {**{key: value for key, value in document.items() if key in own}, "options": options}


def _not_an_option(key: str, method: str, others: Iterable[str] = ()) -> str:
    """What to say of a key that the method does not have. others: keys that would do as well."""
    elsewhere = methods_with_option(key)
    if elsewhere:
        return f"an option of method {', '.join(elsewhere)}, not of {method}"
    return no_such_key(key, [*METHODS[method].options.model_fields, *others])


def _beside(definition: EpisodeDefinition, folder: Path) -> EpisodeDefinition:
    """Model and data that lie beside the episode's file are meant there, wherever the tool is started."""
    changes: dict[str, object] = {}
    if is_file(folder / definition.model):
        changes["model"] = str(folder / definition.model)
    if definition.data.file is not None and is_file(folder / definition.data.file):
        changes["data"] = definition.data.model_copy(update={"file": str(folder / definition.data.file)})
    return definition.model_copy(update=changes)


def episode_names() -> tuple[str, ...]:
    """Names of the project's own episodes."""
    return tuple(sorted(path.stem for path in EPISODES.glob("*.yaml")))


def load_episode(name_or_path: str) -> EpisodeDefinition:
    """An episode by name, or from the YAML file of a user. Raises UsageError with one line for anything wrong."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not is_file(path):
            raise UsageError(f"no episode file {name_or_path!r}")
    else:
        path = EPISODES / f"{name_or_path}.yaml"
        if name_or_path not in episode_names():
            raise UsageError(
                f"no episode {name_or_path!r}; there are {', '.join(episode_names())}, or give a .yaml file"
            )
    try:
        definition = _beside(EpisodeDefinition.model_validate(read_yaml(path)), path.parent)
    except ValidationError as error:
        raise UsageError(f"{path.name}: {one_line(error)}") from error
    for board in definition.boards:
        if board not in board_names():
            raise UsageError(f"{path.name}: boards: no board {board!r}; there are {', '.join(board_names())}")
    return definition
