"""The text of a tensor, character for character as PyTorch 2.13 writes it.

Works on NumPy arrays and on words such as "float64" or "MulBackward0". It must not know tensors, backends or the
engine: whoever prints a tensor brings its values here as a NumPy array.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy

__all__ = ["describe", "format_array", "get_printoptions", "printoptions", "set_printoptions"]

_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
# What set_printoptions sets, for the whole process.
_options = SimpleNamespace(**_PROFILES["default"], sci_mode=None)


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: float | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors are printed, in the whole process.

    Parameters
    ----------
    precision : int, optional
        Digits after the decimal point (4 at first).
    threshold : float, optional
        A tensor with more elements than this shows only its edges (1000 at first).
    edgeitems : int, optional
        How many elements an edge has, at either end of each axis (3 at first).
    linewidth : float, optional
        Columns after which a line is broken (80 at first).
    profile : {"default", "short", "full"}, optional
        Values to start from, for all but `sci_mode`. As in PyTorch, another name changes nothing.
    sci_mode : bool, optional
        Write floats with an exponent always, never, or where it helps (None). As in PyTorch, each call sets this anew.

    Examples
    --------
    >>> from agrad import printing
    >>> printing.set_printoptions(precision=2)
    >>> printing.get_printoptions()["precision"]
    2
    >>> printing.set_printoptions(profile="default")
    """
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    chosen = _PROFILES.get(profile or "", {}) | {name: value for name, value in given.items() if value is not None}
    vars(_options).update(chosen, sci_mode=sci_mode)


def get_printoptions() -> dict[str, Any]:
    """Return the options in force, in a form that `set_printoptions` takes back as keywords.

    Examples
    --------
    >>> from agrad import printing
    >>> printing.get_printoptions()["linewidth"]
    80
    """
    return dict(vars(_options))


@contextmanager
def printoptions(**changes: Any) -> Iterator[None]:
    """Print differently inside a `with` block; the keywords are those of `set_printoptions`.

    Examples
    --------
    >>> import numpy
    >>> from agrad import printing
    >>> with printing.printoptions(sci_mode=True, precision=1):
    ...     printing.format_array(numpy.array([1.0, 20.0]))
    '[1.0e+00, 2.0e+01]'
    """
    before = get_printoptions()
    set_printoptions(**changes)
    try:
        yield
    finally:
        set_printoptions(**before)


def describe(
    values: numpy.ndarray,
    *,
    dtype: str,
    default_dtypes: tuple[str, ...],
    device: str | None = None,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    prefix: str = "tensor(",
    label: str = "agrad",
) -> str:
    """Write a tensor with everything that is worth knowing beside its values.

    Parameters
    ----------
    values : numpy.ndarray
        The values; bfloat16 comes as float32.
    dtype, default_dtypes : str, tuple of str
        The tensor's dtype, and those that go without saying. Empty tensors say all but a floating one of these.
    device : str, optional
        Where the tensor lies, if that is to be said.
    requires_grad, grad_fn : bool, str, optional
        The node's name is said if there is one, else `requires_grad` if it is true.
    prefix, label : str, optional
        What stands before the values, and before a dtype's name.

    Examples
    --------
    >>> import numpy
    >>> from agrad import printing
    >>> printing.describe(numpy.ones(2), dtype="float64", default_dtypes=("float32",), grad_fn="MulBackward0")
    'tensor([1., 1.], dtype=agrad.float64, grad_fn=<MulBackward0>)'
    """
    empty = values.size == 0
    # The values tell an integer from a float by a point, but an empty tensor has none to tell it by.
    known_dtype = dtype in default_dtypes and (not empty or "float" in dtype)
    # Neither empty brackets nor dots without edges show a shape; [] is read as (0,).
    unseen_shape = values.ndim != 1 if empty else not _options.edgeitems
    facts = (
        f"device='{device}'" if device else "",
        f"size={values.shape}" if unseen_shape else "",
        "" if known_dtype else f"dtype={label}.{dtype}",
        f"grad_fn=<{grad_fn}>" if grad_fn else "requires_grad=True" if requires_grad else "",
    )
    text = prefix + format_array(values, len(prefix))
    # PyTorch counts two columns for the comma after the values, then two again for that of each fact.
    column = len(text) - text.rfind("\n") + 1
    for fact in filter(None, facts):
        column += len(fact) + 2
        if column <= _options.linewidth:
            text += f", {fact}"
        else:
            text += ",\n" + " " * len(prefix) + fact
            column = len(prefix) + len(fact)
    return text + ")"


