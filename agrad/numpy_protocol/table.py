"""The table of NumPy functions that run on Tensors, and how an implementation is entered into it.

An implementation has the names of NumPy's own parameters, those of them that it supports. What it does not support is
not among them: a call that sets it raises, and one that passes the default does not. Must know none of the functions.
"""

from collections.abc import Callable, Iterator
from functools import cache
from inspect import Parameter, Signature, signature
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from agrad import rules
from agrad.creation import call, convert
from agrad.cython_core.engine import Tensor

Implementation = TypeVar("Implementation", bound=Callable[..., Any])


class Entry(NamedTuple):
    """What runs in place of one NumPy function.

    Attributes
    ----------
    function : callable
    arrays : tuple of str
        Parameters that are made Tensors; with a star, sequences of which each element is. Python numbers stay, they
        take part in promotion as such.
    op : str or None
        The op, if the function is one op and nothing else.
    flat : bool
        Whether the result has no derivative at all.
    accepted : frozenset of str
        All parameters of the function. `like` gets the Tensor that the call came through.
    open : bool
        Whether it takes any keyword.
    """

    function: Callable[..., Any]
    arrays: tuple[str, ...]
    op: str | None
    flat: bool
    accepted: frozenset[str]
    open: bool


FUNCTIONS: dict[str, Entry] = {}


def handles(
    names: str, arrays: str = "a", *, op: str | None = None, flat: bool = False
) -> Callable[[Implementation], Implementation]:
    """Enter a function into the table under NumPy's names; names and array parameters are separated by spaces."""
    def register(function: Implementation) -> Implementation:
        parameters = signature(function).parameters
        takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
        entry = Entry(function, tuple(arrays.split()), op, flat, frozenset(parameters), takes_any)
        FUNCTIONS.update(dict.fromkeys(names.split(), entry))
        return function

    return register


def one_to_one(block: str, *, flat: bool = False) -> None:
    """Enter functions that are one op each: `name  op(a, b; axis, key=parameter)`, with NumPy's names of parameters.

    Before the semicolon stand the arrays and other positional arguments, after it the op's keywords.
    """
    for line in block.strip().splitlines():
        name, _, target = line.strip().partition(" ")
        op, _, inside = target.strip().rstrip(")").partition("(")
        positional, _, keywords = inside.partition(";")
        pairs = [word.strip().partition("=") for word in keywords.split(",") if word.strip()]
        function = forward(op, split(positional), {key: own or key for key, _, own in pairs})
        handles(name, split(positional)[0], op=op, flat=flat)(function)


