"""Modules and parameters in sequences and dicts, so that the module around them finds them.

Must know no layer.
"""

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Self

from agrad.cython_core.engine import Tensor
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter


class _ModuleSequence(Module):
    """Modules whose names are their positions."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, list(self._modules)[_position(idx, len(self))], module)

    def __delitem__(self, idx: int | slice) -> None:
        """Remove modules; those behind them move up."""
        modules = list(self)
        del modules[idx if isinstance(idx, slice) else _position(idx, len(modules))]
        self._put(modules)

    def _put(self, modules: list[Any]) -> None:
        """Hold these modules, numbered anew."""
        for module in modules:
            if not isinstance(module, Module):
                raise TypeError(f"{type(module).__name__} is not a Module subclass")
        for name in self._modules:
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        name = str(len(self))
        if name in self._kinds:     # a slice keeps the numbers that its modules had
            self._put([*self, module])
        else:
            self.add_module(name, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self

    def pop(self, key: int | slice) -> Any:
        """Remove a module and return it."""
        module = self[key]
        del self[key]
        return module

    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return self._slice(idx)
        return list(self)[_position(idx, len(self))]

    def _slice(self, idx: slice) -> Any:
        raise NotImplementedError


class Sequential(_ModuleSequence):
    """Modules called one after another, each with the result of the one before it.

    Parameters
    ----------
    *args : Module, or one OrderedDict of modules
        Named by position, or by key.

    Raises
    ------
    TypeError
        If one is no Module.

    Examples
    --------
    >>> from agrad import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> net[:2]
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self._put(list(args))

    def forward(self, input: Any) -> Any:
        """The result of the last module."""
        parts = vars(self)
        for name, kind in self._kinds.items():
            if kind is Module:
                input = parts[name](input)
        return input

    def _slice(self, idx: slice) -> "Sequential":
        return type(self)(OrderedDict(list(self._modules.items())[idx]))

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at a position; those behind it move down."""
        modules = list(self)
        if not -len(modules) <= index <= len(modules):
            raise IndexError(f"Index out of range: {index}")
        modules.insert(index, module)
        self._put(modules)
        return self

    def __add__(self, other: "Sequential") -> "Sequential":
        _check_sequential(other)
        return Sequential(*self, *other)

    def __iadd__(self, other: "Sequential") -> Self:
        _check_sequential(other)
        return self.extend(other)

    def __mul__(self, other: int) -> "Sequential":
        _check_factor(other)
        return Sequential(*list(self) * other)

    __rmul__ = __mul__

    def __imul__(self, other: int) -> Self:
        _check_factor(other)
        return self.extend(list(self) * (other - 1))


class ModuleList(_ModuleSequence):
    """A list of modules; it says nothing of how they are called.

    Parameters
    ----------
    modules : iterable of Module, optional

    Raises
    ------
    TypeError
        If one is no Module.

    Examples
    --------
    >>> from agrad import nn
    >>> nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def _slice(self, idx: slice) -> "ModuleList":
        return type(self)(list(self)[idx])

    def insert(self, index: int, module: Module) -> None:
        """Put a module before the one at a position; those behind it move down."""
        modules = list(self)
        modules.insert(index, module)
        self._put(modules)

    def __add__(self, other: Iterable[Module]) -> "ModuleList":
        return ModuleList([*self, *other])

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __repr__(self) -> str:
        """Equal neighbours are written once."""
        runs: list[tuple[int, int, str]] = []   # first, last, text
        for i, module in enumerate(self):
            text = repr(module)
            first = runs.pop()[0] if runs and runs[-1][2] == text else i
            runs.append((first, i, text))
        lines = [
            f"({i}): {text}" if i == j else f"({i}-{j}): {j - i + 1} x {text}" for i, j, text in runs
        ]
        inside = "".join(f"\n{line}" for line in lines).replace("\n", "\n  ")
        return f"{self._get_name()}({inside}\n)" if lines else f"{self._get_name()}()"


class ModuleDict(Module):
    """A dict of modules, in the order of insertion; it says nothing of how they are called.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional

    Raises
    ------
    TypeError
        If a key is no string, or a value is no Module.
    KeyError
        If a key has a dot or is the name of an attribute, as "keys".

    Examples
    --------
    >>> from agrad import nn
    >>> choices = nn.ModuleDict({"relu": nn.ReLU(), "tanh": nn.Tanh()})
    >>> choices["tanh"]
    Tanh()
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        _ = self[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all modules."""
        for key in self:
            del self[key]

    def pop(self, key: str) -> Any:
        """Remove a module and return it."""
        module = self[key]
        del self[key]
        return module

    def keys(self) -> Any:
        """The keys."""
        return self._modules.keys()

    def items(self) -> Any:
        """Pairs of keys and modules."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add the modules of a mapping, or of pairs; those of the same key are replaced."""
        for key, module in _pairs(self, modules):
            self[key] = module


