"""NumPy's functions on Tensors: `np.sin(x)`, `np.add.reduce(x)`, `np.linalg.det(x)`, `np.ones(2) * x`.

`__array_ufunc__` and `__array_function__` look a function up in tables and run what stands there: ops of agrad, on the
backend of the Tensor. A function that is in no table raises and names the way out: nothing is ever converted to a NumPy
array in silence. The tables are read when a NumPy function first meets a Tensor. Must know no backend and no rule.
"""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import NoneType
from typing import Any

import numpy as np

from agrad.cython_core.engine import Tensor

# Modules whose import fills the table of functions.
CHAPTERS = ("algebra", "elementwise", "manipulation", "places", "statistics")

# What NumPy may hand over together with Tensors; anything else has its own way with both.
OPERANDS = (Tensor, np.ndarray, np.generic, bool, int, float, complex, list, tuple, NoneType)

# Functions that dispatch, but not on arrays of numbers: text, dates, bits and files.
NOT_OF_NUMBERS = frozenset("""
    array2string array_repr array_str busday_count busday_offset datetime_as_string is_busday isnat packbits save
    savetxt savez savez_compressed unpackbits einsum_path
""".split())


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """A call of a NumPy ufunc, or of one of its methods, that a Tensor takes part in."""
    from agrad.numpy_protocol import ufuncs

    operands = (*inputs, *kwargs.get("out", ())) if method != "at" else inputs[:1]
    if not all(isinstance(x, OPERANDS) for x in operands):
        return NotImplemented
    if method == "__call__" and not kwargs:
        return ufuncs.call_plainly(ufunc, inputs)
    return ufuncs.METHODS[method](ufunc, inputs, **kwargs)


def array_function(
    self: Tensor, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A call of a NumPy function that a Tensor takes part in."""
    if not all(issubclass(t, (Tensor, np.ndarray)) for t in types):
        return NotImplemented
    return filled_table().run(function, self, args, kwargs)


def filled_table() -> Any:
    """The table of functions."""
    from agrad.numpy_protocol import table

    if not table.FUNCTIONS:
        for chapter in CHAPTERS:
            import_module(f"agrad.numpy_protocol.{chapter}")
    return table


def targets() -> Iterator[tuple[str, Any]]:
    """What stands for each NumPy function of numbers that dispatches.

    Pairs of its name and the op that it is; True if it is made of ops, False if it has no derivative, None if there is
    nothing for it.
    """
    from agrad.numpy_protocol.ufuncs import target_of_ufunc

    table = filled_table()
    for module in (np, np.linalg, np.fft):
        for name, function in table.names_in(module):
            if name not in NOT_OF_NUMBERS:
                target = target_of_ufunc(function) if isinstance(function, np.ufunc) else table.target_of(function)
                yield f"{module.__name__}.{name}".removeprefix("numpy."), target