def split(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def forward(op: str, positional: list[str], keywords: dict[str, str]) -> Callable[..., Any]:
    """A function of NumPy's parameters that calls an op."""
    def function(**given: Any) -> Any:
        named = {key: given[own] for key, own in keywords.items() if own in given}
        return call(op, *(given[own] for own in positional), **named)

    parameters = [Parameter(own, Parameter.KEYWORD_ONLY) for own in (*positional, *keywords.values())]
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return function


# ------------------------------------------------------------------------------------------------------------ a call


def name_of(function: Callable[..., Any]) -> str:
    """NumPy's name of a function: "sum", "linalg.det"."""
    return f"{function.__module__}.{function.__name__}".removeprefix("numpy.")


def missing(name: str, what: str = "") -> TypeError:
    """The error for what cannot be done without leaving the graph."""
    return TypeError(
        f"np.{name}: {what or 'this function has no implementation on agrad Tensors'}; "
        "compose it of functions that have one, or leave the graph with x.detach().numpy()"
    )


def run(function: Callable[..., Any], like: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the implementation of a NumPy function with the arguments that NumPy's function got."""
    name = name_of(function)
    entry = FUNCTIONS.get(name)
    if entry is None:
        raise missing(name)
    form = form_of(function)
    given, spread = bind(name, form, entry, args, kwargs)
    out = given.pop("out", None)
    if "like" in entry.accepted:
        given["like"] = like
    for array in entry.arrays:
        key = array.rstrip("*")
        if key in given:
            given[key] = [lift(part, like) for part in given[key]] if array != key else lift(given[key], like)
    positional = []
    if spread:
        positional = [given.pop(key) for key in form.positional] + [lift(value, like) for value in spread]
    result = entry.function(*positional, **given)
    return result if out is None else deliver(name, result, out)


class Form(NamedTuple):
    """How a NumPy function is called.

    Attributes
    ----------
    signature : inspect.Signature
    positional : tuple of str
        The parameters before a `*args` or a keyword-only one.
    defaults : dict
        The parameters that may be given by keyword, and their defaults.
    variadic : bool
        Whether it takes `*args` or `**kwargs`.
    """

    signature: Signature
    positional: tuple[str, ...]
    defaults: dict[str, Any]
    variadic: bool


@cache
def form_of(function: Callable[..., Any]) -> Form:
    """The form of a NumPy function; of its implementation where NumPy's own signature cannot be read."""
    try:
        form = signature(function)
    except ValueError:
        form = signature(FUNCTIONS[name_of(function)].function)
    parameters = form.parameters.values()
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return Form(
        form,
        tuple(p.name for p in parameters if p.kind in by_position),
        {p.name: p.default for p in parameters if p.kind is not Parameter.POSITIONAL_ONLY},
        any(p.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for p in parameters),
    )


def bind(
    name: str, form: Form, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The arguments by name, without defaults that the implementation lacks; and those of a `*args`."""
    usual = dict(zip(form.positional, args, strict=False), **kwargs)     # without inspect's machinery
    if (
        not form.variadic and len(usual) == len(args) + len(kwargs)
        and usual.keys() <= entry.accepted and kwargs.keys() <= form.defaults.keys()
    ):
        return usual, ()
    bound = form.signature.bind(*args, **kwargs)
    spread: tuple[Any, ...] = ()
    given: dict[str, Any] = {}
    for key, value in bound.arguments.items():
        parameter = form.signature.parameters[key]
        if parameter.kind is Parameter.VAR_POSITIONAL:
            spread = value
        elif parameter.kind is Parameter.VAR_KEYWORD:
            given |= {k: v for k, v in value.items() if is_supported(name, entry, k, v, None)}
        elif is_supported(name, entry, key, value, parameter.default):
            given[key] = value
    return given, spread


# What may be given besides the default where it changes nothing.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "order": ("C", "K", "A"), "subok": (True, False), "casting": ("same_kind",), "overwrite_input": (False, True),
}
IGNORED = ("kind", "optimize")      # how the result is found is the backend's affair


def is_supported(name: str, entry: Entry, key: str, value: Any, default: Any) -> bool:
    """Whether to pass an argument on; False if it says nothing new, TypeError if it cannot be respected."""
    if value is np._NoValue:
        return False
    if key in entry.accepted or (key == "out" and value is not None) or entry.open:
        return True
    if value is default or value is None or key in IGNORED or value in HARMLESS.get(key, ()):
        return False
    if isinstance(default, (bool, int, float, str)) and isinstance(value, (bool, int, float, str)) and value == default:
        return False
    raise missing(name, f"{key}={value!r} is not supported on agrad Tensors")


# --------------------------------------------------------------------------------------------------- arrays in and out


def lift(value: Any, like: Tensor) -> Any:
    """NumPy arrays and sequences as Tensors where another one lives; Tensors, numbers and None as they are."""
    if isinstance(value, (list, tuple)) and not holds_tensors(value):
        value = np.asarray(value)       # in NumPy's dtype, not in the default one
    if isinstance(value, (np.ndarray, list, tuple)):
        return convert(value, backend=like.backend_, device=like.device)
    return value


def holds_tensors(value: Any) -> bool:
    """Whether a nested sequence holds a Tensor."""
    return isinstance(value, (list, tuple)) and any(isinstance(x, Tensor) or holds_tensors(x) for x in value)


def array(value: Any, like: Tensor) -> Tensor:
    """Anything as a Tensor; a Python number in the dtype that it would be promoted to."""
    value = lift(value, like)
    if isinstance(value, Tensor):
        return value
    weak = isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)
    kinds = ("bool", "unsigned", "signed", "real", "complex")
    fits = weak and kinds.index(like.dtype.kind) >= (bool, int, int, float, complex).index(type(value))
    return convert(value, backend=like.backend_, device=like.device, dtype=like.dtype if fits else None)


def deliver(name: str, result: Any, out: Any) -> Any:
    """Put a result into `out=`: a Tensor is written to and keeps the history; a NumPy array takes untracked values."""
    if isinstance(out, tuple):
        results = result if isinstance(result, tuple) else (result,)
        filled = tuple(r if o is None else deliver(name, r, o) for r, o in zip(results, out, strict=True))
        return filled if isinstance(result, tuple) else filled[0]
    if not isinstance(out, Tensor):
        if result.requires_grad:
            raise missing(name, "out= is a NumPy array, which cannot hold the history of a tracked result")
        np.copyto(out, result.numpy(), casting="same_kind")
        return out
    if result.shape != out.shape:
        raise ValueError(f"np.{name}: a result of shape {result.shape} does not fit out= of shape {out.shape}")
    out[...] = result
    return out


def cast(name: str, x: Tensor, dtype: Any, casting: Any = "same_kind") -> Tensor:
    """An array in the dtype that `dtype=` asks for."""
    target = np.dtype(dtype)
    if not np.can_cast(x.dtype.dtype, target, casting):
        raise TypeError(f"np.{name}: cannot cast from {x.dtype.name} to {target.name} with casting rule {casting!r}")
    return x.to(dtype=target)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as non-negative numbers; None means all."""
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(normalize_axis_index(a, ndim) for a in axes)


def space(x: Tensor) -> Any:
    """The namespace where a Tensor lives."""
    return x.__array_namespace__()


def names_in(module: Any) -> Iterator[tuple[str, Any]]:
    """The functions and ufuncs of a NumPy module that dispatch, under their public names."""
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, np.ufunc) or hasattr(value, "_implementation"):
            yield name, value


def target_of(function: Callable[..., Any]) -> Any:
    """The op that a NumPy function is; True if it is made of ops, False if it has no derivative, None if missing."""
    entry = FUNCTIONS.get(name_of(function))
    return None if entry is None else not entry.flat if entry.op is None else known(entry.op)


def known(name: str) -> Any:
    """The op of a name; None if no installed plugin declares it."""
    try:
        return rules.find(name)
    except LookupError:
        return None
