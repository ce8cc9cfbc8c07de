"""Models in ONNX: their inputs, whose lengths may have names, and the file made of what was traced from them.

This file must know no Tensor and no rule.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import onnx
import spox
import spox.opset.ai.onnx.v21 as operators

from agrad import _version
from agrad.backends import traced
from agrad.backends.symbolic import Symbol
from agrad.backends.traced import Traced


def make_inputs(types: Mapping[str, tuple[Any, tuple[int | str, ...]]]) -> tuple[dict[str, Any], dict[str, Traced]]:
    """The inputs of a model and the arrays that they bring, of dtypes and shapes whose lengths may be names.

    One name means one length. The model itself checks it: where a length differs from an earlier one of its name, it
    stops with an error, for otherwise a 1 among them would be broadcast, and gradients be wrong.
    """
    arguments, arrays = {}, {}
    lengths: dict[str, Symbol] = {}
    for name, (dtype, shape) in types.items():
        arguments[name] = var = spox.argument(spox.Tensor(dtype, shape))
        again = []
        for axis, label in enumerate(shape):
            if label in lengths:
                again.append((axis, lengths[label]))
            elif isinstance(label, str):
                lengths[label] = traced.length_of(var, axis, label)
        if again:
            var = _checked(var, again)
        arrays[name] = Traced(var, tuple(lengths[n] if isinstance(n, str) else n for n in shape))
    return arguments, arrays


def _checked(var: Any, again: list[tuple[int, Symbol]]) -> Any:
    """A variable whose axes have these lengths, or else the model stops.

    It is read at position 0 of a new axis if they have, at 1 otherwise, which is not there: ONNX has nothing to raise
    an error with, and ONNX Runtime drops operators whose only use is that they fail.
    """
    found = operators.concat([operators.shape(var, start=axis, end=axis + 1) for axis, _ in again], axis=0)
    differ = operators.not_(operators.equal(found, traced.vector([length for _, length in again])))
    place = operators.reduce_max(operators.cast(differ, to=traced.WHOLE), keepdims=False)
    return operators.gather(operators.unsqueeze(var, traced.constant([0])), place, axis=0)


def _name_checks(graph: Any) -> None:
    """What an error of the runtime names: the operators that compare lengths."""
    inputs = {value.name for value in graph.input}
    made_by = {name: node for node in graph.node for name in node.output}

    def path(name: str, *kinds: str) -> str | None:
        """The first input of the last of these operators, which come one after the other."""
        for kind in kinds:
            node = made_by.get(name)
            if node is None or node.op_type != kind:
                return None
            name = node.input[0]
        return name

    for node in graph.node:
        if node.op_type == "Gather" and path(node.input[1], "ReduceMax", "Cast", "Not", "Equal") is not None:
            name = path(node.input[0], "Unsqueeze")
            if name in inputs:
                node.name = f"axes of {name} are as long as those with the same name"


def make_model(name: str, arguments: Mapping[str, Any], outputs: Mapping[str, Traced]) -> onnx.ModelProto:
    """The checked model that computes the outputs from the inputs."""
    model = spox.build(dict(arguments), {key: x.var for key, x in outputs.items()})
    model.producer_name, model.producer_version, model.graph.name = "agrad", _version.__version__, name
    _name_checks(model.graph)
    _share_constants(model.graph)
    for value, x in zip(model.graph.output, outputs.values(), strict=True):
        _write_shape(value, x.shape)
    onnx.checker.check_model(model, full_check=True)
    return model


def _share_constants(graph: Any) -> None:
    """Make every constant an initializer, equal ones a single one."""
    kept, names, same = [], {}, {}
    for node in graph.node:
        if node.op_type != "Constant" or node.attribute[0].name != "value":
            kept.append(node)
            continue
        tensor = node.attribute[0].t
        tensor.name = ""
        digest = sha256(tensor.SerializeToString(deterministic=True)).digest()
        if digest not in names:
            names[digest] = node.output[0]
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        same[node.output[0]] = names[digest]
    for node in kept:
        node.input[:] = [same.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)


def _write_shape(value: Any, shape: tuple[Any, ...]) -> None:
    """The shape of an output in the names of the inputs' lengths; ONNX itself lost track of them."""
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    tensor.shape.SetInParent()      # a shape without lengths is that of a number, not an unknown one
    for length in shape:
        dimension = tensor.shape.dim.add()
        if isinstance(length, int):
            dimension.dim_value = length
        elif length.is_named:
            dimension.dim_param = str(length)
