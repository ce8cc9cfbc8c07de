"""When two arrays count as the same: tolerances of the checks, and comparing by them.

Must know no single backend and no single rule.
"""

from typing import Any

import numpy as np

from agrad.testing.subject import Subject

DOUBLE = ("float64", "complex128")
NEAR = 1e-6     # derivatives and central differences, in double precision
SAME = {  # the same number, computed in two ways
    "float64": 1e-11, "complex128": 1e-11, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2, "bfloat16": 8e-2,
}


def tolerance_of(s: Subject) -> float:
    """How far apart the same number may be, computed in two ways; a record's own tolerance is for lower precision."""
    return SAME[s.dtype] if s.dtype in DOUBLE else max(SAME[s.dtype], s.record.tol or 0.0)


def same_kind(s: Subject, raw: Any, like: Any, what: str) -> None:
    """Raise unless two raw arrays have the same shape and dtype."""
    found, expected = ((s.backend.shape_of(a), s.backend.neutral_dtype(a)) for a in (raw, like))
    if found != expected:
        raise AssertionError(f"the {what} has shape and dtype {found[0]}, {found[1]}, not {expected[0]}, {expected[1]}")


def near(a: Any, b: Any, s: Subject, problem: str, tolerance: float | None = None) -> None:
    """Raise unless two arrays agree, by the dtype's tolerance of the largest element; nan equals nan, None None."""
    if a is None and b is None:
        return
    if a is None or b is None or a.shape != b.shape:
        raise AssertionError(f"{problem}:\n{a}\nagainst\n{b}")
    tolerance = tolerance_of(s) if tolerance is None else tolerance
    finite = np.abs(b[np.isfinite(b)])
    scale = 1.0 + (float(finite.max()) if finite.size else 0.0)
    if not np.allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True):
        raise AssertionError(f"{problem}:\n{a}\nagainst\n{b}")


def is_exactly(found: Any, expected: Any) -> bool:
    """Equal but for rounding, infinities and nans included."""
    return found is not None and np.allclose(found, expected, rtol=1e-12, atol=0.0, equal_nan=True)
