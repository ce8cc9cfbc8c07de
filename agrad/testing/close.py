"""`assert_close`: PyTorch's comparison of tensors, numbers and containers of them. Must know no single backend."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from agrad import backends, dtypes
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor

# dtype -> (rtol, atol), PyTorch's; what is not here is compared exactly.
TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}
EXACT = (0.0, 0.0)


class Options(NamedTuple):
    """How to compare."""

    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    allow_subclasses: bool


def assert_close(
    actual: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
    check_device: bool = True, check_dtype: bool = True, allow_subclasses: bool = True,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise unless two values are close: ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Parameters
    ----------
    actual, expected : Tensor, array, number, None, or sequences or mappings of them
        Both of a kind. Whether gradients are tracked plays no part.
    rtol, atol : float, optional
        Relative and absolute tolerance, both or neither. Default: by dtype, the wider of the two; 1.3e-6 and 1e-5 for
        float32, 1e-7 and 1e-7 for float64, 0 and 0 for integers.
    equal_nan : bool
        Whether nan is close to nan.
    check_device, check_dtype : bool
        Whether device (and backend), and dtype, must agree.
    allow_subclasses : bool
        False: the types of tensors must be the same.
    msg : str or callable, optional
        The message to raise, or a function that makes it from the one that would be raised.

    Raises
    ------
    AssertionError
        If they are not close; the message says where and by how much.
    ValueError
        If only one tolerance is given.
    TypeError
        If the values cannot be compared.

    Examples
    --------
    >>> import agrad
    >>> from agrad.testing import assert_close
    >>> assert_close(agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 2.0 + 1e-9]))
    >>> assert_close([agrad.tensor(1.0)], [agrad.tensor(1.5)])
    Traceback (most recent call last):
    AssertionError: Scalars are not close!
    <BLANKLINE>
    Expected 1.5 but got 1.0.
    Absolute difference: 0.5 (up to 1e-07 allowed)
    Relative difference: 0.3333333333333333 (up to 1e-07 allowed)
    <BLANKLINE>
    The failure occurred for item [0]
    """
    if (rtol is None) != (atol is None):
        missing = "rtol" if rtol is None else "atol"
        raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
    options = Options(rtol, atol, equal_nan, check_device, check_dtype, allow_subclasses)
    problem = difference(actual, expected, options, "")
    if problem is not None:
        raise AssertionError(problem if msg is None else msg if isinstance(msg, str) else msg(problem))


def difference(actual: Any, expected: Any, options: Options, item: str) -> str | None:
    """What is wrong, or None; `item` says where in the containers we are."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        found = of_mappings(actual, expected, options, item)
    elif is_sequence(actual) and is_sequence(expected):
        found = of_sequences(actual, expected, options, item)
    else:
        found = of_values(actual, expected, options)
        if found is not None and item:
            found += f"\n\nThe failure occurred for item {item}"
    return found


def is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, Tensor))


def of_mappings(actual: Mapping[Any, Any], expected: Mapping[Any, Any], options: Options, item: str) -> str | None:
    if actual.keys() != expected.keys():
        missing, additional = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
        return (f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {missing}\n"
                f"Additional keys in the actual mapping: {additional}{place_of(item)}")
    return first(difference(actual[key], expected[key], options, f"{item}[{key!r}]") for key in actual)


def of_sequences(actual: Sequence[Any], expected: Sequence[Any], options: Options, item: str) -> str | None:
    if len(actual) != len(expected):
        return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}{place_of(item)}"
    pairs = enumerate(zip(actual, expected, strict=True))
    return first(difference(a, e, options, f"{item}[{i}]") for i, (a, e) in pairs)


def place_of(item: str) -> str:
    return f"\n\nThe failure occurred for item {item}" if item else ""


def first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def of_values(actual: Any, expected: Any, options: Options) -> str | None:
    if actual is None or expected is None:
        return None if actual is expected else f"None mismatch: {actual} is not {expected}"
    if isinstance(actual, Number) and isinstance(expected, Number):
        return of_numbers(actual, expected, options)
    one, other = as_tensor(actual), as_tensor(expected)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if type(actual) is not type(expected) and not options.allow_subclasses:
        related = False
    if one is None or other is None or not related:
        raise TypeError(f"cannot compare inputs of type {type(actual)} and {type(expected)}; "
                        "both must be tensors, arrays of one library, numbers, or containers of them")
    return of_tensors(one, other, options)


def as_tensor(value: Any) -> Tensor | None:
    """The Tensor, or an array as one; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    backend = None if isinstance(value, Number) else backends.of(value)
    return None if backend is None else engine.make_tensor(backend, backend.normalise(value))


