"""Central differences along directions: what derivatives are compared with. NumPy arrays only; knows no Tensor."""

from collections.abc import Callable, Sequence
from typing import Any

Arrays = Sequence[Any]


def slope(function: Callable[[list[Any]], Arrays], values: Arrays, k: int, along: Any, step: float = 1e-6) -> list[Any]:
    """The derivative of each result of `function` as operand k moves along a direction; None where there is none."""
    ahead, behind = ([*values[:k], values[k] + h * along, *values[k + 1:]] for h in (step, -step))
    pairs = zip(function(ahead), function(behind), strict=True)
    return [None if a is None or b is None else (a - b) / (2 * step) for a, b in pairs]
