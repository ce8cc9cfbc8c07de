"""The batch rule of an op: how it runs on a whole batch at once, which is what vmap calls.

Rules follow from what `agrad.standard` says of the parameters; the rest stands in the records as ``batch=``. A rule is
called with (size, values, batched): the batch is the first axis of the values that are batched, and of every result.
Must know no backend, no single rule set, and nothing of levels.
"""

import warnings
from collections.abc import Callable, Sequence
from inspect import signature as python_signature
from math import prod
from typing import Any

from agrad.cython_core import engine
from agrad.cython_core.engine import Op
from agrad.standard import ARRAY_KINDS

BatchRule = Callable[[int, Sequence[Any], Sequence[Any]], Any]

OPERANDS = ARRAY_KINDS | {"index", "index?"}
PLACES = frozenset(("axis", "axes", "shape"))
GROWING = ("expand_dims",)          # their axes are those of the result
ORDERING = ("permute_dims",)        # their axes are all of them


def find(op: Op) -> BatchRule:
    """The batch rule of an op: its record's, or derived; without any the op runs once per sample."""
    rule = op.rule      # loads the record
    given = getattr(op.record, "batch", None)
    if callable(given):
        return declared(op, given)
    if given == "elementwise" or is_elementwise(op, rule):
        return elementwise(op)
    if op.name in ENGINES_OWN:
        return ENGINES_OWN[op.name]
    if op.signature.core is not None:
        return on_last_axes(op)
    return along_axes(op) if has_places(op) else loop(op)


def is_elementwise(op: Op, rule: Any) -> bool:
    return op.signature.chapter == "elementwise" or (rule is not None and rule.family in ("elementwise", "select"))


def has_places(op: Op) -> bool:
    """Whether all that an op takes is one array and axes or a shape."""
    kinds = [p.kind for p in op.signature.parameters]
    return [kind for kind in kinds if kind in OPERANDS or kind == "key"] == ["array"] and not PLACES.isdisjoint(kinds)


# -------------------------------------------------------------------------------------------------------------- helpers


def caller(op: Op) -> Callable[[Sequence[Any]], Any]:
    """The op as a function of a value for each parameter, a tuple for several arrays; batched or not."""
    function, parameters = op.function, op.signature.parameters
    if op.signature.n_by_position == len(parameters) and all(p.role != "var_positional" for p in parameters):
        return lambda values: function(*values)
    by_position = [i for i, p in enumerate(parameters) if p.role != "keyword_only"]
    keywords = [(p.name, i) for i, p in enumerate(parameters) if p.role == "keyword_only"]
    spread = any(p.role == "var_positional" for p in parameters)

    def call(values: Sequence[Any]) -> Any:
        args = [values[i] for i in by_position]
        if spread:
            *args, arrays = args
            args.extend(arrays)
        return function(*args, **{name: values[i] for name, i in keywords})

    return call


def shifted(axis: Any, ndim: int) -> Any:
    """Axes of a sample with `ndim` axes as axes of the batch, counted from the front.

    Raises
    ------
    IndexError
        For an axis that a sample lacks: counted in the batch it could mean the samples themselves.
    """
    if not isinstance(axis, int):
        return tuple(shifted(a, ndim) for a in axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"axis {axis} is out of bounds for a sample of vmap, which has {ndim} axes")
    return axis % ndim + 1


def lifted(x: Any, ndim: int) -> Any:
    """A batched array whose samples have `ndim` axes at least: new ones of length 1 stand behind the batch."""
    missing = ndim + 1 - x.ndim
    return namespace(x).expand_dims(x, axis=tuple(range(1, 1 + missing))) if missing > 0 else x


def spread(x: Any, size: int, xp: Any) -> Any:
    """An operand that is the same in all samples, as a batch."""
    x = x if isinstance(x, engine.Tensor) else xp.asarray(x)
    return xp.broadcast_to(x, (size, *x.shape))


def namespace(x: Any) -> Any:
    return x.__array_namespace__()


def namespace_of(values: Sequence[Any], batched: Sequence[Any]) -> Any:
    """Where the first batched value lives."""
    for value, flag in zip(values, batched, strict=True):
        if isinstance(flag, tuple):
            if any(map(truth, flag)):
                return namespace_of(value, flag)
        elif flag:
            return namespace(value)
    raise ValueError("no value is batched")


def truth(flag: Any) -> bool:
    return any(map(truth, flag)) if isinstance(flag, tuple) else bool(flag)


def per_result(result: Any, change: Callable[[Any], Any]) -> Any:
    """One result or each of several changed; named tuples keep their names."""
    if not isinstance(result, (tuple, list)):
        return change(result)
    parts = map(change, result)
    return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)


# ---------------------------------------------------------------------------------------------------------- elementwise


