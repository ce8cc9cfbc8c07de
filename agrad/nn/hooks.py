"""Hooks of modules: functions that run before and after `forward`, and when gradients have gone through a module.

Must know nothing of parameters.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from agrad.autograd.function import Function
from agrad.cython_core.engine import Handle, HookTable, Tensor, is_grad_enabled


class Hook(NamedTuple):
    """A forward hook, and how it wants to be called."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class Hooks:
    """The hooks of one module, each kind in the order in which they run."""

    def __init__(self) -> None:
        self.forward_pre: Any = HookTable()     # of `Hook`, as `forward`
        self.forward: Any = HookTable()
        self.backward_pre, self.backward = HookTable(), HookTable()

    def add(self, table: str, hook: Any, prepend: bool = False) -> Handle:
        """Add a hook at the end of a table, or before the others."""
        hooks = getattr(self, table)
        before = dict(hooks) if prepend else {}
        handle = Handle(hooks, hook)
        for number in before:
            hooks[number] = hooks.pop(number)
        return handle


class Hooked:
    """What of a module calls `forward` and its hooks."""

    _hooks: Hooks | None    # None until there is one: a call then costs one test more than that of `forward`
    forward: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None:
            return self.forward(*args, **kwargs)
        return _call(self, self._hooks, args, kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call a function before `forward`, as `hook(module, args)`; what it returns replaces the arguments.

        Parameters
        ----------
        hook : callable
            Returns None, one argument, or a tuple of them. With `with_kwargs` it is called as
            `hook(module, args, kwargs)` and returns None or a pair of new ones.
        prepend : bool
            Run it before the hooks that are there.

        Returns
        -------
        handle
            With `remove()`; also a context manager.
        """
        return self._call_hooks().add("forward_pre", Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call a function after `forward`, as `hook(module, args, output)`; what it returns replaces the output.

        Parameters
        ----------
        hook : callable
            Returns None or another output. With `with_kwargs` it is called as `hook(module, args, kwargs, output)`.
        prepend : bool
            Run it before the hooks that are there.
        always_call : bool
            Also run it, with the output None, if `forward` or another hook raises.

        Returns
        -------
        handle
            With `remove()`; also a context manager.

        Examples
        --------
        >>> from agrad import nn
        >>> module = nn.Identity()
        >>> with module.register_forward_hook(lambda module, args, output: output + 1):
        ...     module(2)
        3
        """
        return self._call_hooks().add("forward", Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call `hook(module, grad_output)` when the gradients of the outputs are there; it may return others.

        Gradients come in a tuple, one per output, None for one without.
        """
        return self._call_hooks().add("backward_pre", hook, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Handle:
        """Call `hook(module, grad_input, grad_output)` when gradients went through; it may return other `grad_input`.

        Gradients come in tuples, one per positional argument or output, None for one without. If no argument is
        tracked, the hook is called as soon as the gradients of the outputs are there.

        Examples
        --------
        >>> import agrad
        >>> from agrad import nn
        >>> module = nn.Tanh()
        >>> handle = module.register_full_backward_hook(lambda module, grad_input, grad_output: print(grad_input))
        >>> x = agrad.zeros(2, requires_grad=True)
        >>> module(x).sum().backward()
        (tensor([1., 1.]),)
        """
        return self._call_hooks().add("backward", hook, prepend)

    def _call_hooks(self) -> Hooks:
        if self._hooks is None:
            self._hooks = Hooks()
        return self._hooks


# ------------------------------------------------------------------------------------------------------------- running


def _call(module: Hooked, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `forward` between the hooks."""
    result: Any = None
    waiting = {number: hook for number, hook in hooks.forward.items() if hook.always_call}
    try:
        args, kwargs = _run_pre_hooks(module, hooks, args, kwargs)
        passage = _Passage(module, hooks) if hooks.backward_pre or hooks.backward else None
        if passage is not None:
            args = passage.enter(args)
        result = module.forward(*args, **kwargs)
        for number, hook in list(hooks.forward.items()):
            waiting.pop(number, None)
            given = (args, kwargs, result) if hook.with_kwargs else (args, result)
            changed = hook.function(module, *given)
            result = result if changed is None else changed
        return result if passage is None else passage.leave(result)
    except Exception:
        for hook in waiting.values():
            _run_in_spite(hook, module, (args, kwargs, result) if hook.with_kwargs else (args, result))
        raise


def _run_pre_hooks(
    module: Hooked, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as the forward pre-hooks leave them."""
    for hook in list(hooks.forward_pre.values()):
        if not hook.with_kwargs:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
            continue
        changed = hook.function(module, args, kwargs)
        if changed is not None:
            if not isinstance(changed, tuple) or len(changed) != 2:
                raise RuntimeError(
                    f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                )
            args, kwargs = changed
    return args, kwargs


def _run_in_spite(hook: Hook, module: Hooked, given: tuple[Any, ...]) -> None:
    """Run a hook that wants to be called though something was raised, which is not to be hidden by the hook's error."""
    try:
        hook.function(module, *given)
    except Exception as error:
        warnings.warn(
            "module forward hook with ``always_call=True`` raised an exception that was silenced as another error was "
            f"raised in forward: {error}",
            stacklevel=4,
        )


# ------------------------------------------------------------------------------------------------------------ backward


class BackwardHookFunction(Function):
    """The identity on several tensors; on the way back it shows all their gradients to a function at once."""

    @staticmethod
    def forward(ctx: Any, show: Callable[[tuple[Any, ...]], tuple[Any, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.show = show
        ctx.set_materialize_grads(False)
        return tensors

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, *ctx.show(grads)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        return tangents


class _Passage:
    """The gradients on their way back through one call of a module, from its outputs to its inputs."""

    def __init__(self, module: Hooked, hooks: Hooks) -> None:
        self.module, self.hooks = module, hooks
        self.n_inputs = 0
        self.input_is_tracked = False
        self.grad_output: tuple[Any, ...] | None = None     # between the two borders

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, behind the border where gradients leave the module."""
        self.n_inputs = len(args)
        behind = _through_border(args, self._leave)
        self.input_is_tracked = behind is not args
        return behind

    def leave(self, result: Any) -> Any:
        """The result, behind the border where gradients come into the module."""
        if isinstance(result, tuple):
            return _through_border(result, self._come)
        if not isinstance(result, Tensor):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                f"but received {type(result)}",
                stacklevel=4,
            )
        return _through_border((result,), self._come)[0]

    def _come(self, grad_output: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the outputs are there."""
        for hook in list(self.hooks.backward_pre.values()):
            changed = hook(self.module, grad_output)
            grad_output = grad_output if changed is None else _checked(changed, grad_output, "pre hook", "grad_output")
        self.grad_output = grad_output
        if not self.input_is_tracked:
            changed = self._leave((None,) * self.n_inputs)
            if any(g is not None for g in changed):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )
        return grad_output

    def _leave(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the inputs are there, unless they did not come through the outputs at all."""
        grad_output, self.grad_output = self.grad_output, None
        if grad_output is not None:
            for hook in list(self.hooks.backward.values()):
                changed = hook(self.module, grad_input, grad_output)
                grad_input = grad_input if changed is None else _checked(changed, grad_input, "hook", "grad_input")
        return grad_input


def _through_border(values: tuple[Any, ...], show: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Values whose gradients are shown, None for what is not tracked; the same tuple if nothing is."""
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not (places and is_grad_enabled()):
        return values

    def show_all(grads: tuple[Any, ...]) -> tuple[Any, ...]:
        spread = [None] * len(values)
        for i, g in zip(places, grads, strict=True):
            spread[i] = g
        shown = show(tuple(spread))
        return tuple(shown[i] for i in places)

    behind = list(values)
    for i, t in zip(places, BackwardHookFunction.apply(show_all, *(values[i] for i in places)), strict=True):
        behind[i] = t
    return tuple(behind) if type(values) is tuple else type(values)(*behind)    # a named tuple stays one


def _checked(changed: Any, grads: tuple[Any, ...], kind: str, name: str) -> tuple[Any, ...]:
    """What a backward hook put in the place of gradients; one may come without a tuple."""
    new: tuple[Any, ...] = changed if isinstance(changed, tuple) else (changed,)
    if len(new) != len(grads):
        raise RuntimeError(
            f"Backward {kind} returned an invalid number of {name}, got {len(new)}, but expected {len(grads)}"
        )
    return new
