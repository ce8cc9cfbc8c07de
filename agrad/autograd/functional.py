"""Products with Jacobians and Hessians, and these matrices whole, of functions from Tensors to Tensors.

Arguments and error texts are PyTorch's. Everything is made of walks (`grad`), and of a batch of them or a dual level
where the caller asks for it. Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

from agrad.autograd import grad
from agrad.autograd.grad_mode import enable_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func import jvp as jvp_of
from agrad.func import vmap
from agrad.func.jacobians import split, unit_rows

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_Tensors = tuple[Tensor, ...]
_Maybe = Sequence[Tensor | None]
_OUTPUTS = "outputs of the user-provided function"
_NOT_STRICT = "This is not allowed in strict mode"
_ABSENT = {  # stage of a call -> what strict mode says of a gradient that is not there
    "vjp": "The output of the user-provided function is independent of input {}. " + _NOT_STRICT + ".",
    "jvp": (
        "The gradient with respect to the input is independent of entry {} in the grad_outputs when using the double "
        "backward trick to compute forward mode gradients. " + _NOT_STRICT + "."
    ),
    "vhp": "The jacobian of the user-provided function is independent of input {}. " + _NOT_STRICT + ".",
    "hvp": (
        "The hessian of the user-provided function is independent of entry {} in the grad_jacobian. " + _NOT_STRICT
        + " as it prevents from using the double backward trick to replace forward mode AD."
    ),
}
_UNTRACKED = {  # what strict mode says of a value that does not require grad
    "outputs": (
        "Output {} of the user-provided function does not require gradients. The outputs must be computed in a "
        "differentiable manner from the input when running in strict mode."
    ),
    "gradients": (
        "The gradient with respect to input {} is independent of the inputs of the user-provided function. "
        + _NOT_STRICT + "."
    ),
    "jacobian": (
        "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} "
        "is independent of the input. " + _NOT_STRICT + ". You should ensure that your function is twice "
        "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for "
        "example)."
    ),
}


def vjp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs of a function, and the product of a vector with its Jacobian.

    Parameters
    ----------
    func : callable
        From Tensors to a Tensor or a tuple of them.
    inputs : Tensor or tuple of Tensor
        Where.
    v : Tensor or tuple of Tensor, optional
        In the shape of the outputs; may be left out for one output with one element.
    create_graph : bool
        Record the computation, so that outputs and product can be differentiated.
    strict : bool
        Raise if an output does not depend on the inputs, where the product would be zeros.

    Returns
    -------
    outputs, product
        What `func` gives, and a Tensor or tuple in the shape of `inputs`.

    Raises
    ------
    RuntimeError
        If `v` does not fit, or strict mode has something to object to.
    TypeError
        If something is not a Tensor.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import vjp
    >>> vjp(lambda x: x**2, agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 1.0]))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    packed, own = _arguments(inputs, "vjp", create_graph)
    results_packed, outputs = _call(func, own, "vjp", strict)
    if v is not None:
        v = _vector(v, outputs, results_packed, "vjp", create_graph)
    elif len(outputs) != 1 or outputs[0].size != 1:
        raise RuntimeError(
            "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
        )
    product = _filled(_walk(outputs, own, v, create_graph), own, "vjp", strict, create_graph)
    return _handed_out(outputs, results_packed, create_graph), _handed_out(product, packed, create_graph)


def jvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The outputs of a function, and the product of its Jacobian with a vector.

    Computed as the derivative of the walk with respect to its cotangents. `agrad.func.jvp` needs no walk and is faster.

    Parameters
    ----------
    func, inputs, create_graph, strict
        As for `vjp`.
    v : Tensor or tuple of Tensor, optional
        In the shape of the inputs; may be left out for one input with one element.

    Returns
    -------
    outputs, product
        What `func` gives, and a Tensor or tuple in the shape of it.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import jvp
    >>> jvp(lambda x: x.sum(), agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 1.0]))
    (tensor(3.), tensor(2.))
    """
    _, own = _arguments(inputs, "jvp", create_graph)
    v = _input_vector(v, own, isinstance(inputs, tuple), "jvp", create_graph)
    packed, outputs = _call(func, own, "jvp", strict)
    seeds = tuple(engine.zeros_like(y).requires_grad_(y.requires_grad) for y in outputs)
    gradients = _walk(outputs, own, seeds, True)
    if strict:
        _all_there(gradients, "vjp")
        _all_tracked(gradients, "gradients")
    product = _filled(_walk(gradients, seeds, v, create_graph), outputs, "jvp", strict, create_graph)
    return _handed_out(outputs, packed, create_graph), _handed_out(product, packed, create_graph)


