"""Writing functions, their derivatives included, as models that other programs run.

A function is traced: it is called once with Tensors that have a dtype and a shape but no values. Must know no rule and
no single library; what belongs to a format stands in `agrad.backends`.
"""

import inspect
import keyword
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from agrad import backends, creation
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.defaults import use_backend

__all__ = ["onnx"]


def onnx(
    fn: Callable[..., Any],
    example_inputs: Any,
    path: str | PathLike[str],
    *,
    dynamic_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> Any:
    """Write a function of arrays as a model in ONNX; one that differentiates inside is written with its gradients.

    Parameters
    ----------
    fn : callable
        Takes Tensors and returns a Tensor, a tuple (named or not) or a dict of them. It is called once, with Tensors
        that have no values: it cannot branch on them. Tensors and arrays that it uses from outside become constants of
        the model, and so do random numbers that it draws. Gradients go to inputs only.
    example_inputs : tuple or dict
        Arrays or Tensors that give each input its dtype and shape, by position or by name. One that requires grad is
        an input that does so.
    path : str or path
        Where the model is written.
    dynamic_axes : dict, optional
        For each input, the axes whose length is open, and their names: ``{"x": {0: "N"}}``. Equal names mean equal
        lengths, of at least one; the model raises if they differ. Axes with different names never broadcast.

    Returns
    -------
    onnx.ModelProto
        The model. Inputs have the names of fn's parameters; outputs are called `out`, `output_0`, `output_1`, ... or by
        the fields of a named tuple and the keys of a dict.

    Raises
    ------
    TypeError
        If fn returns something that is no Tensor made from the inputs, or an example is no array.
    ValueError
        If `dynamic_axes` or the examples do not fit the function, or a name is used for two things.
    RuntimeError, NotImplementedError
        If a step of fn needs values, depends on an undecidable comparison of open lengths, or cannot be said in ONNX.
    ImportError
        If ndonnx is not installed.

    Examples
    --------
    >>> import agrad, numpy as np, os, tempfile
    >>> def energy_and_force(x):
    ...     energy = agrad.sum(x**4)
    ...     (slope,) = agrad.autograd.grad(energy, x)
    ...     return {"energy": energy, "force": -slope}
    >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    >>> x = agrad.zeros(5, 3, requires_grad=True)
    >>> model = agrad.export.onnx(energy_and_force, (x,), path, dynamic_axes={"x": {0: "N"}})
    >>> [output.name for output in model.graph.output]
    ['energy', 'force']
    """
    backend: Any = backends.find("ndonnx")
    from agrad.backends import onnx_model

    examples = _examples(fn, example_inputs)
    types = _types(examples, dynamic_axes or {})
    arguments, arrays = onnx_model.make_inputs({
        name: (backend.to_dtype(t.dtype), types[name]) for name, t in examples.items()
    })
    tensors = {
        name: engine.make_tensor(backend, arrays[name], requires_grad=t.requires_grad) for name, t in examples.items()
    }
    with use_backend("ndonnx"):
        result = fn(**tensors) if isinstance(example_inputs, Mapping) else fn(*tensors.values())
    outputs = {name: _raw(value, name, backend) for name, value in _named(result, fn).items()}
    if doubled := sorted(outputs.keys() & arguments.keys()):
        raise ValueError(f"{doubled[0]!r} is the name of an input and of an output: rename one of them")
    model = onnx_model.make_model(getattr(fn, "__name__", type(fn).__name__), arguments, outputs)
    Path(path).write_bytes(model.SerializeToString(deterministic=True))
    return model


# -------------------------------------------------------------------------------------------------------------- inputs


def _examples(fn: Callable[..., Any], given: Any) -> dict[str, Tensor]:
    """The example inputs by name, as Tensors."""
    if isinstance(given, Mapping):
        _bind(fn, (), given)
        values = dict(given)
    else:
        positional = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        values = dict(zip(_names(fn, positional), positional, strict=True))
    if not values:
        raise ValueError("a model needs inputs: give example_inputs=(array, ...)")
    return {name: _example(name, value) for name, value in values.items()}


def _example(name: str, value: Any) -> Tensor:
    try:
        return creation.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the example for {name!r} must be an array or a Tensor, not {type(value).__name__}") from error


def _bind(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """fn's parameters with their arguments; None if fn does not tell its parameters."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        raise ValueError(f"the example inputs do not fit {name}{signature}: {error}") from None


def _names(fn: Callable[..., Any], positional: tuple[Any, ...]) -> list[str]:
    """What the positional inputs are called: as fn's parameters."""
    bound = _bind(fn, positional, {})
    if bound is None:
        return [f"input_{i}" for i in range(len(positional))]
    names: list[str] = []
    for name, value in bound.arguments.items():
        variadic = bound.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        names += [f"{name}_{i}" for i in range(len(value))] if variadic else [name]
    return names


def _types(examples: dict[str, Tensor], dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, tuple[Any, ...]]:
    """The shapes of the inputs, names in the place of open lengths."""
    if unknown := [name for name in dynamic if name not in examples]:
        raise ValueError(f"dynamic_axes names {unknown[0]!r}, but the inputs are {', '.join(map(repr, examples))}")
    shapes: dict[str, tuple[Any, ...]] = {}
    first: dict[str, tuple[str, int]] = {}
    for name, t in examples.items():
        shape: list[Any] = list(t.shape)
        for axis, label in dynamic.get(name, {}).items():
            _check_axis(name, axis, label, t.ndim)
            seen_in, length = first.setdefault(label, (name, t.shape[axis]))
            if t.shape[axis] != length:
                raise ValueError(
                    f"axes of one name have one length, but {label!r} is {length} in the example for {seen_in!r} "
                    f"and {t.shape[axis]} in that for {name!r}"
                )
            shape[axis] = label
        shapes[name] = tuple(shape)
    return shapes


def _check_axis(name: str, axis: Any, label: Any, ndim: int) -> None:
    if not isinstance(axis, int) or not -ndim <= axis < ndim:
        raise ValueError(f"dynamic_axes names axis {axis!r} of {name!r}, which has {ndim} axes")
    if not isinstance(label, str) or not label.isidentifier() or keyword.iskeyword(label):
        raise ValueError(f"the name of axis {axis} of {name!r} must be an identifier such as 'N', not {label!r}")


# ------------------------------------------------------------------------------------------------------------- outputs


def _named(result: Any, fn: Callable[..., Any]) -> dict[str, Any]:
    """What fn returned, by the names that it gets in the model."""
    if isinstance(result, Mapping):
        found = {str(key): value for key, value in result.items()}
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        found = dict(zip(result._fields, result, strict=True))
    elif isinstance(result, (tuple, list)):
        found = {f"output_{i}": value for i, value in enumerate(result)}
    else:
        found = {"out": result}
    if not found:
        raise ValueError(f"{getattr(fn, '__name__', type(fn).__name__)} returned no arrays: a model needs outputs")
    return found


def _raw(value: Any, name: str, backend: Any) -> Any:
    """An output as the backend has it."""
    array = value.detach().array if isinstance(value, Tensor) else value
    if isinstance(array, backend.array_types):
        return backend.normalise(array)
    what = "None (a gradient that does not exist?)" if value is None else type(value).__name__
    if isinstance(value, Tensor):
        what = f"a Tensor of {value.backend_.name}, which no input reaches"
    raise TypeError(f"the output {name!r} must be a Tensor that is computed from the inputs, not {what}")
