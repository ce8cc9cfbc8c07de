"""Differentiation: `backward` stores gradients in `.grad`, `grad` returns them.

Arguments and error texts are PyTorch's. What a walk does stands in the engine; here its arguments are checked.
Must know no backend and no rule.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from agrad import levels
from agrad.autograd import graph
from agrad.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from agrad.autograd.function import Function
from agrad.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled, zero_stays_zero
from agrad.autograd.graph.edges import tensor_at
from agrad.autograd.tangents import fitting_cotangent
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "forward_ad", "functional", "grad",
    "gradcheck", "gradgradcheck", "graph", "inference_mode", "no_grad", "set_detect_anomaly", "set_grad_enabled",
    "zero_stays_zero",
]

_LATER: dict[str, tuple[str, str]] = {  # imported when first used: name -> (module in this package, name in there)
    "forward_ad": ("forward_ad", ""),
    "functional": ("functional", ""),
    "gradcheck": ("gradcheck", "gradcheck"),
    "gradgradcheck": ("gradcheck", "gradgradcheck"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _LATER[name][0]
    loaded = import_module(f"{__name__}.{module}")
    for other, (home, attribute) in _LATER.items():
        if home == module:
            globals()[other] = getattr(loaded, attribute) if attribute else loaded
    return globals()[name]


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
    *,
    grad_variables: Any = None,
) -> None:
    """Add the gradients of tensors to the `.grad` of the leaves they were computed from.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
        The roots.
    grad_tensors : Tensor or None, or a sequence of them
        Cotangents, in the shape of the roots; may be left out for roots with one real element.
    retain_graph : bool, optional
        Keep what the graph saved, so that it can be walked again. Default: `create_graph`.
    create_graph : bool
        Record the walk, so that gradients can be differentiated.
    inputs : Tensor or sequence of Tensor, optional
        Store gradients only in these, results included.
    grad_variables
        The former name of `grad_tensors`, deprecated.

    Raises
    ------
    RuntimeError
        If a root has no graph, a cotangent does not fit, or the graph was freed by an earlier walk.
    TypeError
        If something is not a Tensor.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> agrad.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    if grad_variables is not None:
        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        grad_tensors = grad_variables
    roots = _as_tensors(tensors, "tensors")
    retaining = () if inputs is None else _listed(inputs)
    inputs = None if inputs is None else _as_inputs(inputs, "backward")
    if not roots:
        return
    grads = _cotangents(roots, grad_tensors)
    for t in retaining:
        if isinstance(t, Tensor):
            t.retain_grad()
    if create_graph and not _warned:
        _warned.append(True)
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its "
            "gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid "
            "this. If you have to use this function, make sure to reset the .grad fields of your parameters to None "
            "after use to break the cycle and avoid the leak.",
            UserWarning,
            stacklevel=2,
        )
    retain = create_graph if retain_graph is None else retain_graph
    engine.run_backward(roots, grads, retain, create_graph, inputs, True)


_warned: list[bool] = []  # the warning about create_graph comes once in a process


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of outputs with respect to inputs; `.grad` is not touched.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor, sequence of Tensor, or dict of them
    grad_outputs : Tensor or None, or a sequence of them
        Cotangents, in the shape of the outputs; may be left out for outputs with one real element.
    retain_graph, create_graph
        As in `backward`.
    allow_unused : bool, optional
        Give None for inputs that the outputs do not depend on, instead of raising. Default: `materialize_grads`.
    is_grads_batched : bool
        The first axis of each cotangent is a batch; results get the same first axis.
    materialize_grads : bool
        Give zeros instead of None.

    Returns
    -------
    tuple of Tensor, or dict if `inputs` is one

    Raises
    ------
    RuntimeError
        As `backward`; also if an input is not used.

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor(3.0, requires_grad=True)
    >>> agrad.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use agrad.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if isinstance(inputs, Mapping):
        results = grad(
            outputs, tuple(inputs.values()), grad_outputs, retain_graph, create_graph, True, allow_unused,
            is_grads_batched, materialize_grads,
        )
        return dict(zip(inputs, results, strict=True))
    roots = _as_tensors(outputs, "outputs")
    leaves = _as_inputs(inputs, "grad")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        found = _batched_grad(roots, leaves, grad_outputs, retain, create_graph)
    else:
        found = engine.run_backward(roots, _cotangents(roots, grad_outputs), retain, create_graph, leaves, False)
    for i, (t, g) in enumerate(zip(leaves, found, strict=True)):
        if g is None and materialize_grads and engine.raw_value(t) is None:
            raise RuntimeError("materialize_grads cannot be used for a GradientEdge that does not know its shape")
        if g is None and materialize_grads:
            found[i] = engine.zeros_like(t)
        elif g is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
    return tuple(found)


