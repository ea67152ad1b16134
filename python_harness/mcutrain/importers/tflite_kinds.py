"""What a .tflite model is, where it is no int8 network: one line that says so and what to do."""

from __future__ import annotations

from collections import Counter

from tflite import BuiltinOperator

from mcutrain.importers.common import HOW_TO_CHOOSE, MAX_LISTED, listed
from mcutrain.importers.tflite_file import FileModel, FileOperator

HOW_TO_QUANTISE = (
    "quantise it to int8 first, with TensorFlow's TFLiteConverter: optimizations = [tf.lite.Optimize.DEFAULT], "
    "representative_dataset = a generator of samples, target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"
)

_RECURRENT = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "custom operator UnidirectionalSequenceGru",
    }
)  # fmt: skip
_STATE = frozenset({"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
_CONTROL_FLOW = frozenset({"CALL", "IF", "WHILE"})
_LOOKUP = frozenset({"EMBEDDING_LOOKUP", "EMBEDDING_LOOKUP_SPARSE", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_LOOKUP"})
_COMPILED = {
    "custom operator edgetpu-custom-op": "the Edge TPU",
    "custom operator ethos-u": "an Arm Ethos-U",
    "custom operator Neutron": "an NXP Neutron",
}
_CONVERSIONS = (BuiltinOperator.DEQUANTIZE, BuiltinOperator.QUANTIZE)
_WEIGHTED = frozenset({"BATCH_MATMUL", "CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
# Of each of these, which operand is the input; the weights are the second in all of them.
_INPUT_OPERAND = {"TRANSPOSE_CONV": 2}


def what_else_it_is(model: FileModel) -> str | None:
    """What the model is where it is no int8 network, and what to do; None for an int8 network (supported or not)."""
    by_operators = _by_operators(model)
    if by_operators is not None:
        return by_operators
    tensors = [model.tensors[i] for op in model.operators for i in (*op.inputs, *op.outputs) if i >= 0]
    if any(t.sparse for t in tensors):
        return "a model with sparse weights: convert it without sparsity, as dense int8"
    if any(t.dtype in ("int4", "int2") for t in tensors):
        return "a model with weights of 4 bits or less: only int8 weights can be imported; quantise it to int8"
    return _by_numbers(model) or _tail(model)


def _by_operators(model: FileModel) -> str | None:
    kinds = Counter(op.kind for op in model.operators)
    dtypes = {model.tensors[i].dtype for op in model.operators for i in (*op.inputs, *op.outputs) if i >= 0}

    def named(group: frozenset[str]) -> str:
        return ", ".join(sorted(group.intersection(kinds)))

    for kind, device in _COMPILED.items():
        if kind in kinds:
            return f"a model compiled for {device}: take the .tflite file that it was compiled from"
    if named(_RECURRENT):
        return f"a recurrent network ({named(_RECURRENT)}): only feed-forward networks can be imported"
    if named(_STATE) or any(model.tensors[i].variable for op in model.operators for i in op.inputs if i >= 0):
        reason = named(_STATE) or "variable tensors"
        return (
            f"a network that keeps state between its inputs ({reason}), as streaming models do: only feed-forward networks "
            "can be imported; export the one that takes the whole window"
        )
    if named(_CONTROL_FLOW):
        return f"a network with control flow ({named(_CONTROL_FLOW)}): only feed-forward networks can be imported"
    if "string" in dtypes or named(_LOOKUP):
        return f"a model of strings or look-up tables ({named(_LOOKUP) or 'string tensors'}): no int8 network"
    return None


def _tail(model: FileModel) -> str | None:
    """What to say where an int8 network ends in operators on other numbers, such as a detector that decodes its boxes in float32."""
    tail = [op for op in model.operators if _is_foreign(model, op)]
    written = {i for op in tail for i in op.outputs}
    # What they write must not come back as codes: then they stand within the network.
    for op in model.operators:
        results = [model.tensors[i].dtype for i in op.outputs if i >= 0]
        if "int8" in results and (op in tail or written.intersection(op.inputs)):
            return None
    names = list(dict.fromkeys(name for op in tail for name in _int8_sources(model, op)))
    if not names:
        return None
    kinds = list(dict.fromkeys(op.kind.removeprefix("custom operator ") for op in tail))
    shown = ", ".join(kinds[:MAX_LISTED]) + (f" and {len(kinds) - MAX_LISTED} more" if len(kinds) > MAX_LISTED else "")
    return (
        f"a network that ends in what is no int8 operator ({shown}): of the int8 tensors before that "
        f"({listed(names)}), {HOW_TO_CHOOSE}"
    )


def _is_foreign(model: FileModel, op: FileOperator) -> bool:
    """Whether an operator is none of the format's, or works on float32 and is no conversion."""
    if op.code in _CONVERSIONS:
        return False
    numbers = [t.dtype for t in (model.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0) if t.data is None]
    return op.code == BuiltinOperator.CUSTOM or "float32" in numbers


def _int8_sources(model: FileModel, op: FileOperator) -> list[str]:
    """Names of the int8 tensors that an operator reads, directly or converted."""
    writers = {i: w for w in model.operators for i in w.outputs}
    names = []
    for index in op.inputs:
        writer = writers.get(index)
        if (
            writer is not None
            and writer.code in _CONVERSIONS
            and writer.is_one_to_one
            and _int8(model, writer.inputs[0])
        ):
            index = writer.inputs[0]
        if index >= 0 and _int8(model, index):
            names.append(model.names[index])
    return names


def _int8(model: FileModel, index: int) -> bool:
    t = model.tensors[index]
    return t.data is None and t.dtype == "int8"


def _by_numbers(model: FileModel) -> str | None:
    """What the types of activations and weights say."""
    writers = {i: op for op in model.operators for i in op.outputs}
    found: Counter[tuple[str, str]] = Counter()
    for op in model.operators:
        if op.kind in _WEIGHTED and len(op.inputs) > 1:
            x = op.inputs[_INPUT_OPERAND.get(op.kind, 0)] if len(op.inputs) > _INPUT_OPERAND.get(op.kind, 0) else -1
            found[_dtype(model, writers, x, False), _dtype(model, writers, op.inputs[1], True)] += 1
    total = sum(found.values())
    int8 = found["int8", "int8"]
    if not total:
        results = {model.tensors[i].dtype for op in model.operators for i in op.outputs if i >= 0}
        if "int8" not in results and "float32" in results:
            return f"a float32 model: {HOW_TO_QUANTISE}"
        return None
    activations = {activation for activation, _ in found}
    if "uint8" in activations:
        return _OLD_UINT8
    if "int16" in activations:
        return f"a 16x8 model (int16 activations): {HOW_TO_QUANTISE}"
    if "float16" in activations:
        return f"a float16 model: {HOW_TO_QUANTISE}"
    real = [weights for activation, weights in found if activation == "float32"]
    if not real:
        return None
    if int8:
        return (
            f"a model quantised in part: {total - int8} of its {total} operators with weights work on float32; {HOW_TO_QUANTISE}, "
            "or choose an int8 tensor before them: " + HOW_TO_CHOOSE
        )
    if all(w == "float16" for w in real):
        return f"a model with float16 weights: {HOW_TO_QUANTISE}"
    if any(w in ("int8", "uint8") for w in real):
        return f"a dynamic-range model (int8 weights, float32 activations): {HOW_TO_QUANTISE}"
    return f"a float32 model: {HOW_TO_QUANTISE}"


_OLD_UINT8 = (
    "a model in the old uint8 scheme, whose weights have zero points of their own: no int8 file says the same; "
    "convert its float32 original again: " + HOW_TO_QUANTISE
)


def _dtype(model: FileModel, writers: dict[int, FileOperator], index: int, through: bool) -> str:
    """The type of a tensor; ``through``: of the constant where it is one dequantised."""
    if index < 0:
        return ""
    writer = writers.get(index)
    if through and writer is not None and writer.code == BuiltinOperator.DEQUANTIZE and writer.is_one_to_one:
        return model.tensors[writer.inputs[0]].dtype
    return model.tensors[index].dtype
