"""`functional_call`: an object with parameters, called with other ones in their place; parameters of several, stacked.

The object is a module, or anything whose parameters are attributes; dotted names lead into attributes of attributes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agrad.creation import call
from agrad.cython_core.engine import Tensor


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call an object with some of its parameters replaced, and put them back.

    Parameters
    ----------
    module : callable
        An object with `named_parameters()` (and `named_buffers()`), or any whose attributes are meant.
    parameter_and_buffer_dicts : dict, or sequence of dicts
        What to put in place, by dotted name. A name that the call itself gives a new value has that value afterwards.
    args, kwargs
        What to call it with; `args` that is not a tuple is the one argument.
    tie_weights : bool
        Names of one and the same parameter are replaced together.
    strict : bool
        All parameters and buffers must be given, and no other name.

    Returns
    -------
    What the call gives.

    Raises
    ------
    ValueError
        If names appear twice or tied parameters are given different values.
    RuntimeError
        If `strict` and the names do not fit.
    AttributeError
        If a name leads nowhere, or is a property, as a parametrized weight is: replace what it is computed from.

    Examples
    --------
    >>> import agrad
    >>> class Scale:
    ...     factor = agrad.tensor(2.0)
    ...     def __call__(self, x):
    ...         return self.factor * x
    >>> agrad.func.functional_call(Scale(), {"factor": agrad.tensor(5.0)}, agrad.tensor(3.0))
    tensor(15.)
    """
    dicts = _as_dicts(parameter_and_buffer_dicts)
    own = _named_values(module)
    given = {name: value for one in dicts for name, value in one.items()}
    if strict:
        _check_names(module, own, given)
    values = _tied(own, given) if tie_weights else given
    before: list[tuple[Any, str, Any]] = []
    try:
        for name, value in values.items():
            holder, key = _find(module, name)
            before.append((holder, key, _put(holder, key, value)))
        positional = () if args is None else args if isinstance(args, tuple) else (args,)
        result = module(*positional, **(kwargs or {}))
        for one in dicts:
            _hand_back(module, one)
        return result
    finally:
        for holder, key, value in reversed(before):
            _put(holder, key, value)


_ABSENT = object()


def _as_dicts(given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        return [given]
    if not isinstance(given, Sequence):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    if not all(isinstance(one, Mapping) for one in given):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    names = [name for one in given for name in one]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ValueError(f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    return list(given)


def _named_values(module: Any) -> dict[str, Any]:
    """What the object says that its parameters and buffers are, under all their names."""
    found: dict[str, Any] = {}
    for method in ("named_parameters", "named_buffers"):
        if hasattr(module, method):
            found.update(getattr(module, method)(remove_duplicate=False))
    return found


def _check_names(module: Any, own: dict[str, Any], given: dict[str, Any]) -> None:
    wrong = {
        "Missing": [name for name in own if name not in given],
        "Unexpected": [name for name in given if name not in own],
    }
    if any(wrong.values()):
        lines = [f"\n\t{word} key(s): {', '.join(map(repr, names))}." for word, names in wrong.items() if names]
        raise RuntimeError(f"Error(s) in reparametrizing for {type(module).__name__}:{''.join(lines)}")


def _tied(own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The given values, also under the other names of the same parameters."""
    names: dict[int, list[str]] = {}
    for name, value in own.items():
        names.setdefault(id(value), []).append(name)
    values = dict(given)
    for group in names.values():
        new = [name for name in group if name in given]
        if len({id(given[name]) for name in new}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(new)}, which are tied. "
                "Consider using tie_weights=False"
            )
        if new:
            values.update(dict.fromkeys(group, given[new[0]]))
    return values


def _find(module: Any, name: str) -> tuple[Any, str]:
    """The object that holds a dotted name, and its last part."""
    *path, key = name.split(".")
    for part in path:
        if not hasattr(module, part):
            raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
        module = getattr(module, part)
    if isinstance(getattr(type(module), key, None), property):      # an attribute of this name would not be seen
        raise AttributeError(f"{type(module).__name__}.{key} is computed: replace what it is computed from")
    return module, key


def _put(holder: Any, key: str, value: Any) -> Any:
    """Put a value in place and give the one from before; _ABSENT for none.

    Past `__setattr__`: a module would not take a Tensor where a parameter was.
    """
    attributes = vars(holder)
    before = attributes.get(key, _ABSENT)
    if value is _ABSENT:
        attributes.pop(key, None)
    else:
        attributes[key] = value
    return before


def _hand_back(module: Any, given: Any) -> None:
    """What the call assigned to a name is the name's value in the caller's dict."""
    for name, value in given.items():
        holder, key = _find(module, name)
        now = getattr(holder, key)
        if now is not value:
            given[name] = now


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of several modules of one kind, stacked: an ensemble for `vmap`.

    Returns
    -------
    (dict, dict)
        Parameters and buffers by name, with a first axis as long as `models`. Stacked parameters are new leaves.

    Raises
    ------
    RuntimeError
        If there are no modules, or they differ in class, in mode (training or not), or in which parameters require
        grad.

    Examples
    --------
    >>> import agrad
    >>> from agrad import func, nn
    >>> models = [nn.Linear(3, 2) for _ in range(5)]
    >>> params, buffers = func.stack_module_state(models)
    >>> def run(params, buffers, x):
    ...     return func.functional_call(models[0], (params, buffers), x)
    >>> func.vmap(run, (0, 0, None))(params, buffers, agrad.ones((7, 3))).shape
    (5, 7, 2)
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({model.training for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(model) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    return (
        _stacked([dict(model.named_parameters()) for model in models]),
        _stacked([dict(model.named_buffers()) for model in models]),
    )


def _stacked(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several dicts, stacked by name; leaves, where they require grad."""
    stacked = {}
    for name in states[0]:
        tensors = [state[name] for state in states]
        requires_grad = {t.requires_grad for t in tensors}
        if len(requires_grad) > 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        stacked[name] = call("stack", tensors).detach().requires_grad_(requires_grad.pop())
    return stacked
