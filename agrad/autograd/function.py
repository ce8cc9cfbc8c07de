"""Functions with a derivative of the user's own: `Function`, what its `ctx` can do, `once_differentiable`.

How such a function is run, recorded and walked stands in the engine. Must know no backend and no rule.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from agrad.autograd.grad_mode import no_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class _ContextType(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return engine.is_custom(instance)


class FunctionCtx(metaclass=_ContextType):
    """What the `ctx` of a `Function` can do.

    It is made by `Function.apply` and is the node of the results: `ctx is y.grad_fn`. Any attribute may be set on it.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of `apply`, whether it is a Tensor that requires grad.
    """

    needs_input_grad: tuple[bool, ...]
    to_save: tuple[Any, ...] | None = None
    saved_for_forward: tuple[Any, ...] | None = None
    dirty_tensors: tuple[Any, ...] | None = None
    non_differentiable: tuple[Any, ...] | None = None
    materialize_grads: bool = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep Tensors for `backward`, where `ctx.saved_tensors` returns them; the last call counts.

        Writes to them are noticed. Inputs and outputs come back with their history, so that `backward` can be
        differentiated; other values do not: make them outputs, or compute them again.
        """
        self.to_save = tensors

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Keep Tensors for `jvp`, where `ctx.saved_tensors` returns them."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Tensor) -> None:
        """Say which inputs `forward` has written to; all of them must be returned."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Tensor) -> None:
        """Say which outputs carry no gradient; those of integer or boolean dtype never do."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether cotangents that nobody sent are given to `backward` as zeros (the default) or as None."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved.

        Raises
        ------
        RuntimeError
            If one of them was written over since, or the graph was freed by an earlier walk.
        """
        return engine.saved_tensors(self) if self.saved_for_forward is None else self.saved_for_forward


class Function:
    """Base class of functions with a derivative of the user's own.

    A subclass has the static methods `forward(ctx, *args)` and `backward(ctx, *cotangents)`; the function is called by
    `apply(*args)`. `forward` runs unrecorded. `backward` gets one cotangent per output of `forward` and returns one
    gradient, or None, per argument. With a third one, `setup_context(ctx, inputs, output)`, `forward(*args)` does
    without ctx.

    Examples
    --------
    >>> import agrad
    >>> class Exp(agrad.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         y = agrad.exp(x)
    ...         ctx.save_for_backward(y)
    ...         return y
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (y,) = ctx.saved_tensors
    ...         return g * y
    >>> x = agrad.tensor(0.0, requires_grad=True)
    >>> Exp.apply(x)
    tensor(1., grad_fn=<ExpBackward>)
    >>> agrad.autograd.grad(Exp.apply(x), x)
    (tensor(1.),)
    """

    generate_vmap_rule = False      # accepted, and true of every Function without a `vmap` of its own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of agrad.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd "
            "function with static forward method: call apply on the class, as in MyFunction.apply(x)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the results; overridden by subclasses."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Prepare ctx where `forward` is written without it; may be overridden by subclasses."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments from those of the results; overridden by subclasses."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Compute the tangents of the results from those of the arguments; overridden by subclasses."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Compute the results for a batch: `(output, out_dims)`; may be overridden by subclasses.

        `in_dims` says for each argument which axis is the batch, or None; `info.batch_size` is its length. Without this
        method, `forward` and `backward` themselves run on the batch.
        """
        raise NotImplementedError("To use this autograd.Function with vmap by hand, override the vmap staticmethod.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call the function.

        Parameters
        ----------
        *args, **kwargs
            For `forward`. Tensors among them are inputs; those inside lists and dicts are not.

        Returns
        -------
        object
            What `forward` returned; a Tensor, and each Tensor of a tuple, gets its place in the graph.

        Raises
        ------
        TypeError, RuntimeError
            If something that is no Tensor was saved, or an input was written to that must not be.
        """
        splits = cls.setup_context is not Function.setup_context
        if splits:
            bound = _signature(cls.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        return engine.apply_function(cls, args, kwargs, splits)


@functools.lru_cache(256)
def _signature(forward: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(forward)


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Declare that a `backward` cannot be differentiated: it runs unrecorded, and differentiating its results raises.

    Examples
    --------
    >>> import agrad
    >>> class Double(agrad.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @agrad.autograd.function.once_differentiable
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = agrad.tensor(1.0, requires_grad=True)
    >>> g, = agrad.autograd.grad(Double.apply(x), x, create_graph=True)
    >>> agrad.autograd.grad(g, x)
    Traceback (most recent call last):
    RuntimeError: trying to differentiate twice a function that was marked with @once_differentiable
    """
    @functools.wraps(backward)
    def wrapper(ctx: Any, *grad_outputs: Any) -> Any:
        with no_grad():
            results = backward(ctx, *grad_outputs)
        if not engine.is_grad_enabled():
            return results
        found = results if isinstance(results, tuple) else (results,)
        sources = [g for g in grad_outputs if isinstance(g, Tensor) and g.requires_grad]
        text = "trying to differentiate twice a function that was marked with @once_differentiable"
        tensors = iter(_refuse(text, [r for r in found if isinstance(r, Tensor)], [*sources, *engine.sources_of(ctx)]))
        found = tuple(next(tensors) if isinstance(r, Tensor) else r for r in found)
        return found if isinstance(results, tuple) else found[0]

    return wrapper


class _Refused(Function):
    """The first of its arguments, with a history that raises when a gradient comes back to it."""

    @staticmethod
    def forward(ctx: Any, text: str, n: int, *tensors: Tensor) -> Any:
        ctx.text = text
        ctx.set_materialize_grads(False)
        return tensors[:n]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        if any(g is not None for g in grad_outputs):
            raise RuntimeError(ctx.text)
        return (None,) * len(ctx.needs_input_grad)


def _refuse(text: str, tensors: Any, sources: Any) -> Any:
    """Tensors of the same values that depend on `sources` in a way that cannot be differentiated."""
    return _Refused.apply(text, len(tensors), *tensors, *sources)


def _apply_inside(*args: Any) -> Any:
    """Call a function inside transforms; what knows about them is imported with the first such call."""
    return import_module("agrad.autograd.function_levels").apply_inside(*args)


engine.install_functions(Function, FunctionCtx, _refuse, _apply_inside)
