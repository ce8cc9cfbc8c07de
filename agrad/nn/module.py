"""`Module`: parts with parameters, which know each other by name.

A parameter, a buffer or a module that is assigned to an attribute is an attribute like any other; the module only
remembers which of them are which. Hooks and state dicts stand in their own files. Must know no layer.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

from agrad import dtypes
from agrad.autograd.grad_mode import no_grad
from agrad.creation import convert
from agrad.cython_core.engine import Tensor
from agrad.methods import destination
from agrad.nn.hooks import Hooked
from agrad.nn.parameter import Buffer, Parameter
from agrad.nn.state import Stateful


class Module(Hooked, Stateful):
    """A part of a model: it holds parameters, buffers and other modules, and `forward` says what it computes.

    Derive from it, call `super().__init__()`, assign parts to attributes, and define `forward`. Calling the module runs
    `forward`, between its hooks if it has any.

    Attributes
    ----------
    training : bool
        Whether layers that differ between the two behave as in training; see `train` and `eval`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, size):
    ...         super().__init__()
    ...         self.factor = nn.Parameter(agrad.ones(size))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> scale = Scale(2)
    >>> scale(agrad.tensor([3.0, 4.0]))
    tensor([3., 4.], grad_fn=<MulBackward0>)
    >>> [name for name, _ in scale.named_parameters()]
    ['factor']
    """

    training: bool

    def __init__(self) -> None:
        vars(self).update(training=True, _hooks=None, _kinds={}, _transient=set())

    def __getstate__(self) -> dict[str, Any]:
        """What a copy is made of; a shallow one has its own list of parts."""
        return {**vars(self), "_kinds": {**self._kinds}, "_transient": {*self._transient}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Become what `__getstate__` described; here, so that subclasses can extend it."""
        vars(self).update(state)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every module defines its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # -------------------------------------------------------------------------------------------- parts, by their names

    _kinds: dict[str, type]     # which attributes are parts, and of which kind: Parameter, Buffer or Module
    _transient: set[str]        # the buffers that state_dict leaves out

    @property
    def _parameters(self) -> Mapping[str, Any]:
        return MappingProxyType(self._parts(Parameter))

    @property
    def _buffers(self) -> Mapping[str, Any]:
        return MappingProxyType(self._parts(Buffer))

    @property
    def _modules(self) -> Mapping[str, Any]:
        return MappingProxyType(self._parts(Module))

    def _parts(self, kind: type) -> dict[str, Any]:
        """The parts of one kind by name, in the order of registration; None where there is a name only."""
        attributes = vars(self)
        return {name: attributes[name] for name, its_kind in self._kinds.items() if its_kind is kind}

    def __setattr__(self, name: str, value: Any) -> None:
        kinds = vars(self).get("_kinds")
        if kinds is None:
            _check_no_part(value)
        elif value is not None and name in kinds:
            _check_replacement(name, value, kinds[name])
        if isinstance(value, Parameter):
            self._register(name, value, Parameter, replace=True)
        elif isinstance(value, Module):
            self._register(name, value, Module, replace=True)
        elif isinstance(value, Buffer):
            self._register(name, value, Buffer, replace=True)
            if not value.persistent:
                self._transient.add(name)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._kinds.pop(name, None)
        self._transient.discard(name)

    def _register(self, name: str, value: Any, kind: type, replace: bool = False) -> None:
        """Make a name a part of some kind.

        Raises
        ------
        AttributeError
            Before `Module.__init__()`.
        TypeError
            If the name is no string.
        KeyError
            If the name is empty, has a dot, or is that of an attribute which may not be replaced.
        """
        what = kind.__name__.lower()
        kinds = vars(self).get("_kinds")
        if kinds is None:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if kinds.get(name) is not kind:
            if hasattr(self if not replace else type(self), name):
                raise KeyError(f"attribute '{name}' already exists")
            if "." in name:
                raise KeyError(f'{what} name can\'t contain ".", got: {name}')
            if name == "":
                raise KeyError(f'{what} name can\'t be empty string ""')
            kinds.pop(name, None)   # the order of parts is that of registration
            kinds[name] = kind
        self._transient.discard(name)
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None for a name without one, as the bias of a layer that has none.

        Raises
        ------
        TypeError
            If it is no Parameter.
        KeyError
            If the name cannot be one, or is taken.
        """
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(agrad.nn.Parameter or None required)"
            )
        self._register(name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not trained; `state_dict` leaves it out if it is not persistent.

        Raises
        ------
        TypeError
            If it is no Tensor.
        KeyError
            If the name cannot be one, or is taken.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (agrad.Tensor or None required)"
            )
        self._register(name, tensor, Buffer)
        if not persistent:
            self._transient.add(name)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a module as a part of this one.

        Raises
        ------
        TypeError
            If it is no Module.
        KeyError
            If the name cannot be one, or is taken.
        """
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._register(name, module, Module)

    register_module = add_module

    def get_submodule(self, target: str) -> "Module":
        """The module with a dotted name; "" is this one.

        Raises
        ------
        AttributeError
            If there is none.
        """
        module = self
        for part in target.split(".") if target else ():
            found = getattr(module, part, None)
            if not hasattr(module, part):
                raise AttributeError(f"{type(module).__name__} has no attribute `{part}`")
            if not isinstance(found, Module):
                raise AttributeError(f"`{part}` is not an nn.Module")
            module = found
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with a dotted name; an AttributeError if there is none."""
        return self._get_part(target, Parameter, "an nn.Parameter")  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor | None:
        """The buffer with a dotted name, which may be None; an AttributeError if there is no such name."""
        return self._get_part(target, Buffer, "a buffer")  # type: ignore[no-any-return]

    def _get_part(self, target: str, kind: type, words: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = getattr(module, name)
        if module._kinds.get(name) is not kind or (kind is Parameter and found is None):
            raise AttributeError(f"`{name}` is not {words}")
        return found

    def set_submodule(self, target: str, module: "Module") -> None:
        """Put a module in the place of a dotted name."""
        path, _, name = target.rpartition(".")
        setattr(self.get_submodule(path), name, module)

    # ------------------------------------------------------------------------------------------------------- all parts

    def modules(self, remove_duplicate: bool = True) -> Iterator["Module"]:
        """This module and all that it holds, each once, from the outside in."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """This module and all that it holds, with their dotted names.

        Examples
        --------
        >>> from agrad import nn
        >>> outer, inner = nn.Module(), nn.Module()
        >>> outer.inner = inner
        >>> [name for name, _ in outer.named_modules()]
        ['', 'inner']
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._parts(Module).items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def children(self) -> Iterator["Module"]:
        """The modules that this one holds itself."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules that this one holds itself, with their names."""
        seen: set[int] = set()
        for name, module in self._parts(Module).items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; `recurse=False` leaves out those of the parts."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; one that has several names comes once, unless `remove_duplicate`."""
        return self._named_tensors(Parameter, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once; `recurse=False` leaves out those of the parts."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names; one that has several names comes once, unless `remove_duplicate`."""
        return self._named_tensors(Buffer, prefix, recurse, remove_duplicate)

    def _named_tensors(
        self, kind: type, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        holders = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        seen: set[int] = set()
        for path, module in holders:
            for name, tensor in module._parts(kind).items():
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor

    def apply(self, fn: Callable[["Module"], object]) -> Self:
        """Call a function with every module inside and then with this one, as to initialize them."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------------------------------------ modes, gradients

    def train(self, mode: bool = True) -> Self:
        """Set this module and all inside to training, or to evaluation."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set this module and all inside to evaluation: no dropout, running statistics."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of all parameters; False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or with `set_to_none=False` fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.detach_().zero_()

    # ---------------------------------------------------------------------------------------------- dtypes and places

    def to(self, *args: Any, device: Any = None, dtype: Any = None, backend: str | None = None) -> Self:
        """Bring parameters and buffers to another dtype, device or backend, given by name or as those of a tensor.

        Only floating and complex ones change their dtype. Parameters stay the objects they are, except on another
        backend: there they are new, so make the optimizer afterwards.

        Raises
        ------
        TypeError
            For a dtype that is neither floating nor complex.

        Examples
        --------
        >>> import agrad
        >>> module = agrad.nn.Module()
        >>> module.weight = agrad.nn.Parameter(agrad.ones(2))
        >>> module.to(agrad.float32).weight.dtype
        agrad.float32
        """
        device, dtype, backend = destination(args, device, dtype, backend)
        if dtype is not None and dtypes.of(dtype).kind not in ("real", "complex"):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def move(t: Tensor) -> Tensor:
            casts = t.is_floating_point() or t.is_complex()
            return t.to(device=device, dtype=dtype if casts else None, backend=backend)

        return self._apply(move)

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Put `fn` of every parameter and buffer in its place, and the same for gradients; ties stay."""
        done: dict[int, Tensor] = {}
        with no_grad():
            for module in self.modules():
                for name, kind in module._kinds.items():
                    tensor = vars(module)[name]
                    if tensor is not None and kind is not Module:
                        if id(tensor) not in done:
                            done[id(tensor)] = _changed(tensor, fn)
                        vars(module)[name] = done[id(tensor)]
        return self

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers to a dtype."""
        return self._apply(lambda t: convert(t, dtype=dst_type))

    def float(self) -> Self:
        """Cast all floating parameters and buffers to float32."""
        return self._cast("float32")

    def double(self) -> Self:
        """Cast all floating parameters and buffers to float64."""
        return self._cast("float64")

    def half(self) -> Self:
        """Cast all floating parameters and buffers to float16."""
        return self._cast("float16")

    def bfloat16(self) -> Self:
        """Cast all floating parameters and buffers to bfloat16."""
        return self._cast("bfloat16")

    def _cast(self, dtype: str) -> Self:
        return self._apply(lambda t: convert(t, dtype=dtype) if t.is_floating_point() else t)

    def cpu(self) -> Self:
        """Bring all parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    # ------------------------------------------------------------------------------------------------------------ text

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What the text of the module says in its parentheses; layers give their sizes."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        facts = extra.split("\n") if extra else []
        parts = [f"({name}): {_indented(repr(module))}" for name, module in self._parts(Module).items()]
        if len(facts) == 1 and not parts:
            return f"{self._get_name()}({facts[0]})"
        lines = "".join(f"\n  {line}" for line in facts + parts)
        return f"{self._get_name()}({lines}\n)" if lines else f"{self._get_name()}()"

    def __dir__(self) -> list[str]:
        """Attributes that can be written in a program; `seq.0` cannot."""
        return sorted(name for name in {*super().__dir__()} if not name[:1].isdigit())


# What may be assigned to the name of a part: (the name's kind) -> (types, in words).
_REPLACED_BY: dict[type, tuple[tuple[type, ...], str]] = {
    Parameter: ((Parameter,), "parameter '{}' (agrad.nn.Parameter or None expected)"),
    Buffer: ((Tensor, Module), "buffer '{}' (agrad.nn.Buffer, agrad.Tensor or None expected)"),
    Module: ((Module, Parameter), "child module '{}' (agrad.nn.Module or None expected)"),
}


def _check_replacement(name: str, value: Any, kind: type) -> None:
    types, words = _REPLACED_BY[kind]
    if not isinstance(value, types):
        raise TypeError(f"cannot assign '{type(value).__name__}' as {words.format(name)}")


def _check_no_part(value: Any) -> None:
    """Raise if a part is assigned before there is a place to remember it."""
    for kind, what in ((Parameter, "parameters"), (Buffer, "buffers"), (Module, "module")):
        if isinstance(value, kind):
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")


def _changed(tensor: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """A parameter with other data, itself where its backend stays; a new buffer."""
    new = fn(tensor.detach())
    if not isinstance(tensor, Parameter):
        return tensor if new.array is tensor.array else new
    grad = None if tensor.grad is None else fn(tensor.grad)
    if new.backend_ is tensor.backend_:
        tensor.grad = None
        tensor.data = new
    else:
        tensor = type(tensor)(new, tensor.requires_grad)
    tensor.grad = grad
    return tensor


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
