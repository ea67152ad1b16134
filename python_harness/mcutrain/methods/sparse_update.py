"""Method 1: sparse update with quantisation-aware scaling.

Biases of chosen layers, weights of chosen layers (all of them or the input channels of largest magnitude) and the float32 head train
by SGD (see qas_trainer.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mcutrain.errors import UsageError
from mcutrain.graph import Graph
from mcutrain.methods.backward import walk_back, wanted_errors
from mcutrain.methods.channels import layer_training
from mcutrain.methods.classifier_head import (
    add_head,
    add_head_error,
    add_head_update,
    add_loss,
    find_head,
    trainable_layers,
)
from mcutrain.methods.forward import lower_forward
from mcutrain.methods.qas_trainer import GRADIENT_SCALINGS, WEIGHT_ROUNDINGS, QasTrainer
from mcutrain.methods.scheme import parse_scheme
from mcutrain.methods.training_graph import TrainingGraph, add_io
from mcutrain.ops.errors import ERROR_MODES
from mcutrain.ops.programs import INFER, SAMPLE, Run
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import Phase, StepBuilder


@dataclass(frozen=True)
class SparseUpdateOptions:
    """What a user can choose.

    scheme: see Scheme. error_mode: b16 or f32. weight_rounding: master16, stochastic8 or nearest8. step_cap: largest step of a tensor
    in LSB (weights) or output LSB (biases), 0 for none. gradient_scaling: qas or none (for comparison). input_scale_correction: count
    the input's scale as 1/255 in the layer that reads it.
    """

    scheme: str = "biases"
    error_mode: str = "b16"
    weight_rounding: str = "master16"
    step_cap: float = 0.5
    gradient_scaling: str = "qas"
    input_scale_correction: bool = True


def _check_choice(what: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise UsageError(f"{what} {value!r} is not one of {', '.join(valid)}")


def sparse_update(graph: Graph, options: SparseUpdateOptions) -> TrainingGraph:
    """The training graph of ``graph`` under ``options``.

    Raises UsageError for a network that cannot be trained, or for options that do not fit it.
    """
    _check_choice("error mode", options.error_mode, tuple(ERROR_MODES))
    _check_choice("weight rounding", options.weight_rounding, WEIGHT_ROUNDINGS)
    _check_choice("gradient scaling", options.gradient_scaling, GRADIENT_SCALINGS)
    head = find_head(graph)
    body = graph.operators[: head.index]
    layers = trainable_layers(graph)
    training = layer_training(graph, parse_scheme(options.scheme, layers), layers)
    build = StepBuilder()
    context = Lowering(
        graph=graph,
        build=build,
        mode=ERROR_MODES[options.error_mode],
        trainer=QasTrainer(
            options.weight_rounding, options.step_cap, options.gradient_scaling, options.input_scale_correction
        ),
        training=training,
        wanted=wanted_errors(body, training),
    )
    context.place[graph.input] = add_io(build, graph)
    lower_forward(context, body)
    classifier = add_head(context, head.op)
    gradient = add_loss(context, classifier)
    features = head.op.inputs[0]
    error = add_head_error(context, classifier, gradient) if features in context.wanted else None
    add_head_update(context, classifier, gradient)
    if error is not None:
        walk_back(context, body, features, error)
    forward = Run(tuple(step for step in build.steps if step.phase is Phase.FORWARD))
    rest = Run(tuple(step for step in build.steps if step.phase is not Phase.FORWARD))
    return TrainingGraph(
        graph=graph,
        method="sparse_update",
        options=dataclasses.asdict(options),
        buffers=build.buffers,
        programs={INFER: (forward,), SAMPLE: (forward, rest)},
        classes=classifier.params.classes,
        logits=classifier.logits,
    )