def vhp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output of a scalar function, and the product of a vector with its Hessian.

    Parameters
    ----------
    func : callable
        From Tensors to a Tensor with one element.
    inputs, v, create_graph, strict
        As for `jvp`.

    Returns
    -------
    output, product
        What `func` gives, and a Tensor or tuple in the shape of `inputs`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import vhp
    >>> vhp(lambda x: (x**3).sum(), agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    packed, own = _arguments(inputs, "vhp", create_graph)
    v = _input_vector(v, own, packed, "vhp", create_graph)
    output, gradients = _scalar_call(func, own, "vhp", strict)
    product = _filled(_walk(gradients, own, v, create_graph), own, "vhp", strict, create_graph)
    return _handed_out((output,), False, create_graph), _handed_out(product, packed, create_graph)


def hvp(func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> Any:
    """The output of a scalar function, and the product of its Hessian with a vector.

    Takes one walk more than `vhp`, which gives the same wherever the Hessian is symmetric.

    Parameters
    ----------
    func, inputs, v, create_graph, strict
        As for `vhp`.

    Returns
    -------
    output, product
        What `func` gives, and a Tensor or tuple in the shape of `inputs`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import hvp
    >>> hvp(lambda x: (x**3).sum(), agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 1.0]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    packed, own = _arguments(inputs, "hvp", create_graph)
    v = _input_vector(v, own, packed, "hvp", create_graph)
    output, gradients = _scalar_call(func, own, "hvp", strict)
    seeds = tuple(engine.zeros_like(x).requires_grad_() for x in own)
    twice = _walk(gradients, own, seeds, True)
    product = _filled(_walk(twice, seeds, v, create_graph), own, "hvp", strict, create_graph)
    return _handed_out((output,), False, create_graph), _handed_out(product, packed, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function.

    Parameters
    ----------
    func, inputs, create_graph, strict
        As for `vjp`.
    vectorize : bool
        Compute all rows at once, in one walk over a batch.
    strategy : {"reverse-mode", "forward-mode"}
        The latter, column by column in a dual level, is the faster one where there are more outputs than inputs. It
        needs `vectorize=True`.

    Returns
    -------
    Tensor, or tuple, or tuple of tuples
        In the shape of an output followed by the shape of an input; a tuple over the outputs if `func` gives a tuple,
        and of tuples over the inputs if `inputs` is one.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import jacobian
    >>> jacobian(lambda x: x**2, agrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode":
        return _jacobian_of_columns(func, inputs, create_graph, strict, vectorize)
    packed, own = _arguments(inputs, "jacobian", create_graph)
    results_packed, outputs = _call(func, own, "jacobian", strict)
    if not vectorize:
        rows = [_rows(i, y, own, create_graph, strict) for i, y in enumerate(outputs)]
    elif strict:
        raise RuntimeError(_not_together("strict=True", "vectorized=True", "strict=False"))
    else:
        rows = _batch_of_rows(outputs, own, create_graph)
    found = [_handed_out(row, packed, create_graph) for row in rows]
    return tuple(found) if results_packed else found[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar function: the Jacobian of its gradient.

    Parameters
    ----------
    func, inputs, create_graph, strict
        As for `vhp`.
    vectorize, outer_jacobian_strategy
        How the outer of the two Jacobians is computed: `vectorize` and `strategy` of `jacobian`.

    Returns
    -------
    Tensor, or tuple of tuples
        In the shape of one input followed by the shape of another; a tuple of tuples if `inputs` is a tuple.

    Examples
    --------
    >>> import agrad
    >>> from agrad.autograd.functional import hessian
    >>> hessian(lambda x: (x**3).sum(), agrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    packed, given = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def scalar(*own: Tensor) -> Tensor:
        return _single(func(*own), "hessian", strict).reshape(())

    def gradient(*own: Tensor) -> _Tensors:
        if outer_jacobian_strategy == "forward-mode":
            own = tuple(x.requires_grad_() for x in own)
        found: _Tensors = jacobian(scalar, own, create_graph=True)
        if strict:
            _all_tracked(found, "jacobian")
        return found

    found = jacobian(gradient, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if packed else found[0][0]


# --------------------------------------------------------------------------------------------------- arguments, results


def _as_tuple(value: Any, what: str, caller: str) -> tuple[bool, _Tensors]:
    """Whether it is a tuple, and it as a tuple of Tensors."""
    packed = isinstance(value, tuple)
    values = value if packed else (value,)
    for i, t in enumerate(values):
        if not isinstance(t, Tensor):
            culprit = f"value at index {i}" if packed else f"given {what}"
            raise TypeError(
                f"The {what} given to {caller} must be either a Tensor or a tuple of Tensors but the {culprit} has "
                f"type {type(t)}."
            )
    return packed, values


def _arguments(inputs: Any, caller: str, create_graph: bool) -> tuple[bool, _Tensors]:
    """Whether the inputs are a tuple, and Tensors of our own in their place that require grad."""
    packed, given = _as_tuple(inputs, "inputs", caller)
    return packed, tuple(_own(x, create_graph, True) for x in given)


def _own(t: Tensor, create_graph: bool, tracked: bool) -> Tensor:
    """Another Tensor with the same value, so that we can tell it from what the function captured."""
    if not (create_graph and t.requires_grad):
        return t.detach().requires_grad_(tracked)
    with enable_grad():
        return engine.alias(t)


def _call(func: Callable[..., Any], own: _Tensors, caller: str, strict: bool) -> tuple[bool, _Tensors]:
    """Whether the function gives a tuple, and what it gives, as a tuple."""
    with enable_grad():
        packed, outputs = _as_tuple(func(*own), _OUTPUTS, caller)
    if strict:
        _all_tracked(outputs, "outputs")
    return packed, outputs


def _single(result: Any, caller: str, strict: bool) -> Tensor:
    """The result of a function that must give one Tensor with one element."""
    packed, outputs = _as_tuple(result, _OUTPUTS, caller)
    if strict:
        _all_tracked(outputs, "outputs")
    if packed:
        raise RuntimeError(f"The function given to {caller} should return a single Tensor")
    if outputs[0].size != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {caller} should contain a single element")
    return outputs[0]


def _scalar_call(func: Callable[..., Any], own: _Tensors, caller: str, strict: bool) -> tuple[Tensor, _Maybe]:
    """The output of a scalar function, and its gradients with their history."""
    with enable_grad():
        output = _single(func(*own), caller, strict)
    gradients = _walk((output,), own, None, True)
    if strict:
        _all_there(gradients, "vjp")
        _all_tracked(gradients, "jacobian")
    return output, gradients


def _vector(v: Any, like: _Tensors, packed: bool, caller: str, create_graph: bool) -> _Tensors:
    """The vector of a product, checked against what it must look like."""
    found = tuple(_own(t, create_graph, False) for t in _as_tuple(v, "v", caller)[1])
    if len(found) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(found)}."
            if packed
            else "The given v should contain a single Tensor."
        )
    for i, (t, model) in enumerate(zip(found, like, strict=True)):
        if t.shape != model.shape:
            raise RuntimeError(
                f"{f'Entry {i} in ' if packed else ''}v has invalid size: should be agrad.Size({list(model.shape)}) "
                f"but got agrad.Size({list(t.shape)})."
            )
    return found


def _input_vector(v: Any, own: _Tensors, packed: bool, caller: str, create_graph: bool) -> _Tensors | None:
    """The vector of a product that has the shape of the inputs."""
    if v is not None:
        return _vector(v, own, packed, caller, create_graph)
    if len(own) != 1 or own[0].size != 1:
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a single "
            "element."
        )
    return None


def _handed_out(values: Sequence[Tensor], packed: bool, create_graph: bool) -> Any:
    """The values as the caller gave theirs: a Tensor or a tuple, without history unless that is asked for."""
    found = tuple(values) if create_graph else tuple(t.detach() for t in values)
    return found if packed else found[0]


# ---------------------------------------------------------------------------------------------------------------- walks


def _walk(
    outputs: _Maybe, inputs: _Tensors, vectors: Sequence[Tensor | None] | None, create_graph: bool, **options: Any
) -> _Maybe:
    """Gradients, None for inputs that the outputs do not depend on; outputs without a graph are left out."""
    pairs = zip(outputs, vectors or (None,) * len(outputs), strict=True)
    roots = [(y, v) for y, v in pairs if y is not None and y.requires_grad]
    of = [i for i, x in enumerate(inputs) if x.requires_grad]
    found: list[Tensor | None] = [None] * len(inputs)
    if roots and of:
        ys, vs = zip(*roots, strict=True)
        gradients = grad(ys, [inputs[i] for i in of], vs, create_graph=create_graph, allow_unused=True, **options)
        for i, g in zip(of, gradients, strict=True):
            found[i] = g
    return found


def _all_tracked(values: _Maybe, what: str) -> None:
    for i, t in enumerate(values):
        if t is not None and not t.requires_grad:
            raise RuntimeError(_UNTRACKED[what].format(i))


def _all_there(gradients: _Maybe, stage: str) -> None:
    for i, g in enumerate(gradients):
        if g is None:
            raise RuntimeError(_ABSENT[stage].format(i))


def _filled(gradients: _Maybe, like: _Tensors, stage: str, strict: bool, create_graph: bool) -> _Tensors:
    """The gradients with zeros for those that are not there; strict mode wants all, and tracked for `create_graph`."""
    if strict:
        _all_there(gradients, stage)
    for i, g in enumerate(gradients):
        if strict and create_graph and g is not None and not g.requires_grad:
            matrix = "hessian" if stage in ("vhp", "hvp") else "jacobian"
            raise RuntimeError(
                f"The {matrix} of the user-provided function is independent of input {i}. {_NOT_STRICT} when "
                "create_graph=True."
            )
    pairs = zip(gradients, like, strict=True)
    return tuple(engine.zeros_like(x) if g is None else g for g, x in pairs)


# ------------------------------------------------------------------------------------------------------------ jacobians


def _rows(i: int, output: Tensor, own: _Tensors, create_graph: bool, strict: bool) -> _Tensors:
    """The Jacobian of one output with respect to each input: a walk per element."""
    rows: list[_Tensors] = []
    with enable_grad():
        flat = output.reshape((-1,))
        for k in range(flat.shape[0]):
            found = _walk((flat[k],), own, None, create_graph, retain_graph=True)
            for j, g in enumerate(found):
                if strict and g is None:
                    raise RuntimeError(
                        f"Output {i} of the user-provided function is independent of input {j}. {_NOT_STRICT}."
                    )
            rows.append(_filled(found, own, "vjp", strict, create_graph))
        return tuple(_stacked([row[j] for row in rows], output, x) for j, x in enumerate(own))


def _stacked(column: list[Tensor], output: Tensor, x: Tensor) -> Tensor:
    """Rows as one Tensor in the shape of the output and of the input."""
    xp = x.__array_namespace__()
    found: Tensor = xp.stack(column) if column else xp.zeros((0, *x.shape), dtype=x.dtype)
    return found.reshape((*output.shape, *x.shape))


def _batch_of_rows(outputs: _Tensors, own: _Tensors, create_graph: bool) -> list[_Tensors]:
    """The Jacobians of all outputs: one walk for the rows of a unit matrix."""
    n = sum(y.size for y in outputs)
    found = _walk(outputs, own, list(unit_rows(outputs, 0, n)), create_graph, is_grads_batched=True)
    with enable_grad():
        columns = [
            split(x.__array_namespace__().zeros((n, *x.shape), dtype=x.dtype) if g is None else g, outputs)
            for g, x in zip(found, own, strict=True)
        ]
        return [
            tuple(column[i].reshape((*y.shape, *x.shape)) for column, x in zip(columns, own, strict=True))
            for i, y in enumerate(outputs)
        ]


def _jacobian_of_columns(
    func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool, vectorize: bool
) -> Any:
    """The Jacobians of all outputs: one call at a dual level for the columns of a unit matrix."""
    forward = 'strategy="forward-mode"'
    if create_graph:
        raise NotImplementedError(_not_together("create_graph=True", forward, "create_graph=False"))
    if strict:
        raise RuntimeError(_not_together("strict=True", forward, "strict=False"))
    packed, given = _as_tuple(inputs, "inputs", "jacobian")
    if not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
            "`vectorize=True`."
        )
    own = tuple(x.detach() for x in given)
    form: list[Any] = []    # the same for all columns: whether the outputs are a tuple, and their shapes

    def outputs_as_tuple(*duals: Tensor) -> _Tensors:
        results_packed, outputs = _as_tuple(func(*duals), _OUTPUTS, "jacobian")
        form[:] = results_packed, [y.shape for y in outputs]
        return outputs

    rows = unit_rows(own, 0, sum(x.size for x in own))
    columns: _Tensors = vmap(lambda *tangents: jvp_of(outputs_as_tuple, own, tangents)[1])(*rows)
    results_packed, shapes = form
    found = []
    for column, shape in zip(columns, shapes, strict=True):
        parts = zip(split(column, own), own, strict=True)
        row = [part.__array_namespace__().moveaxis(part, 0, -1).reshape((*shape, *x.shape)) for part, x in parts]
        found.append(_handed_out(row, packed, False))
    return tuple(found) if results_packed else found[0]


def _not_together(one: str, other: str, instead: str) -> str:
    """The error for two options that exclude each other; `instead` is the first way out."""
    forward = "strategy" in other
    second = 'strategy="reverse-mode"' if forward else "vectorize=False"
    return (
        f"agrad.autograd.functional.jacobian: `{one}` and `{other}` are not supported together"
        f"{' (yet)' if forward else ''}. Please either set `{instead}` or `{second}`."
    )
