"""What all optimizers share: parameter groups, state, hooks, `state_dict`. Must know no algorithm.

Names, arguments and messages are PyTorch's, and so is the layout of `state_dict`: states move both ways.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from agrad.creation import asarray
from agrad.cython_core import engine
from agrad.cython_core.engine import Handle, HookTable, Tensor

# Options of PyTorch's groups that only choose its implementation; its states may have them.
IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable")


def with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A `step` that calls the hooks of its optimizer before and after itself."""
    @functools.wraps(step)
    def wrapper(self: "Optimizer", *args: Any, **kwargs: Any) -> Any:
        for hook in tuple(self._pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is None:
                continue
            if not isinstance(changed, tuple) or len(changed) != 2:
                raise RuntimeError(f"a step pre-hook must return None or (new_args, new_kwargs), but got {changed}")
            args, kwargs = changed
        self._stepped = True
        result = step(self, *args, **kwargs)
        for hook in tuple(self._post_hooks.values()):
            hook(self, args, kwargs)
        return result

    return wrapper


def check_not_negative(values: dict[str, Any]) -> None:
    """Refuse hyperparameters below zero, or NaN."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"Invalid {name}: {value}")


class Optimizer:
    """Base of all optimizers.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict
        What to optimize; a dict is a group of parameters under "params", with options of its own.
    defaults : dict
        The options of groups that do not say otherwise.

    Attributes
    ----------
    param_groups : list of dict
    state : dict of Tensor to dict
        What the optimizer keeps for each parameter.

    Raises
    ------
    TypeError
        If `params` is a Tensor or a set, or a parameter is no Tensor.
    ValueError
        If there are no parameters, a parameter is given twice, is no leaf or has no floating-point or complex dtype.
    """

    _stepped = False  # schedulers warn if they are stepped first

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.__dict__["step"])     # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{type(params).__name__}"
            )
        self.defaults = defaults
        self.state: dict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks, self._post_hooks = HookTable(), HookTable()
        refuse_set(params)
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    # -- parameters

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters; options that it does not have are the defaults.

        Raises
        ------
        TypeError, ValueError
            As the constructor.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        refuse_set(params)
        entries = [params] if isinstance(params, Tensor) else list(params)
        names = [entry[0] for entry in entries if isinstance(entry, tuple)]
        if names and len(names) != len(entries):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        for tensor in tensors:
            check_parameter(tensor)
        group = {**self.defaults, **param_group, "params": tensors}
        if names:
            group["param_names"] = names
        self._check_among_others(group)
        self.param_groups.append(group)

    def _check_among_others(self, group: dict[str, Any]) -> None:
        given = {id(p) for p in group["params"]}
        if len(given) != len(group["params"]):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")
        for other in self.param_groups:
            if ("param_names" in group) != ("param_names" in other):
                form = "with names" if "param_names" in group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {form} to the optimizer"
                )
            if not given.isdisjoint(map(id, other["params"])):
                raise ValueError("some parameters appear in more than one parameter group")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters.

        Parameters
        ----------
        closure : callable, optional
            Clears the gradients, computes the loss, calls its `backward` and returns it.

        Returns
        -------
        What `closure` returned.
        """
        raise NotImplementedError

    # -- hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return other `(args, kwargs)`."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return Handle(self._post_hooks, hook)

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """The state and the options, with parameters numbered in the order of the groups; Tensors are not copied."""
        numbers = {id(p): i for i, p in enumerate(chain.from_iterable(g["params"] for g in self.param_groups))}
        groups = [
            {**{name: value for name, value in group.items() if name != "params"},
             "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[id(key)] if isinstance(key, Tensor) else key: value for key, value in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state: parameters are matched by their order. Arrays of any library are copied and converted.

        Raises
        ------
        ValueError
            If the groups are not as many or not as large as this optimizer's, or a value does not fit its parameter;
            the optimizer is then as before.
        """
        check_layout(state_dict)
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if [len(group["params"]) for group in saved] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        numbers = list(chain.from_iterable(group["params"] for group in saved))
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"loaded state dict has a parameter twice: they are numbered {numbers}")
        parameters = dict(zip(numbers, chain.from_iterable(g["params"] for g in self.param_groups), strict=True))
        state: dict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in parameters:
                state[parameters[key]] = self._restored_state(parameters[key], value)
            else:
                state[key] = deepcopy(value)
        groups = [self._restored_group(*pair) for pair in zip(saved, self.param_groups, strict=True)]
        self.state, self.param_groups = state, groups

    def _restored_group(self, saved: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
        options = {name: deepcopy(value) for name, value in saved.items() if name not in (*IMPLEMENTATION, "params")}
        names = {"param_names": group["param_names"]} if "param_names" in group else {}
        return {**self.defaults, **names, **options, "params": group["params"]}

    def _restored_state(self, p: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """A loaded state as this optimizer keeps it for the parameter `p`."""
        return {name: self._restored(p, name, value) for name, value in state.items()}

    def _restored(self, p: Tensor, name: str, value: Any) -> Any:
        """A value of a loaded state as this optimizer keeps it for the parameter `p`."""
        if isinstance(value, (list, tuple)):
            return type(value)(self._restored(p, name, item) for item in value)
        return like_parameter(value, p) if hasattr(value, "shape") else deepcopy(value)

    def __repr__(self) -> str:
        groups = ""
        for i, group in enumerate(self.param_groups):
            options = (f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
            groups += f"\nParameter Group {i}\n{''.join(options)}"
        return f"{type(self).__name__} ({groups})"


def check_layout(state_dict: Any) -> None:
    """Refuse what no optimizer's `state_dict` gives."""
    missing = [key for key in ("state", "param_groups") if key not in state_dict]
    if missing:
        raise ValueError(f"not the state_dict of an optimizer: it has no {' and no '.join(map(repr, missing))}")
    state, groups = state_dict["state"], state_dict["param_groups"]
    if not isinstance(state, dict) or not all(isinstance(value, dict) for value in state.values()):
        raise ValueError("not the state_dict of an optimizer: its 'state' is no dict of dicts")
    if not isinstance(groups, (list, tuple)) or not all(
        isinstance(group, dict) and isinstance(group.get("params"), (list, tuple)) for group in groups
    ):
        raise ValueError("not the state_dict of an optimizer: its 'param_groups' are no dicts with a list of 'params'")


def refuse_set(params: Any) -> None:
    """The order of the parameters is what a state is matched by."""
    if isinstance(params, (set, frozenset)):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, and the order of a set changes between "
            "runs. Please use a list instead."
        )


def check_parameter(p: Any) -> None:
    """Refuse what cannot be optimized."""
    if not isinstance(p, Tensor):
        raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
    if not (p.is_leaf or p.retains_grad):
        raise ValueError("can't optimize a non-leaf Tensor")
    if p.dtype.kind not in ("real", "complex"):
        raise ValueError(f"can't optimize a Tensor of {p.dtype}: parameters must be floating point or complex")


def computed(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors whose values are at hand: those of a lazy backend would remember all steps of a training."""
    backend: Any = tensors[0].backend_
    inside_transform = engine.base_backend(tensors[0]) is not backend
    if inside_transform or not backend.lazy:
        return tensors
    return [engine.make_tensor(backend, raw) for raw in backend.computed(*map(engine.raw_value, tensors))]


def like_parameter(value: Any, p: Tensor) -> Tensor:
    """A copy of an array of any library on the backend and device of a parameter, and in its dtype if that is alike."""
    given: Any = (value if isinstance(value, Tensor) else asarray(value)).detach()
    dtype = p.dtype if given.dtype.kind == p.dtype.kind else given.dtype
    return given.to(backend=p.backend_.name, device=p.device, dtype=dtype, copy=True)   # type: ignore[no-any-return]
