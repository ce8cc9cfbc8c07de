"""`grad`, `grad_and_value` and `vjp`: reverse mode on leaves of the transform's own.

A function is called with fresh leaves, so nothing outside is ever mistaken for them; where an argument is tracked
outside, the leaf is an alias of it, so that derivatives of derivatives flow. Must know no backend and no rule.
"""

import functools
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from agrad.autograd.tangents import fitting_cotangent
from agrad.cython_core import engine
from agrad.cython_core.engine import Mode, Tensor
from agrad.func.pytrees import StructureError, flatten, flatten_like, map_leaves, unflatten

ArgNums = int | tuple[int, ...]


def grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`.

    Parameters
    ----------
    func : callable
        Gives a Tensor with no axes.
    argnums : int or tuple of int
        The arguments to differentiate by; each is a Tensor or a nest of containers of Tensors.
    has_aux : bool
        `func` gives a pair (output, aux); aux is handed on.

    Returns
    -------
    callable
        Takes the arguments of `func`, gives gradients in the structure of the chosen argument (of a tuple of them if
        `argnums` is a tuple), and with `has_aux` the pair (gradients, aux).

    Raises
    ------
    RuntimeError
        When called, if `func` does not give a Tensor with no axes, or `argnums` does not fit.

    Examples
    --------
    >>> import agrad
    >>> agrad.func.grad(lambda x: agrad.sum(x ** 3))(agrad.tensor([1.0, 2.0]))
    tensor([ 3., 12.])
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        found, _, aux = _differentiate(func, argnums, has_aux, args, kwargs, False)
        return (found, aux) if has_aux else found

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func` and its value.

    Parameters
    ----------
    func, argnums, has_aux
        As for `grad`.

    Returns
    -------
    callable
        Gives (gradients, output), with `has_aux` (gradients, (output, aux)).

    Examples
    --------
    >>> import agrad
    >>> agrad.func.grad_and_value(lambda x: x ** 3)(agrad.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def gradient_and_value(*args: Any, **kwargs: Any) -> Any:
        found, value, aux = _differentiate(func, argnums, has_aux, args, kwargs, True)
        return (found, (value, aux)) if has_aux else (found, value)

    return gradient_and_value


def _differentiate(
    func: Callable[..., Any],
    argnums: ArgNums,
    has_aux: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    want_value: bool,
) -> tuple[Any, Any, Any]:
    """Gradients, and the value and aux without the history of this transform."""
    mode = engine.get_mode()
    leaves, structure, args = fresh_leaves(args, argnums)
    aux = None
    try:
        set_recording(mode)
        output = func(*args, **kwargs)
        if has_aux:
            output, aux = split_aux(output, "grad_and_value(f)(*args)")
        _check_scalar(output)
        found = walk((output,), (None,), leaves, False, mode)
        if want_value:
            output = released(output, leaves, mode)
        if has_aux:
            aux = released_aux(aux, leaves, mode)
    finally:
        engine.set_mode(mode)
        switch(leaves, False)
    return unflatten(structure, found), output, aux


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of a function, and a function that multiplies cotangents with its Jacobian.

    Parameters
    ----------
    func : callable
        Gives a Tensor or a nest of containers of them.
    *primals
        The arguments: Tensors or nests of them.
    has_aux : bool
        `func` gives a pair (output, aux); aux is handed on.

    Returns
    -------
    output
    vjp_fn : callable
        Takes a cotangent in the structure of the output, gives a tuple with a gradient per argument; may be called
        any number of times.
    aux
        Only with `has_aux`.

    Raises
    ------
    RuntimeError
        If the output is not made of floating Tensors; from `vjp_fn`, if a cotangent does not fit.

    Examples
    --------
    >>> import agrad
    >>> value, vjp_fn = agrad.func.vjp(agrad.sin, agrad.tensor(0.0))
    >>> vjp_fn(agrad.tensor(2.0))
    (tensor(2.),)
    """
    output, vjp_fn, aux = make_vjp(func, primals, None, has_aux)
    return (output, vjp_fn, aux) if has_aux else (output, vjp_fn)


def make_vjp(
    func: Callable[..., Any], primals: tuple[Any, ...], argnums: ArgNums | None, has_aux: bool
) -> tuple[Any, Callable[..., Any], Any]:
    """Output, function of cotangents, aux; for the arguments `argnums`, None: a tuple of all."""
    mode = engine.get_mode()
    leaves, structure, primals = fresh_leaves(primals, argnums)
    aux = None
    try:
        set_recording(mode)
        output = func(*primals)
        if has_aux:
            output, aux = split_aux(output, "vjp(f, *primals)")
        roots, out_structure = flatten(output)
        check_outputs(output, roots, "vjp(f, *primals)")
        for root in roots:
            if root.dtype.kind not in ("real", "complex"):
                raise RuntimeError(
                    "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                    f"{root.dtype}"
                )
        output = unflatten(out_structure, [released(root, leaves, mode) for root in roots])
        if has_aux:
            aux = released_aux(aux, leaves, mode)
    finally:
        engine.set_mode(mode)
        switch(leaves, False)
    tracking = Tracking(leaves)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        """The product of a cotangent with the Jacobian."""
        try:
            given = flatten_like(out_structure, cotangents)
        except StructureError:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {flatten(cotangents)[1]}, primal output: {out_structure}"
            ) from None
        now = engine.get_mode()
        try:
            set_recording(now)
            grads = tuple(fitting_cotangent(i, root, g) for i, (root, g) in enumerate(zip(roots, given, strict=True)))
            with tracking:
                found = walk(tuple(roots), grads, leaves, retain_graph, now, create_graph)
        finally:
            engine.set_mode(now)
        return unflatten(structure, found)

    return output, vjp_fn, aux


# ---- what the transforms share


def fresh_leaves(args: tuple[Any, ...], argnums: ArgNums | None) -> tuple[list[Tensor], Any, tuple[Any, ...]]:
    """Leaves to differentiate by, the structure they came in, and the arguments with them in place."""
    if argnums is None:
        originals, structure = flatten(args)
        leaves = [fresh_leaf(x) for x in originals]
        return leaves, structure, unflatten(structure, leaves)
    chosen = chosen_arguments(argnums, len(args))
    if type(argnums) is int and isinstance(args[chosen[0]], Tensor):     # by far the most frequent
        i = chosen[0]
        leaf = fresh_leaf(args[i])
        return [leaf], flatten(leaf)[1], (*args[:i], leaf, *args[i + 1:])
    originals, structure = flatten(tuple(args[i] for i in chosen))
    leaves = [fresh_leaf(x) for x in originals]
    replaced = list(args)
    for i, tree in zip(chosen, unflatten(structure, leaves), strict=True):
        replaced[i] = tree
    if isinstance(argnums, int):
        structure = structure.children[0]
    return leaves, structure, tuple(replaced)


def chosen_arguments(argnums: Any, n: int) -> tuple[int, ...]:
    """The positions that `argnums` means, among n arguments."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    wanted = argnums if isinstance(argnums, tuple) else (argnums,)
    for i in wanted:
        if not isinstance(i, int):
            raise RuntimeError(f"argnum must be int, got: {type(i)}")
        if not -n <= i < n:
            raise RuntimeError(f"Got argnum={i}, but only {n} positional inputs")
    if not wanted:
        raise RuntimeError("argnums must be non-empty")
    chosen = tuple(i % n for i in wanted)
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return chosen


def fresh_leaf(x: Any) -> Tensor:
    """A tensor of this transform's own with the value of x, connected to x if x is tracked."""
    if not isinstance(x, Tensor):
        raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
    twin = engine.alias(engine.lift(x))     # lifted: a constant of the level that runs needs a leaf at that level
    return twin if twin.requires_grad else twin.requires_grad_()


def switch(leaves: Sequence[Tensor], tracked: bool) -> None:
    """Track fresh leaves or not; aliases of what is tracked outside stay as they are."""
    for leaf in leaves:
        if leaf.is_leaf:
            leaf.requires_grad_(tracked)


class Tracking:
    """A block in which fresh leaves are tracked: at other times an outer walk would take them for somebody's leaves."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self._leaves = leaves
        self._walks = 0     # under way, in all threads
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._walks += 1
            switch(self._leaves, True)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._walks -= 1
            if not self._walks:
                switch(self._leaves, False)


def set_recording(mode: Mode) -> None:
    """Record from here on: what a transform gives must not depend on a `no_grad` around it."""
    if not mode.grad or mode.inference:
        engine.set_mode(mode.replace(grad=True, inference=False))


def split_aux(output: Any, api: str) -> tuple[Any, Any]:
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _check_scalar(output: Any) -> None:
    if not isinstance(output, Tensor):
        raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}")
    if output.ndim != 0:
        raise RuntimeError(
            f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {output.ndim} "
            "dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
        )
    if output.requires_grad and output.dtype.kind == "complex":
        raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {output.dtype}")


def check_outputs(output: Any, flat: Sequence[Any], api: str) -> None:
    """The function gave Tensors, and at least one."""
    if not flat:
        got = [None] if output is None else []
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {got})")
    for one in flat:
        if not isinstance(one, Tensor):
            raise RuntimeError(f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(one)}")


def walk(
    roots: tuple[Tensor, ...],
    grads: tuple[Tensor | None, ...],
    leaves: Sequence[Tensor],
    retain: bool,
    outside: Mode,
    create_graph: bool | None = None,
) -> list[Tensor]:
    """Gradients of the roots by the leaves, zeros where there is no path; recorded only if somebody could need it."""
    tracked = [
        (root, engine.ones_like(root) if g is None else g)
        for root, g in zip(roots, grads, strict=True)
        if root.requires_grad
    ]
    if not tracked or not leaves:
        return [engine.zeros_like(leaf) for leaf in leaves]
    if create_graph is None and not outside.grad:
        create_graph = False
    if len(tracked) == 1:
        roots, cotangents = (tracked[0][0],), (tracked[0][1],)
    else:
        roots, cotangents = zip(*tracked, strict=True)
    found = engine.run_backward(roots, cotangents, retain, create_graph, tuple(leaves), False)
    return [engine.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]


def released(t: Tensor, leaves: Sequence[Tensor], outside: Mode) -> Tensor:
    """A result without the history of this transform; with it if it also depends on something tracked outside."""
    if not t.requires_grad:
        return t
    own = tuple(leaf for leaf in leaves if leaf.is_leaf)
    if outside.grad and (not own or engine.history_beyond((t,), own)):
        return t
    engine.set_mode(outside.replace(grad=False))
    try:
        return engine.alias(t)
    finally:
        engine.set_mode(outside)


def released_aux(aux: Any, leaves: Sequence[Tensor], outside: Mode) -> Any:
    def release(one: Any) -> Any:
        if isinstance(one, Tensor):
            return released(one, leaves, outside)
        raise RuntimeError(f"Expected tensors, got unsupported type {type(one)}")

    return map_leaves(release, aux)
