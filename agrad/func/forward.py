"""`jvp` and `linearize`: forward mode, and the derivative as a linear function.

Tangents travel beside values inside a level of the transform's own. Must know no backend and no rule.
"""

from collections.abc import Callable
from typing import Any

from agrad import levels
from agrad.autograd.tangents import check_backend, fitting_tangent
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func.pytrees import StructureError, flatten, flatten_like, unflatten
from agrad.func.reverse import ArgNums, Tracking, check_outputs, chosen_arguments, make_vjp, split_aux, switch, walk

_API = "jvp(f, primals, tangents)"


def jvp(
    func: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...], *, strict: bool = False,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """The value of a function, and the product of its Jacobian with tangents.

    Parameters
    ----------
    func : callable
        Gives a Tensor or a nest of containers of them.
    primals, tangents : tuple
        The arguments, and a tangent for each in the same structure.
    strict : bool
        Raise if an output does not depend on the primals, instead of giving zeros.
    has_aux : bool
        `func` gives a pair (output, aux); aux is handed on.

    Returns
    -------
    (output, tangent), with `has_aux` (output, tangent, aux)

    Raises
    ------
    RuntimeError
        If tangents do not fit the primals, or the output is not made of Tensors.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.jvp(lambda x: x * x, (agrad.tensor(3.0),), (agrad.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    output, tangent, aux = push_forward(func, primals, tangents, None, strict, has_aux)
    return (output, tangent, aux) if has_aux else (output, tangent)


def push_forward(
    func: Callable[..., Any], primals: Any, tangents: Any, argnums: ArgNums | None, strict: bool, has_aux: bool
) -> tuple[Any, Any, Any]:
    """Output, tangent and aux; `tangents` are for the arguments `argnums` only, None: for all."""
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_API}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    chosen = range(len(primals)) if argnums is None else chosen_arguments(argnums, len(primals))
    varied = primals if argnums is None else tuple(primals[i] for i in chosen)
    values, structure = flatten(varied)
    try:
        directions = flatten_like(structure, tangents)
    except StructureError:
        raise RuntimeError(
            f"{_API}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            f"tuple of 3 tensors, tangents also must be. Got primals with structure {structure} and tangents with "
            f"structure {flatten(tangents)[1]}"
        ) from None
    _check_tensors(values, "primals")
    _check_tensors(directions, "tangents")
    aux = None
    with levels.entered("dual") as level:
        duals = [engine.wrap_level(level, x, fitting_tangent(x, t)) for x, t in zip(values, directions, strict=True)]
        args = list(primals)
        for i, tree in zip(chosen, unflatten(structure, duals), strict=True):
            args[i] = tree
        output = func(*args)
        if has_aux:
            output, aux = split_aux(output, _API)
            flat_aux, aux_structure = flatten(aux)
            aux = unflatten(aux_structure, [_primal_of_aux(level, one) for one in flat_aux])
        flat, structure = flatten(output)
        check_outputs(output, flat, _API)
        results, tangents = zip(*(_unpack(level, one, strict) for one in flat), strict=True)
    return unflatten(structure, results), unflatten(structure, tangents), aux


def _check_tensors(flat: list[Any], what: str) -> None:
    if not flat:
        raise RuntimeError(f"{_API}: Expected {what} to contain at least one Tensor.")
    for one in flat:
        if not isinstance(one, Tensor):
            raise RuntimeError(f"{_API}: Expected {what} to only contain Tensors, got {type(one)}")


def _unpack(level: Any, t: Tensor, strict: bool) -> tuple[Tensor, Tensor]:
    """Value and tangent of a result; zeros for one that does not depend on the primals."""
    value, tangent, _ = levels.outside(level, t)
    if tangent is not None:
        return value, tangent
    if strict:
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed "
            "with strict=True."
        )
    return value, engine.zeros_like(value)


def _primal_of_aux(level: Any, one: Any) -> Tensor:
    if not isinstance(one, Tensor):
        raise RuntimeError(f"Expected tensors, got unsupported type {type(one)}")
    return levels.outside(level, one)[0]


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of a function, and its derivative there as a linear function of tangents.

    `func` is run once: the derivative keeps what it needs, and is cheaper to call often than `jvp`.

    Parameters
    ----------
    func : callable
        Gives a Tensor or a nest of containers of them.
    *primals
        The arguments: Tensors or nests of them.

    Returns
    -------
    output
    jvp_fn : callable
        Takes a tangent per argument, gives the tangent of the output.

    Raises
    ------
    RuntimeError
        From `jvp_fn`, if the tangents do not fit the primals.

    Examples
    --------
    >>> import agrad
    >>> value, jvp_fn = agrad.func.linearize(agrad.sin, agrad.tensor(0.0))
    >>> jvp_fn(agrad.tensor(3.0))
    tensor(3.)
    """
    output, vjp_fn, _ = make_vjp(func, primals, None, False)
    values, structure = flatten(primals)
    flat_output, out_structure = flatten(output)
    # v -> vjp_fn(v) is linear; the cotangent of that function is the tangent of this one.
    sources = [engine.zeros_like(y).requires_grad_() for y in flat_output]
    transposed = tuple(flatten(vjp_fn(unflatten(out_structure, sources), True, True))[0])
    switch(sources, False)
    tracking = Tracking(sources)

    def jvp_fn(*tangents: Any) -> Any:
        """The product of the Jacobian with tangents."""
        try:
            directions = flatten_like(structure, tangents)
        except StructureError:
            raise RuntimeError(
                f"Expected the tangents {flatten(tangents)[1]} to have the same argspec as the primals {structure}"
            ) from None
        for i, (t, x) in enumerate(zip(directions, values, strict=True)):
            if not isinstance(t, Tensor):
                raise TypeError(f"tangent:{i} must be a Tensor, not {type(t).__name__}")
            check_backend(f"tangent:{i}", t, "its primal", x)
            for what in ("shape", "device", "dtype"):
                if getattr(t, what) != getattr(x, what):
                    raise RuntimeError(
                        f"tangent:{i} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(x, what)} of the corresponding primal."
                    )
        with tracking:
            found = walk(transposed, tuple(directions), sources, True, engine.get_mode())
        return unflatten(out_structure, found)

    return output, jvp_fn