def _batched_grad(
    roots: tuple[Tensor, ...],
    leaves: tuple[Tensor, ...],
    grad_outputs: Any,
    retain: bool,
    create_graph: bool,
) -> list[Tensor | None]:
    """One walk for all rows of the cotangents: inside a batch level of its own."""
    batches = _as_tensors(grad_outputs, "grad_outputs")
    n = batches[0].shape[0]
    with levels.entered("batch", size=n) as level:
        rows = _cotangents(roots, [engine.wrap_level(level, b) for b in batches])
        found = engine.run_backward(roots, rows, retain, create_graph, leaves, False)
        return [None if g is None else levels.whole(level, n, g) for g in found]


def _listed(value: Any) -> tuple[Any, ...]:
    """One thing or several, as a tuple; an edge is one thing."""
    several = isinstance(value, (Sequence, Iterator)) and not isinstance(value, graph.GradientEdge)
    return tuple(value) if several else (value,)


def _as_tensors(value: Any, what: str) -> tuple[Tensor, ...]:
    """Tensors or edges, one or a sequence of them, as a tuple of Tensors."""
    found = tuple(tensor_at(t) if isinstance(t, graph.GradientEdge) else t for t in _listed(value))
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"{what} must be a Tensor or a sequence of Tensors, but got {type(t).__name__}")
    return found


def _as_inputs(value: Any, caller: str) -> tuple[Tensor, ...]:
    """The inputs of a walk: tensors that require grad, or edges."""
    found = tuple(tensor_at(t) if isinstance(t, graph.GradientEdge) else t for t in _listed(value))
    if not found:
        raise RuntimeError(f"`inputs` argument to `{caller}()` cannot be empty.")
    for t in found:
        if not isinstance(t, Tensor):
            raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(t).__name__}")
        if not t.requires_grad:
            raise RuntimeError(
                "One of the differentiated Tensors does not require grad"
                if caller == "grad"
                else "can't retain_grad on Tensor that has requires_grad=False"
            )
    return found


def _cotangents(roots: tuple[Tensor, ...], given: Any) -> tuple[Tensor, ...]:
    """A checked cotangent for every root."""
    grads = _listed(given)
    if given is None:
        grads *= len(roots)
    if len(grads) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(grads)} gradients")
    return tuple(_cotangent(i, root, g) for i, (root, g) in enumerate(zip(roots, grads, strict=True)))


def _cotangent(i: int, root: Tensor, g: Any) -> Tensor:
    """The cotangent of one root: as given, cast to the root's dtype; ones for a real root with one element."""
    if not root.requires_grad:
        inside = "; inside a transform, what is outside is reached by agrad.func.grad only" * engine.tracks_inside(root)
        raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn{inside}")
    if g is not None:
        return fitting_cotangent(i, root, g)
    if engine.raw_value(root) is None:
        raise RuntimeError(
            "grad can be implicitly created only for scalar outputs: this edge does not know its shape, make it "
            "with get_gradient_edge()"
        )
    if root.size != 1:
        raise RuntimeError("grad can be implicitly created only for scalar outputs")
    if root.dtype.kind == "complex":
        raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {root.dtype}")
    return engine.ones_like(root)


class _VariableType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableType):
    """PyTorch's name of long ago for a Tensor: `Variable(x)` returns a Tensor."""

    def __new__(cls, data: Any, requires_grad: bool = False) -> Any:
        t = data.detach()
        return t.requires_grad_() if requires_grad else t

    _execution_engine = engine  # where PyTorch has `queue_callback`
