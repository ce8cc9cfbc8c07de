"""The state of a module by name: `state_dict`, and loading it, all or nothing.

Must know no layer.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agrad.autograd.grad_mode import no_grad
from agrad.creation import asarray, convert
from agrad.cython_core.engine import Handle, HookTable, Tensor
from agrad.nn.parameter import Buffer, Parameter

if TYPE_CHECKING:
    from agrad.nn.module import Module

EXTRA = "_extra_state"


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` did not find in the dict, and what it did not look for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not any(self):
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateHooks:
    """The hooks of one module around saving and loading."""

    def __init__(self) -> None:
        self.save_pre, self.save_post = HookTable(), HookTable()
        self.load_pre, self.load_post = HookTable(), HookTable()


class Stateful:
    """What of a module saves its state and loads it."""

    _state_hooks: StateHooks | None = None

    def get_extra_state(self) -> Any:
        """State beside parameters and buffers; defined together with `set_extra_state` by modules that have some."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called: a module that has extra "
            "state defines it."
        )

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called: a module that has extra "
            "state defines it."
        )

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by their dotted names, all names of tied ones.

        Parameters
        ----------
        destination : dict, optional
            Where to put them; default: a new dict.
        prefix : str
            What stands before every name.
        keep_vars : bool
            Give the parameters themselves, not their detached twins on the same memory.

        Examples
        --------
        >>> from agrad import nn
        >>> list(nn.Sequential(nn.Linear(2, 1)).state_dict())
        ['0.weight', '0.bias']
        """
        found = {} if destination is None else destination
        module: Any = self
        for hook in _hooks_of(module, "save_pre"):
            hook(module, prefix, keep_vars)
        for name, tensor in _own_state(module):
            found[prefix + name] = tensor if keep_vars else tensor.detach()
        if _has_extra_state(module):
            found[prefix + EXTRA] = module.get_extra_state()
        for name, child in module._modules.items():
            if child is not None:
                child.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in _hooks_of(module, "save_post"):
            hook(module, found, prefix, {})
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of a dict into the parameters and buffers with these names; all of them, or none.

        Parameters
        ----------
        state_dict : dict
            As `state_dict()` gives it. Values are Tensors or what `agrad.asarray` takes, as NumPy's and torch's arrays.
        strict : bool
            All names of this module must be there, and no others.
        assign : bool
            Put the values themselves in place, with their dtype, device and backend. Parameters are then new: make the
            optimizer afterwards.

        Returns
        -------
        IncompatibleKeys
            The missing and the unexpected names.

        Raises
        ------
        RuntimeError
            If names do not fit and `strict` is true, or a value does not fit. Nothing was loaded then, unless a hook of
            `register_load_state_dict_post_hook` had to see it loaded.
        TypeError
            If it is no dict.

        Examples
        --------
        >>> from agrad import nn
        >>> nn.Linear(1, 1, bias=False).load_state_dict({"weight": [[2.0]]})
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        module: Any = self
        loading = _Loading(dict(state_dict), assign)
        loading.visit(module, "")
        loading.keys.unexpected_keys.extend(key for key in loading.given if key not in loading.expected)
        hooks = [(part, hook) for part in module.modules() for hook in _hooks_of(part, "load_post")]
        loading.check(module, strict and not hooks)
        loading.finish()
        for part, hook in reversed(hooks):
            if hook(part, loading.keys) is not None:
                raise RuntimeError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace."
                )
        loading.check(module, strict)
        return loading.keys

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, prefix, keep_vars)` before the state is put into the dict."""
        return Handle(self._around_state().save_pre, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, state_dict, prefix, local_metadata)` afterwards; it may change the dict."""
        return Handle(self._around_state().save_post, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call a function before values are looked for; it may change a copy of the dict, as to rename keys.

        It is called as `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`.
        """
        return Handle(self._around_state().load_pre, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, incompatible_keys)` after loading; names it removes from the two lists are no errors."""
        return Handle(self._around_state().load_post, hook)

    def _around_state(self) -> StateHooks:
        if self._state_hooks is None:
            self._state_hooks = StateHooks()
        return self._state_hooks


def _hooks_of(module: Any, table: str) -> list[Callable[..., Any]]:
    hooks = module._state_hooks
    return [] if hooks is None else list(getattr(hooks, table).values())


def _own_state(module: "Module") -> Iterator[tuple[str, Tensor]]:
    """What a module itself has to save: its parameters, then its persistent buffers."""
    for kind in (Parameter, Buffer):
        for name, tensor in module._parts(kind).items():
            if tensor is not None and name not in module._transient:
                yield name, tensor


def _has_extra_state(module: Any) -> bool:
    return type(module).get_extra_state is not Stateful.get_extra_state


class _Loading:
    """One call of `load_state_dict`: first everything is looked at, then written."""

    def __init__(self, given: dict[str, Any], assign: bool) -> None:
        self.given, self.assign = given, assign
        self.keys = IncompatibleKeys([], [])
        self.expected: set[str] = set()
        self.errors: list[str] = []
        self.writes: list[tuple[Any, str, Tensor, Tensor]] = []     # module, name, what is there, what is to come
        self.extra: list[tuple[Any, Any]] = []

    def visit(self, module: Any, prefix: str) -> None:
        """Look at the values of a module and of all that it holds."""
        for hook in _hooks_of(module, "load_pre"):
            hook(module, self.given, prefix, {}, True, self.keys.missing_keys, self.keys.unexpected_keys, self.errors)
        for name, tensor in _own_state(module):
            if self._is_given(prefix + name):
                value = self._fitting(prefix + name, tensor)
                if value is not None:
                    self.writes.append((module, name, tensor, value))
        if _has_extra_state(module) and self._is_given(prefix + EXTRA):
            self.extra.append((module, self.given[prefix + EXTRA]))
        for name, child in module._modules.items():
            if child is not None:
                self.visit(child, f"{prefix}{name}.")

    def _is_given(self, key: str) -> bool:
        self.expected.add(key)
        if key not in self.given:
            self.keys.missing_keys.append(key)
        return key in self.given

    def _fitting(self, key: str, tensor: Tensor) -> Tensor | None:
        """The value for a tensor, as it is written; None, and a line for the error, if it does not fit."""
        try:
            value = asarray(self.given[key]).detach()
            if tuple(value.shape) != tuple(tensor.shape):
                self.errors.append(
                    f"size mismatch for {key}: copying a param with shape {tuple(value.shape)} from checkpoint, "
                    f"the shape in current model is {tuple(tensor.shape)}."
                )
                return None
            if self.assign:
                return value
            return convert(value, dtype=tensor.dtype, backend=tensor.backend_, home=tensor.device)
        except (TypeError, ValueError, RuntimeError) as error:
            self.errors.append(
                f'While copying the parameter named "{key}", expected an array from checkpoint but received '
                f"{type(self.given[key])}: {error}"
            )
            return None

    def check(self, module: Any, strict: bool) -> None:
        """Raise with everything that is wrong."""
        words = ("Missing", "Unexpected") if strict else ()
        wrong = [
            f"{word} key(s) in state_dict: {', '.join(map(_quoted, names))}. "
            for word, names in zip(words, self.keys, strict=False)
            if names
        ]
        errors = wrong + self.errors
        if errors:
            lines = "\n\t".join(errors)
            raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{lines}")

    def finish(self) -> None:
        """Write everything."""
        with no_grad():
            for _, _, tensor, _ in self.writes:
                if tensor.backend_.mutable and not self.assign:
                    tensor[None][:0].zero_()    # what cannot be written says so before anything is
            for module, name, tensor, value in self.writes:
                if not self.assign:
                    tensor.copy_(value)
                elif isinstance(tensor, Parameter):
                    vars(module)[name] = Parameter(value, tensor.requires_grad)
                else:
                    vars(module)[name] = value
        for module, state in self.extra:
            module.set_extra_state(state)


def _quoted(name: str) -> str:
    return f'"{name}"'
