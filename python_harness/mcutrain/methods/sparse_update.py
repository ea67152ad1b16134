"""Method 1: sparse update with quantisation-aware scaling.

Biases of chosen layers, weights of chosen layers (all of them or the input channels of largest magnitude) and the float32 head train
by SGD (see qas_trainer.py), against the cross entropy with a label or the mean squared error from a sample's values (see loss.py).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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
from mcutrain.methods.loss import LOSS_DESCRIPTION, LossOption, chosen_loss
from mcutrain.methods.minibatch import Minibatch
from mcutrain.methods.options import MethodOptions
from mcutrain.methods.qas_trainer import QasTrainer
from mcutrain.methods.scheme import parse_scheme
from mcutrain.methods.training_graph import TrainingGraph, add_io
from mcutrain.ops.errors import ERROR_MODES
from mcutrain.ops.programs import INFER, SAMPLE, UPDATE, Run
from mcutrain.ops.rules import Lowering
from mcutrain.ops.steps import Phase, StepBuilder
from mcutrain.strict import MOST


class SparseUpdateOptions(MethodOptions):
    """What a user can choose."""

    scheme: str = Field(
        default="biases",
        max_length=4096,
        description="what trains: head, biases, full, or e.g. 'b20; 24@1/4 conv30@1/2' (docs/schemes.md)",
    )
    errors: Literal["b16", "f32"] = Field(
        default="b16", description="error tensors: b16 (block floating point) or f32 (reference)"
    )
    weights: Literal["master16", "stochastic8", "nearest8"] = Field(
        default="master16", description="weight rounding: eight bits more of state, stochastic, or to nearest"
    )
    batch: int = Field(default=1, ge=1, lt=1 << 31, description="samples whose gradients make one update")
    gradient_scaling: Literal["qas", "none"] = Field(
        default="qas", description="quantisation-aware scaling, or none for comparison"
    )
    input_scale_correction: bool = Field(
        default=True, description="count the input's scale as 1/255 in the layer that reads it"
    )
    loss: LossOption = Field(default="auto", description=LOSS_DESCRIPTION)
    step_cap: float = Field(
        default=0.5,
        ge=0,
        le=MOST,
        allow_inf_nan=False,
        description="largest step of a tensor, in LSB (weights) or output LSB (biases); 0 for none",
    )


def sparse_update(graph: Graph, options: SparseUpdateOptions) -> TrainingGraph:
    """The training graph of ``graph`` under ``options``.

    Raises UsageError for a network that cannot be trained, or for options that do not fit it.
    """
    loss = chosen_loss(graph, options.loss)
    head = find_head(graph, loss)
    body = graph.operators[: head.index]
    layers = trainable_layers(graph)
    training = layer_training(graph, parse_scheme(options.scheme, layers), layers)
    build = StepBuilder()
    minibatch = Minibatch(options.batch)
    context = Lowering(
        graph=graph,
        build=build,
        mode=ERROR_MODES[options.errors],
        trainer=QasTrainer(
            options.weights,
            options.step_cap,
            options.gradient_scaling,
            options.input_scale_correction,
            minibatch,
        ),
        training=training,
        wanted=wanted_errors(body, training),
    )
    outputs = graph.tensors[head.op.outputs[0]].elements
    context.place[graph.input] = add_io(build, graph, outputs if loss == "mse" else 0)
    minibatch.begin(build)
    lower_forward(context, body)
    classifier = add_head(context, head.op)
    gradient = add_loss(context, classifier, loss)
    features = head.op.inputs[0]
    error = add_head_error(context, classifier, gradient) if features in context.wanted else None
    add_head_update(context, classifier, gradient, minibatch)
    if error is not None:
        walk_back(context, body, features, error)
    forward = Run(tuple(step for step in build.steps if step.phase is Phase.FORWARD))
    update = {UPDATE: (Run(tuple(build.update_steps)),)} if build.update_steps else {}
    rest = Run(tuple(step for step in build.steps if step.phase is not Phase.FORWARD))
    return TrainingGraph(
        graph=graph,
        method="sparse_update",
        options={**options.model_dump(), "loss": loss},
        buffers=build.buffers,
        programs={INFER: (forward,), SAMPLE: (forward, rest), **update},
        batch=options.batch,
        classes=outputs,
        loss=loss,
        logits=classifier.logits,
    )
