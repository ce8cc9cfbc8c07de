"""What the functions of layers ask of their arguments before they compute. Must know no backend and no layer."""

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor


def values_are_known(t: Tensor) -> bool:
    """Whether Python may read the values: not inside vmap, a traced function, or a lazy backend."""
    return t.backend_.summary(engine.raw_value(t)) is None


def known_extremes(t: Tensor) -> tuple[int, int] | None:
    """The smallest and the largest of some integers; None if there are none, or if they are not known."""
    if t.size == 0 or not values_are_known(t):
        return None
    values = t.backend_.to_numpy(engine.raw_value(t))
    return int(values.min()), int(values.max())