# -------------------------------------------------------------------------------------------------- numbers and tensors


def of_numbers(actual: Any, expected: Any, options: Options) -> str | None:
    if options.check_dtype and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    rtol, atol = tolerances([dtypes.of(type(v)).name for v in (actual, expected)], options)
    if np.isclose(actual, expected, rtol, atol, options.equal_nan):
        return None
    return scalar_message(actual, expected, rtol, atol)


def of_tensors(actual: Tensor, expected: Tensor, options: Options) -> str | None:
    names = ("backend", "device") if options.check_device else ()
    for name in ("shape", *names, *(("dtype",) if options.check_dtype else ())):
        one, other = attribute(actual, name), attribute(expected, name)
        if one != other:
            return f"The values for attribute '{name}' do not match: {one} != {other}."
    rtol, atol = tolerances([actual.dtype.name, expected.dtype.name], options)
    a, e = values_of(actual), values_of(expected)
    # Integers that are compared exactly must not pass through floats.
    exact = (rtol, atol) == EXACT and "f" not in kinds_of(a, e)
    matches = a == e if exact else np.isclose(a, e, rtol, atol, options.equal_nan)
    if np.all(matches):
        return None
    if a.ndim == 0:
        return scalar_message(a.item(), e.item(), rtol, atol)
    return tensor_message(a, e, np.asarray(matches), rtol, atol)


def attribute(t: Tensor, name: str) -> Any:
    return t.backend_.name if name == "backend" else getattr(t, name)


def kinds_of(*arrays: Any) -> str:
    """ "f" if one of the arrays is floating or complex, else "i". """
    return "f" if any(a.dtype.kind in "fc" for a in arrays) else "i"


def tolerances(names: list[str], options: Options) -> tuple[float, float]:
    if options.rtol is not None and options.atol is not None:
        return options.rtol, options.atol
    pairs = [TOLERANCES.get(name, EXACT) for name in names]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


def values_of(t: Tensor) -> Any:
    """The values as a NumPy array in which differences are exact enough to be shown."""
    if t.dtype.kind == "real" and t.dtype.bits < 64:
        t = t.to(dtype=dtypes.of("float64"))
    values = np.asarray(t.backend_.to_numpy(t.array))
    return values.astype(np.complex128) if values.dtype.kind == "c" else values


# ------------------------------------------------------------------------------------------------------------- messages


def scalar_message(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    apart = abs(actual - expected)
    relative = apart / abs(expected) if expected else float("inf")
    word = "equal" if (rtol, atol) == EXACT else "close"
    return (f"Scalars are not {word}!\n\nExpected {expected} but got {actual}.\n"
            f"Absolute difference: {apart}{allowed(atol, rtol)}\nRelative difference: {relative}{allowed(rtol, atol)}")


def tensor_message(actual: Any, expected: Any, matches: Any, rtol: float, atol: float) -> str:
    wrong = int(matches.size - np.count_nonzero(matches))
    if kinds_of(actual, expected) == "i":       # of any size and sign: Python's own integers
        actual, expected = actual.astype(object), expected.astype(object)
    with np.errstate(all="ignore"):
        apart = np.where(matches, 0, abs(actual - expected))
        size = abs(expected)
        relative = np.where(apart == 0, 0.0, (apart / np.where(size == 0, 1, size)).astype(float))
        relative = np.where((size == 0) & (apart != 0), np.inf, relative)
    return (f"Tensor-likes are not {'equal' if (rtol, atol) == EXACT else 'close'}!\n\n"
            f"Mismatched elements: {wrong} / {matches.size} ({wrong / matches.size:.1%})\n"
            f"Greatest absolute difference: {greatest(apart)}{allowed(atol, rtol)}\n"
            f"Greatest relative difference: {greatest(relative)}{allowed(rtol, atol)}")


def greatest(values: Any) -> str:
    """The largest element, or the first nan, and where it is."""
    position = np.unravel_index(int(np.argmax(values)), values.shape)
    value = values[position]
    return f"{value.item() if isinstance(value, np.generic) else value} at index {tuple(int(i) for i in position)}"


def allowed(tolerance: float, other: float) -> str:
    return f" (up to {tolerance} allowed)" if tolerance or other else ""
