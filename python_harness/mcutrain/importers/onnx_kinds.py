"""What an ONNX model is, where it is no int8 network in QDQ form: one line that says so and what to do."""

from __future__ import annotations

from mcutrain.importers.onnx_file import FileModel

_QDQ_CALL = (
    "quantize_static(model, result, reader_of_samples, quant_format=QuantFormat.QDQ, per_channel=True, "
    "activation_type=QuantType.QInt8, weight_type=QuantType.QInt8)"
)
HOW_TO_QUANTISE = f"quantise it to int8 first, with onnxruntime.quantization: {_QDQ_CALL}"

_RECURRENT = ("GRU", "LSTM", "RNN")
_CONTROL_FLOW = ("If", "Loop", "Scan")
_DYNAMIC = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger")
_NOT_8_BITS = {"int16": "16", "uint16": "16", "int4": "4", "uint4": "4", "int2": "2", "uint2": "2"}


def what_else_it_is(model: FileModel) -> str | None:
    """What the model is where it is no int8 network in QDQ form, and what to do; None where it is one (supported or not)."""
    # Without the domain of onnxruntime's own operators; that of ai.onnx.ml is kept.
    kinds = list(dict.fromkeys(node.kind.removeprefix("com.microsoft.") for node in model.nodes))

    def named(*names: str) -> str:
        return ", ".join(sorted(kind for kind in kinds if any(kind.endswith(name) for name in names)))

    learned = [kind for kind in kinds if kind.startswith("ai.onnx.ml.")]
    if learned:
        return f"a model of classical machine learning ({', '.join(sorted(learned))}): no neural network"
    if named(*_RECURRENT):
        return f"a recurrent network ({named(*_RECURRENT)}): only feed-forward networks can be imported"
    if any(kind in _CONTROL_FLOW for kind in kinds):
        return f"a network with control flow ({named(*_CONTROL_FLOW)}): only feed-forward networks can be imported"
    if any(kind.startswith("DynamicQuantize") or kind in _DYNAMIC for kind in kinds):
        return f"a dynamically quantised model (int8 weights, float32 activations): {HOW_TO_QUANTISE}"
    if any(kind.startswith("QLinear") for kind in kinds):
        strange = ", ".join(kind for kind in kinds if kind.startswith("QLinear"))
        return f"a model in QOperator format ({strange}): quantise its float32 original in QDQ form, {_QDQ_CALL}"
    return _by_numbers(model)


def _by_numbers(model: FileModel) -> str | None:
    """What the types of activations and weights say."""
    # Why a constant cannot be read starts with its type: "is float16".
    strange = {reason.removeprefix("is "): name for name, reason in model.unreadable.items()}
    types = {*strange, *(end.dtype for end in model.inputs)}
    if types & {"float16", "bfloat16"}:
        return f"a float16 model: take its float32 original and {HOW_TO_QUANTISE}"
    quantizes = [node for node in model.nodes if node.kind == "QuantizeLinear"]
    dequantizes = [node for node in model.nodes if node.kind == "DequantizeLinear"]
    for node in (*quantizes, *dequantizes):
        for name in (node.inputs[0] if node.inputs else "", node.inputs[2] if len(node.inputs) > 2 else ""):
            bits = _NOT_8_BITS.get(model.unreadable.get(name, "").removeprefix("is "))
            if bits is not None:
                return f"a model quantised to {bits} bits: only int8 and uint8 can be imported; {HOW_TO_QUANTISE}"
    real = any(end.dtype == "float32" for end in model.inputs)
    if real and not quantizes:
        what = "a model of which only the weights are quantised" if dequantizes else "a float32 model"
        return f"{what}: {HOW_TO_QUANTISE}"
    if not quantizes and not dequantizes:
        return f"a model without QuantizeLinear and DequantizeLinear: take its float32 original and {HOW_TO_QUANTISE}"
    return None
