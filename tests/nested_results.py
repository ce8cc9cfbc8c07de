"""Results in containers, of agrad, torch or JAX, compared leaf by leaf."""

from typing import Any

import numpy as np
from array_libraries import values


def flat(tree: Any) -> list[Any]:
    """The leaves of a result as NumPy arrays, dicts by key."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in flat(tree[key])]
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in flat(part)]
    return [values(tree) if hasattr(tree, "detach") else np.asarray(tree)]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