class ParameterList(Module):
    """A list of parameters: Tensors become Parameters, other values stay what they are.

    Parameters
    ----------
    values : iterable, optional

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> weights = nn.ParameterList([agrad.ones(2), agrad.ones((2, 3))])
    >>> weights
    ParameterList(
        (0): Parameter containing: [agrad.float64 of size 2]
        (1): Parameter containing: [agrad.float64 of size 2x3]
    )
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (vars(self)[str(i)] for i in range(self._size))

    def __getitem__(self, idx: int | slice) -> Any:
        if isinstance(idx, slice):
            return type(self)(list(self)[idx])
        return vars(self)[str(_position(idx, self._size))]

    def __setitem__(self, idx: int, param: Any) -> None:
        setattr(self, str(_position(idx, self._size)), _as_parameter(param))

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def append(self, value: Any) -> Self:
        """Add a value at the end."""
        setattr(self, str(self._size), _as_parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add values at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}")
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return _entries(enumerate(self))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Parameters compute nothing."""
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """A dict of parameters: Tensors become Parameters, other values stay what they are.

    Parameters
    ----------
    parameters : mapping of str to values, or iterable of pairs, optional
        As in PyTorch, those of a plain dict come in the order of their keys, of others in their own.

    Raises
    ------
    TypeError
        If a key is no string.
    KeyError
        If a key has a dot or is the name of an attribute, as "keys".

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> weights = nn.ParameterDict({"left": agrad.ones(2), "right": agrad.ones(3)})
    >>> weights["left"]
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return vars(self)[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"the keys of a ParameterDict are strings, got {key!r} of type {type(key).__name__}")
        if key not in self._keys and hasattr(self, key):
            raise KeyError(f"attribute '{key}' already exists")
        setattr(self, key, _as_parameter(value))
        self._keys[key] = None

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def keys(self) -> Any:
        """The keys."""
        return self._keys.keys()

    def values(self) -> Any:
        """The values."""
        return {key: vars(self)[key] for key in self._keys}.values()

    def items(self) -> Any:
        """Pairs of keys and values."""
        return {key: vars(self)[key] for key in self._keys}.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        return self[key] if key in self._keys else default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is the default if there is none yet."""
        if key not in self._keys:
            self[key] = default
        return self[key]

    def pop(self, key: str) -> Any:
        """Remove a key and return its value."""
        value = self[key]
        del self[key]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Remove the last pair and return it."""
        if not self._keys:
            raise KeyError("popitem(): the ParameterDict is empty")
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def clear(self) -> None:
        """Remove all pairs."""
        for key in list(self._keys):
            del self[key]

    def copy(self) -> "ParameterDict":
        """Another dict of the same parameters."""
        return ParameterDict(self.items())

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> "ParameterDict":
        """A new dict with these keys and one value."""
        return ParameterDict([(key, default) for key in keys])

    def update(self, parameters: Any) -> None:
        """Add the values of a mapping, or of pairs; those of the same key are replaced."""
        pairs = _pairs(self, parameters)
        for key, value in sorted(pairs, key=_key_of) if type(parameters) is dict else pairs:
            self[key] = value

    def __or__(self, other: "ParameterDict") -> "ParameterDict":
        both = self.copy()
        both.update(other)
        return both

    def __ror__(self, other: Any) -> "ParameterDict":
        both = ParameterDict(other)
        both.update(self)
        return both

    def __ior__(self, other: "ParameterDict") -> Self:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        return _entries(self.items())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Parameters compute nothing."""
        raise RuntimeError("ParameterDict should not be called.")


# ------------------------------------------------------------------------------------------------- checks and entries


def _position(idx: int, n: int) -> int:
    """A position from the front."""
    i = operator.index(idx)
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of range")
    return i % n


def _check_sequential(other: Any) -> None:
    if not isinstance(other, Sequential):
        raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")


def _check_factor(factor: Any) -> None:
    if not isinstance(factor, int):
        raise TypeError(f"unsupported operand type(s) for *: {Sequential} and {type(factor)}")
    if factor <= 0:
        raise ValueError(f"Non-positive multiplication factor {factor} for {Sequential}")


def _pairs(container: Module, given: Any) -> list[tuple[str, Any]]:
    """The pairs that a dict's `update` is given."""
    name = type(container).__name__
    if hasattr(given, "items"):
        return list(given.items())
    if not isinstance(given, Iterable):
        raise TypeError(
            f"{name}.update should be called with an iterable of key/value pairs, but got {type(given).__name__}"
        )
    pairs = []
    for i, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(f"{name} update sequence element #{i} should be Iterable; is {type(pair).__name__}")
        pairs.append(tuple(pair))
        if len(pairs[-1]) != 2:
            raise ValueError(f"{name} update sequence element #{i} has length {len(pairs[-1])}; 2 is required")
    return pairs


def _key_of(pair: tuple[str, Any]) -> str:
    return pair[0]


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _entries(pairs: Iterable[tuple[Any, Any]]) -> str:
    """What a container of parameters says of each."""
    lines = []
    for key, value in pairs:
        if isinstance(value, Tensor):
            kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
            size = "x".join(map(str, value.shape))
            text = f"{kind} containing: [{value.dtype!r} of size {size}]"
        else:
            text = f"Object of type: {type(value).__name__}"
        lines.append(f"  ({key}): {text}")
    return "\n".join(lines)
