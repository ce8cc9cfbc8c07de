"""Tensors of a module that are computed from what is trained: `module.weight` is then a function of its originals.

The module's class becomes one with a property in the tensor's place; the functions and their originals are a part of
the module called `parametrizations`. Must know no layer.
"""

from collections.abc import Sequence
from typing import Any

from agrad.autograd.grad_mode import no_grad
from agrad.cython_core.engine import Tensor
from agrad.nn.containers import ModuleDict, ModuleList
from agrad.nn.module import Module
from agrad.nn.parameter import Buffer, Parameter


class ParametrizationList(ModuleList):
    """The functions that one tensor of a module goes through, and the tensors that it is computed from.

    Made by `register_parametrization`. The originals are called `original`, or `original0`, `original1`, ... if the
    first function takes several.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        self.unsafe = unsafe
        parts = self._inverted(original, strict=False)
        shape, dtype = original.shape, original.dtype
        self.is_tensor = isinstance(parts, Tensor)
        if isinstance(parts, Tensor):
            if parts.dtype != original.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {parts.dtype}"
                )
            if parts is not original:
                original.data = parts.detach()
            _register(self, "original", original)
        else:
            for i, part in enumerate(parts):
                trained = isinstance(original, Parameter)
                value = Parameter(part, original.requires_grad) if trained else part.detach()
                _register(self, f"original{i}", value)
        if not unsafe:
            _check_like(self(), shape, dtype)

    def originals(self) -> list[Tensor]:
        """The tensors that are trained."""
        return [*self.parameters(recurse=False), *self.buffers(recurse=False)]

    def forward(self) -> Any:
        """The tensor as its module sees it."""
        first, *others = self
        value = first(*self.originals())
        for function in others:
            value = function(value)
        return value

    def right_inverse(self, value: Tensor) -> None:
        """Give the originals values whose image is `value`.

        Raises
        ------
        RuntimeError
            If a function has no `right_inverse`.
        ValueError
            If they do not give as many tensors as there are originals, or others in shape or dtype.
        """
        parts = self._inverted(value, strict=True)
        parts = [parts] if isinstance(parts, Tensor) else list(parts)
        originals = self.originals()
        if len(parts) != len(originals):
            raise ValueError(
                "'right_inverse' must return a sequence of tensors of length "
                f"{len(originals)}. Got a sequence of length {len(parts)}."
            )
        for original, part in zip(originals, parts, strict=True):
            if part.dtype != original.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype {part.dtype} while `original` has dtype "
                    f"{original.dtype}"
                )
        for original, part in zip(originals, parts, strict=True):
            original.data = part.detach().clone()

    def _inverted(self, value: Any, strict: bool) -> Any:
        """What the last inverse gives; a function without one counts as the identity, unless that is not allowed."""
        with no_grad():
            for function in reversed(list(self)):
                if hasattr(function, "right_inverse"):
                    value = function.right_inverse(value)
                elif strict:
                    raise RuntimeError(f"parametrization {type(function).__name__} does not implement right_inverse.")
        if not isinstance(value, Tensor) and not (
            isinstance(value, Sequence) and all(isinstance(part, Tensor) for part in value)
        ):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        return value


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let a parameter or buffer of a module be computed by another module, from what is trained instead.

    Parameters
    ----------
    module : Module
    tensor_name : str
        The parameter or buffer. If it is computed already, the new function comes after the others.
    parametrization : Module
        Takes the original, returns the tensor. Its method `right_inverse(tensor)`, if it has one, gives the original of
        a tensor that is assigned, or several originals, which `forward` then takes.
    unsafe : bool
        The function may change shape and dtype, which are then not checked.

    Returns
    -------
    Module
        The module itself.

    Raises
    ------
    ValueError
        If there is no such tensor, or the function changes its shape or dtype.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return agrad.triu(x) + agrad.triu(x, k=1).mT
    >>> layer = nn.utils.parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> agrad.allclose(layer.weight, layer.weight.T)
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        functions: Any = module.get_submodule(f"parametrizations.{tensor_name}")
        if not unsafe:
            value = functions()
            _check_like(parametrization(value), value.shape, value.dtype)
        functions.append(parametrization)
        functions.unsafe |= unsafe
        return module
    if module._kinds.get(tensor_name) not in (Parameter, Buffer) or getattr(module, tensor_name) is None:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    functions = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.add_module("parametrizations", ModuleDict())
    module.get_submodule("parametrizations").add_module(tensor_name, functions)
    _set_class(module)
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of a module, or any, is computed from others."""
    computed = getattr(module, "parametrizations", None)
    return isinstance(computed, ModuleDict) and (tensor_name is None or tensor_name in computed)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a computed tensor a parameter or buffer again.

    Parameters
    ----------
    module : Module
    tensor_name : str
    leave_parametrized : bool
        With the value that it has; otherwise with that of its original.

    Returns
    -------
    Module
        The module itself.

    Raises
    ------
    ValueError
        If the tensor is not computed, or has several originals and `leave_parametrized` is false.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    computed: Any = module.get_submodule("parametrizations")
    functions = computed[tensor_name]
    if not functions.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    value = functions()
    if functions.is_tensor:     # the original stays itself: an optimizer may have it
        (original,) = functions.originals()
        if leave_parametrized:
            original.data = value.detach()
    else:
        original = Parameter(value) if value.requires_grad else value
    del computed[tensor_name]
    if not len(computed):
        delattr(module, "parametrizations")
    _set_class(module)
    _register(module, tensor_name, original)
    return module


# ---------------------------------------------------------------------------------------------------------- the class


def _set_class(module: Module) -> None:
    """Give a module the class with a property for every tensor that is computed."""
    cls: Any = type(module)
    base = getattr(cls, "_unparametrized", cls)
    names = tuple(getattr(module, "parametrizations", ()))
    module.__class__ = _with_properties(base, names) if names else base


def _with_properties(base: type, names: tuple[str, ...]) -> type:
    def reduce(self: Module, protocol: Any) -> Any:
        return _rebuild, (base, names), self.__getstate__()

    properties: dict[str, Any] = {name: _property(name) for name in names}
    return type(f"Parametrized{base.__name__}", (base,), {
        "__module__": base.__module__, "__doc__": base.__doc__, "__reduce_ex__": reduce, "_unparametrized": base,
        **properties,
    })


def _rebuild(base: type, names: tuple[str, ...]) -> Any:
    """A copied or unpickled module, before it gets its attributes."""
    return object.__new__(_with_properties(base, names))


def _property(name: str) -> property:
    def value(self: Any) -> Any:
        return self.parametrizations[name]()

    def assign(self: Any, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(value, assign)


def _register(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_like(value: Any, shape: Any, dtype: Any) -> None:
    """Raise unless a function gave a tensor of a shape and dtype."""
    if not isinstance(value, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
    for what, old, new in (("dtype", dtype, value.dtype), ("shape", tuple(shape), tuple(value.shape))):
        if old != new:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag is "
                f"enabled.\nunparametrized {what}: {old}\nparametrized {what}: {new}"
            )
