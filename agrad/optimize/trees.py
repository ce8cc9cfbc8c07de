"""Parameters as SciPy sees them, one vector of float64, and as functions see them, a tree of tensors.

Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func.pytrees import LEAF, flatten, unflatten


class Tree:
    """The structure of the parameters, and where each leaf lives; `api` is the function that errors name."""

    def __init__(self, x0: Any, api: str) -> None:
        self.api = api
        self.like, self.structure = flatten(x0)
        self.names = _paths(self.structure, "x0")
        if not self.like:
            raise ValueError(f"{api}(): x0 has no tensors: {x0!r}")
        for name, leaf in zip(self.names, self.like, strict=True):
            if not isinstance(leaf, Tensor):
                raise TypeError(f"{api}(): {name} must be a Tensor, not {type(leaf).__name__}: agrad.asarray(...)")
            if leaf.dtype.kind != "real":
                raise TypeError(f"{api}(): {name} must be of a real floating dtype, not {leaf.dtype}")
        self.like = [leaf.detach() for leaf in self.like]
        self.start = self.vector(self.like)
        if not self.start.size:
            raise ValueError(f"{api}(): x0 has no elements: {x0!r}")

    def vector(self, leaves: Sequence[Tensor]) -> Any:
        """The elements of all leaves, as float64."""
        return np.concatenate([values_of(leaf).ravel() for leaf in leaves])

    def leaves(self, vector: Any, requires_grad: bool = False) -> list[Tensor]:
        """Leaves with these elements."""
        found, end = [], 0
        for like in self.like:
            part = np.asarray(vector[end : end + like.size], np.float64).reshape(like.shape)
            end += like.size
            backend = like.backend_
            raw = backend.from_numpy(part, backend.to_dtype(like.dtype), like.device, True)
            found.append(engine.make_tensor(backend, backend.normalise(raw), requires_grad=requires_grad))
        return found

    def at(self, vector: Any) -> Any:
        """The tree with these elements."""
        return unflatten(self.structure, self.leaves(vector))

    def call(self, function: Callable[..., Any], leaves: Sequence[Tensor], args: tuple[Any, ...]) -> Any:
        """A user's function of the tree."""
        return function(unflatten(self.structure, leaves), *args)


def values_of(t: Tensor) -> Any:
    """A tensor's values as an array of float64."""
    return np.asarray(t.backend_.to_numpy(t.detach().array), np.float64)


def _paths(structure: Any, name: str) -> list[str]:
    """What the leaves of a structure are called in errors."""
    if structure is LEAF:
        return [name]
    return [
        path
        for key, child in zip(structure.keys, structure.children, strict=True)
        for path in _paths(child, f"{name}[{key!r}]")
    ]
