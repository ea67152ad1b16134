"""examples/minibatches: the rate of each minibatch size, chosen on samples that are no test samples."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mcutrain.paths import PROJECT

SCRIPT = PROJECT / "examples" / "minibatches" / "choose_rates.py"


@pytest.mark.train
def test_the_best_rate_on_validation_samples_is_the_one_that_is_tested() -> None:
    command = [sys.executable, str(SCRIPT), "digits-biases", "--batches", "4", "--choose-epochs", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    validated = {float(rate): found for rate, found in row["validation_accuracy"].items()}
    assert len(validated) >= 3 and row["learning_rate"] == max(validated, key=lambda rate: validated[rate])
    assert row["learning_rate"] not in (min(validated), max(validated)), "the best of those tried is not at an end"
    assert len(row["test_accuracy"]) == 1 and row["test_accuracy"][0] > 56.5, (
        "better than before: the episode begins there"
    )
