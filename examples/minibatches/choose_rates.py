#!/usr/bin/env python3
"""Choose the learning rate of each minibatch size on validation samples, then train with it and test, once.

    .venv/bin/python examples/minibatches/choose_rates.py resnet8-noise --batches 1 8 32

Runs on this machine by the same library as the boards (bit for bit). No rate is chosen on test samples: those of CIFAR-10 are chosen on
1,000 images (100 a class) that are in neither part of the episode, under the same corruption; those of other sets on a quarter of the
adapt samples of each class, which the runs that choose do not train on. The runs that choose are shorter. Prints a table, and with
--json one document.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

import numpy as np

from mcutrain.emulators.image import EpisodeImage
from mcutrain.episode.definition import EpisodeDefinition, load_episode
from mcutrain.episode.prepare import PreparedEpisode, prepare
from mcutrain.episode.runners import Target, make_target
from mcutrain.episode.samples import CodedData, load_coded_data

STEP = 3.0
GRID = (1 / STEP, 1.0, STEP)  # times the episode's own rate, times the root of the batch


def validation_data(prepared: PreparedEpisode) -> CodedData:
    """What rates are chosen on: the adapt samples to train on, and validation samples in the place of the test samples."""
    source = prepared.definition.data.model_copy(update={"evaluate": "validate"})
    return load_coded_data(source, prepared.plan.training)


def accuracy(host: Target, prepared: PreparedEpisode, data: CodedData, **changes: float) -> float:
    """Accuracy on ``data.test`` in percent, after the episode's schedule over ``data.adapt``, some keys of the episode changed."""
    definition: EpisodeDefinition = prepared.definition.model_copy(update=changes)
    image: EpisodeImage = dataclasses.replace(prepared, definition=definition, data=data).image(evaluate=(False, True))
    lines = host.run(dataclasses.replace(image, digest_every=max(image.steps, 1)))
    found = next(line for line in lines if line.kind == "evaluation")
    return 100 * found.integer("correct") / found.integer("total")


def main() -> None:
    """Run the choice and the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("episodes", nargs="+", help="names of episodes, or .yaml files")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32], metavar="N")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="SEED", help="of the runs that test")
    parser.add_argument(
        "--choose-epochs",
        type=int,
        default=2,
        metavar="N",
        help="epochs of the runs that choose, with a schedule of that length",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    arguments = parser.parse_args()
    document = []
    for name in arguments.episodes:
        for batch in arguments.batches:
            episode = load_episode(name)
            options = episode.options.model_copy(update={"batch": batch})
            prepared = prepare(episode.model_copy(update={"options": options}))
            host = make_target(prepared.plan, "host")
            choosing = validation_data(prepared)
            rates = [episode.learning_rate * factor * batch**0.5 for factor in GRID]
            epochs = min(arguments.choose_epochs, episode.epochs)
            validated: dict[float, float] = {}
            while rates:
                for rate in rates:
                    validated[rate] = accuracy(host, prepared, choosing, learning_rate=rate, epochs=epochs)
                best = max(validated, key=lambda rate: validated[rate])
                # A best rate at the end of those tried may not be the best there is.
                rates = [best * STEP] if best == max(validated) else [best / STEP] if best == min(validated) else []
            tested = [
                accuracy(host, prepared, prepared.data, learning_rate=best, seed=seed) for seed in arguments.seeds
            ]
            row = {
                "episode": name,
                "batch": batch,
                "validation_accuracy": {f"{rate:.3g}": validated[rate] for rate in sorted(validated)},
                "learning_rate": float(f"{best:.3g}"),
                "test_accuracy": tested,
                "static_sram_bytes": prepared.plan.static_bytes,
            }
            document.append(row)
            tried = " ".join(f"{rate:.2g}: {validated[rate]:.1f}" for rate in sorted(validated))
            print(
                f"{name:<16} batch {batch:<3} rate {best:<8.3g} test {np.mean(tested):5.1f} % "
                f"({', '.join(f'{found:.1f}' for found in tested)})  static SRAM {prepared.plan.static_bytes:,} B  [{tried}]",
                file=sys.stderr if arguments.json else sys.stdout,
                flush=True,
            )
    if arguments.json:
        json.dump(document, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