def format_array(values: numpy.ndarray, indent: int = 0) -> str:
    """Write the values in brackets, the lines after the first moved right by `indent` columns.

    Examples
    --------
    >>> import numpy
    >>> from agrad import printing
    >>> print(printing.format_array(numpy.array([[1.0, 2.5], [numpy.inf, -3.0]])))
    [[ 1.0000,  2.5000],
     [    inf, -3.0000]]
    """
    if values.size == 0:
        return "[]"
    edge = _options.edgeitems
    cut = tuple(values.size > _options.threshold and length > 2 * edge for length in values.shape)
    if any(cut) and edge == 0:
        return "[...]"
    shown = values
    for axis in numpy.flatnonzero(cut):
        shown = shown.take([*range(edge), *range(-edge, 0)], axis=int(axis))
    width, write = _fit(shown)
    return _rows(shown.tolist(), cut, width, write, indent)


def _rows(part: Any, cut: tuple[bool, ...], width: int, write: Callable[[Any], str], indent: int) -> str:
    """Write nested lists; `cut` says, axis by axis, whether the middle is left out."""
    if not cut:
        return write(part)
    texts = [_rows(child, cut[1:], width, write, indent + 1) for child in part]
    innermost = len(cut) == 1
    if cut[0]:
        texts.insert(_options.edgeitems, " ..." if innermost else "...")
    if innermost:
        room = (_options.linewidth - indent) / (width + 2)
        per_line = max(1, int(min(room, len(texts))))
        texts = [", ".join(texts[start : start + per_line]) for start in range(0, len(texts), per_line)]
    new_line = "\n" * max(1, len(cut) - 1) + " " * (indent + 1)
    return "[" + f",{new_line}".join(texts) + "]"


@dataclass(frozen=True)
class _Column:
    """How all real numbers of a tensor are written: a specification for `format`, a closing point, one width."""

    specification: str = ""
    point: str = ""
    width: int = 1

    def write(self, number: float) -> str:
        text = format(number, self.specification)
        return (text + self.point if math.isfinite(number) else text).rjust(self.width)


def _fit(values: numpy.ndarray) -> tuple[int, Callable[[Any], str]]:
    """Return the width of an element and the function that writes one."""
    if values.dtype.kind != "c":
        column = _fit_real(values)
        return column.width, column.write
    real, imaginary = _fit_real(values.real), _fit_real(values.imag)

    def write(number: complex) -> str:
        tail = imaginary.write(number.imag).lstrip()
        sign = "" if tail.startswith("-") else "+"
        return f"{real.write(number.real)}{sign}{tail}j"

    return real.width + imaginary.width + 1, write


def _fit_real(values: numpy.ndarray) -> _Column:
    """Choose the form that suits all the values, by those that are neither zero nor infinite nor NaN."""
    if values.dtype.kind != "f":
        return _Column(width=max(len(str(number)) for number in values.ravel().tolist()))
    telling = values[numpy.isfinite(values) & (values != 0)]
    if telling.size == 0:
        return _Column(".0f", ".")
    scientific = _options.sci_mode
    if scientific is None:
        sizes = numpy.abs(telling)
        # As Python floats: the quotient of two float16 overflows.
        smallest, largest = float(sizes.min()), float(sizes.max())
        scientific = largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4
    if scientific:
        column = _Column(f".{_options.precision}e")
    elif (telling == numpy.ceil(telling)).all():
        column = _Column(".0f", ".")
    else:
        column = _Column(f".{_options.precision}f")
    return replace(column, width=max(len(column.write(number)) for number in telling.tolist()))