def elementwise(op: Op) -> BatchRule:
    """Operands broadcast; ranks are made equal first, for the batch is to meet the batch."""
    function = op.function
    places = [i for i, p in enumerate(op.signature.parameters) if p.kind in OPERANDS]

    def alone(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        return function(*values)

    def together(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        ndim, least = 0, None
        for i in places:
            own = getattr(values[i], "ndim", 0)
            if batched[i]:
                own -= 1
                least = own if least is None or own < least else least
            if own > ndim:
                ndim = own
        if least is not None and least < ndim:
            values = [lifted(v, ndim) if flag else v for v, flag in zip(values, batched, strict=True)]
        return function(*values)

    return alone if len(places) == 1 else together


# ------------------------------------------------------------------------------------------------------------ last axes


def on_last_axes(op: Op) -> BatchRule:
    """The op acts on the last axes, as `core` says, and broadcasts the others; index operands have only others."""
    call, parameters = caller(op), op.signature.parameters
    given = iter(op.signature.core or ())
    cores = [next(given) if p.kind in ARRAY_KINDS else 0 for p in parameters]
    places = [i for i, p in enumerate(parameters) if p.kind in OPERANDS]
    arrays = [i for i, p in enumerate(parameters) if p.kind in ARRAY_KINDS]

    def rule(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        most, flags = 0, batched
        if not any(batched[i] for i in arrays):     # only an index operand is
            xp = namespace_of(values, batched)
            values = [spread(v, size, xp) if i in arrays else v for i, v in enumerate(values)]
            flags = [flag or i in arrays for i, flag in enumerate(batched)]
        others = {}
        for i in places:
            if flags[i]:
                others[i] = values[i].ndim - 1 - cores[i]
                if others[i] < 0:
                    raise ValueError(
                        f"{op.name}() acts on the last {cores[i]} axes of {parameters[i].name!r}; under vmap a sample "
                        f"has {values[i].ndim - 1}"
                    )
                most = max(most, others[i])
            elif values[i] is not None:
                most = max(most, getattr(values[i], "ndim", 0) - cores[i])
        if any(n < most for n in others.values()):
            values = [lifted(v, most + cores[i]) if i in others else v for i, v in enumerate(values)]
        return call(values)

    return rule


# ------------------------------------------------------------------------------------------------------ axes and shapes


def along_axes(op: Op) -> BatchRule:
    """Axes are counted from behind the batch, None means all of them but the batch; shapes begin with the batch."""
    call, arguments, every = caller(op), shifting(op), loop(op)
    own = next(i for i, p in enumerate(op.signature.parameters) if p.kind == "array")
    single = [i for i, p in enumerate(op.signature.parameters) if p.kind == "axis"]
    axes = [i for i, p in enumerate(op.signature.parameters) if p.kind in ("axis", "axes")]

    def rule(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        ndim = values[own].ndim - 1
        if ndim > 1 and any(values[i] is None for i in single):
            return every(size, values, batched)     # in a row: what that means, only the op knows
        if ndim == 0 and op.name not in GROWING and any(values[i] in (None, 0, -1) for i in axes):
            return of_scalars(size, values)
        return call(arguments(size, values))

    def of_scalars(size: int, values: Sequence[Any]) -> Any:
        """Libraries that take an axis of a 0-d array treat it as one of length 1; some take no axes, (), for all."""
        x = namespace(values[own]).expand_dims(values[own], axis=1)
        result = call(arguments(size, [x if i == own else v for i, v in enumerate(values)]))
        return per_result(result, lambda out: namespace(out).squeeze(out, axis=1) if out.shape == (size, 1) else out)

    return rule


def shifting(op: Op) -> Callable[[int, Sequence[Any]], list[Any]]:
    """What to call such an op with, if its array is a batch."""
    parameters = op.signature.parameters
    own = next(i for i, p in enumerate(parameters) if p.kind == "array")
    places = [(i, p.kind) for i, p in enumerate(parameters) if p.kind in PLACES]

    def arguments(size: int, values: Sequence[Any]) -> list[Any]:
        found = list(values)
        x = values[own]
        ndim = x.ndim - 1
        for i, kind in places:
            given = values[i]
            if kind == "shape":
                found[i] = (size, *without_unknown(given, x.shape[1:]))
                found[own] = lifted(x, len(given) if hasattr(given, "__len__") else 1)
            elif given is None:
                found[i] = 1 if kind == "axis" else tuple(range(1, 1 + ndim))
            elif op.name in ORDERING:
                found[i] = (0, *shifted(given, ndim))
            else:
                more = (1 if isinstance(given, int) else len(given)) if op.name in GROWING else 0
                found[i] = shifted(given, ndim + more)
        return found

    return arguments


def without_unknown(shape: Any, own: tuple[Any, ...]) -> tuple[Any, ...]:
    """A shape for samples of the shape `own` with its -1 written out: a batch may have no samples to tell it from."""
    given: tuple[Any, ...] = (shape,) if isinstance(shape, int) else tuple(shape)
    known = prod(n for n in given if n != -1)
    if given.count(-1) != 1 or not isinstance(known, int) or known == 0:
        return given
    return tuple(prod(own) // known if n == -1 else n for n in given)


# ------------------------------------------------------------------------------------------------------------- declared


def declared(op: Op, function: Callable[..., Any]) -> BatchRule:
    """The record's own rule, which is given what it names: parameters, `size`, `batched`, `xp`.

    `batched` is a dict of the names that are batched, for several arrays and for keys with a flag for each part.
    """
    positions = op.signature.positions
    names = list(python_signature(function).parameters)
    others = {name: place for place, name in enumerate(names) if name not in positions}
    sources = [positions.get(name, -1) for name in names]
    parameters = op.signature.bind_names

    def rule(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        arguments = [values[i] if i >= 0 else None for i in sources]
        if "size" in others:
            arguments[others["size"]] = size
        if "batched" in others:
            flags = zip(parameters, batched, strict=True)
            arguments[others["batched"]] = {name: flag for name, flag in flags if truth(flag)}
        if "xp" in others:
            arguments[others["xp"]] = namespace_of(values, batched)
        return function(*arguments)

    return rule


# ----------------------------------------------------------------------------------------------------------------- loop


def loop(op: Op) -> BatchRule:
    """Once per sample, results stacked: for ops of others of which nothing is known. Says so once."""
    call = caller(op)
    said: list[bool] = []

    def rule(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
        if not said:
            said.append(True)
            warnings.warn(
                f"{op.name} has no batch rule: under vmap it runs once for each sample. Give its record batch=, or its "
                "line core=",
                UserWarning, stacklevel=2,
            )
        xp = namespace_of(values, batched)
        if size == 0:
            result = call([sample(v, flag, None) for v, flag in zip(values, batched, strict=True)])
            return per_result(result, lambda out: xp.zeros((0, *out.shape), dtype=out.dtype))
        results = [call([sample(v, flag, k) for v, flag in zip(values, batched, strict=True)]) for k in range(size)]
        if not isinstance(results[0], (tuple, list)):
            return xp.stack(results)
        stacked = [xp.stack(parts) for parts in zip(*results, strict=True)]
        return type(results[0])(*stacked) if hasattr(results[0], "_fields") else type(results[0])(stacked)

    return rule


def sample(value: Any, flag: Any, k: int | None) -> Any:
    """What sample k has of a value; of a batch without samples zeros."""
    if isinstance(flag, tuple):
        return tuple(sample(v, f, k) for v, f in zip(value, flag, strict=True))
    if not flag:
        return value
    xp = namespace(value)
    return xp.zeros(value.shape[1:], dtype=value.dtype) if k is None else xp.getitem(value, k)


# ---------------------------------------------------------------------------------------------- the engine's own, views
# A step of a view is (op, its values or None, which output or -1). Keys of views have no arrays in them.


def read_steps(size: int, x: Any, steps: Any) -> tuple[Any, list[Any]]:
    """What the steps of each sample lead to, and the steps of the batch."""
    found = []
    for op, values, output in steps:
        given = [x, *(op.defaults if values is None else values)[1:]]
        changed = step_of_batch(op, size, given)
        if changed[0].ndim > x.ndim:
            found.append((engine.find_op("expand_dims"), (None, tuple(range(1, 1 + changed[0].ndim - x.ndim))), -1))
        found.append((op, (None, *changed[1:]), output))
        result = caller(op)(changed)
        x = result if output < 0 else result[output]
    return x, found


def step_of_batch(op: Op, size: int, values: list[Any]) -> list[Any]:
    """What one step is called with, if what it reads is a batch."""
    if op.name == "getitem":
        key = values[1] if isinstance(values[1], tuple) else (values[1],)
        return [values[0], (slice(None), *key)]
    if op.name in ORDERING or has_places(op):
        return shifting(op)(size, values)
    return values


def read_view(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
    x, steps = values
    return read_steps(size, x, steps)[0]


def write_view(size: int, values: Sequence[Any], batched: Sequence[Any]) -> Any:
    """The value's samples get as many axes as the view's, or the batch would meet another axis."""
    x, value, steps = values
    xp = namespace_of(values, batched)
    if not batched[0]:
        x = spread(x, size, xp)
    view, steps = read_steps(size, x, steps)
    if batched[1]:
        value = fitted(value, view.ndim - 1, xp)
    return xp.write_view(x, value, tuple(steps))


def fitted(value: Any, ndim: int, xp: Any) -> Any:
    """A batched value to be written where a sample has `ndim` axes: it may have more, of length 1."""
    more = value.ndim - 1 - ndim
    return xp.squeeze(value, axis=tuple(range(1, 1 + more))) if more > 0 else lifted(value, ndim)


ENGINES_OWN: dict[str, BatchRule] = {"read_view": read_view, "write_view": write_view}
