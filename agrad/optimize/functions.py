"""Functions of the vector that SciPy asks for, and their derivatives, made of a user's function of the tree.

A gradient that got lost is an error and never a zero. Must know no backend and no rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agrad import func
from agrad.autograd import grad
from agrad.creation import engine_mode
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.func.pytrees import leaves_of
from agrad.optimize.trees import Tree, values_of

LOST = (
    "there is no gradient of {} by {}: it does not use it, or leaves agrad on the way, by detach(), item(), numpy() or "
    "a comparison; take what does not matter out of x0"
)


class Objective:
    """A function that gives one number."""

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], tree: Tree) -> None:
        self.fun, self.args, self.tree = fun, args, tree
        self.started = False
        self.place: Any = None      # the vector at which the gradient was recorded last: one graph for many products
        self.recorded: tuple[list[Tensor], Sequence[Tensor]] = [], ()

    def value(self, vector: Any) -> float:
        """The value alone, of anything that is a real number."""
        with engine_mode(grad=False):
            found = self.tree.call(self.fun, self.tree.leaves(vector), self.args)
        if isinstance(found, Tensor):
            self._check_number(found)
            found = values_of(found)
        elif not isinstance(found, (int, float, np.floating, np.integer, np.bool_)):
            raise TypeError(f"{self.tree.api}(): fun must give a real number, not {type(found).__name__}")
        self._check_start(float(found))
        return float(found)

    def value_and_gradient(self, vector: Any) -> tuple[float, Any]:
        """Both from one forward and one backward pass."""
        with engine_mode(grad=True, inference=False):
            leaves = self.tree.leaves(vector, True)
            output = self._output(leaves)
            found = self._gradient(output, leaves, False)
        value, gradient = float(values_of(output)), self.tree.vector(found)
        self._check_start(value, found)
        return value, gradient

    def product(self, vector: Any, direction: Any, *_: Any) -> Any:
        """The Hessian times a vector: the derivative of the gradient along it."""
        with engine_mode(grad=True, inference=False):
            if self.place is None or not np.array_equal(self.place, vector):
                leaves = self.tree.leaves(vector, True)
                self.recorded = leaves, self._gradient(self._output(leaves), leaves, True)
                self.place = np.array(vector)
            leaves, gradients = self.recorded
            pairs = [(g, d) for g, d in zip(gradients, self.tree.leaves(direction), strict=True) if g.requires_grad]
            if not pairs:
                return np.zeros_like(self.tree.start)
            outputs, directions = zip(*pairs, strict=True)
            found = grad(outputs, leaves, directions, retain_graph=True, create_graph=False, allow_unused=True)
        zeros = map(engine.zeros_like, leaves)      # None: the gradient does not depend on that leaf
        return self.tree.vector([zero if g is None else g for g, zero in zip(found, zeros, strict=True)])

    def hessian(self, vector: Any, *_: Any) -> Any:
        """The whole Hessian."""
        return hessian_of(lambda *leaves: self._output(leaves), self.tree, vector)

    def _output(self, leaves: Sequence[Tensor]) -> Tensor:
        output = self.tree.call(self.fun, leaves, self.args)
        if not isinstance(output, Tensor):
            raise TypeError(
                f"{self.tree.api}(): fun must give a Tensor, not {type(output).__name__}, which has no gradient; for a "
                "function of numbers take a method without derivatives"
            )
        self._check_number(output)
        return output

    def _check_number(self, t: Tensor) -> None:
        if t.ndim or t.dtype.kind == "complex":
            raise TypeError(
                f"{self.tree.api}(): fun must give a real number, not {t.dtype} of shape {tuple(t.shape)}"
            )

    def _gradient(self, output: Tensor, leaves: Sequence[Tensor], create_graph: bool) -> Sequence[Tensor]:
        """The gradient by each leaf; an error if one got lost, for a zero could be wrong."""
        if not output.requires_grad:
            raise RuntimeError(f"{self.tree.api}(): {LOST.format('fun', 'any of x0')}")
        found = grad(output, leaves, create_graph=create_graph, allow_unused=True)
        return _check_found(found, self.tree, "fun")

    def _check_start(self, value: float, gradients: Sequence[Tensor] = ()) -> None:
        """SciPy would hand a nan on as a result."""
        if self.started:
            return
        self.started = True
        if np.isnan(value):
            raise ValueError(f"{self.tree.api}(): fun gives nan at x0")
        for name, g in zip(self.tree.names, gradients, strict=False):
            if np.isnan(values_of(g)).any():
                raise ValueError(f"{self.tree.api}(): the gradient of fun by {name} is nan at x0")


def _check_found(found: Sequence[Tensor | None], tree: Tree, name: str) -> Sequence[Tensor]:
    lost = [leaf for leaf, g in zip(tree.names, found, strict=True) if g is None]
    if lost:
        raise RuntimeError(f"{tree.api}(): {LOST.format(name, ', '.join(lost))}")
    return [g for g in found if g is not None]


class VectorFunction:
    """A function that gives tensors in any nest: SciPy sees one vector.

    Errors call it `name`; with `needs_all` it must lead to every leaf.
    """

    def __init__(
        self, fun: Callable[..., Any], args: tuple[Any, ...], tree: Tree, name: str, needs_all: bool = False
    ) -> None:
        self.fun, self.args, self.tree, self.name, self.needs_all = fun, args, tree, name, needs_all

    def value(self, vector: Any) -> Any:
        """All results."""
        with engine_mode(grad=False):
            return np.concatenate([values_of(one).ravel() for one in self._outputs(self.tree.leaves(vector))])

    def jacobian(self, vector: Any, *_: Any) -> Any:
        """A row per result."""
        if self.needs_all:
            self._check_paths(vector)
            self.needs_all = False      # once is enough
        leaves = self.tree.leaves(vector)
        every = tuple(range(len(leaves)))
        blocks = func.jacrev(lambda *leaves: tuple(self._outputs(leaves, True)), every)(*leaves)
        rows = [
            [values_of(block).reshape(-1, leaf.size) for leaf, block in zip(leaves, row, strict=True)] for row in blocks
        ]
        return np.concatenate([np.concatenate(row, axis=1) for row in rows])

    def hessian(self, vector: Any, weights: Any) -> Any:
        """That of the results' sum with weights."""

        def total(*leaves: Tensor) -> Tensor:
            parts, end = [], 0
            for one in self._outputs(leaves):
                backend: Any = engine.base_backend(one)
                part = np.reshape(weights[end : end + one.size], one.shape)
                end += one.size
                raw = backend.from_numpy(part, backend.to_dtype(one.dtype), one.device, True)
                parts.append((one * engine.make_tensor(backend, backend.normalise(raw))).sum())
            return sum(parts[1:], parts[0])

        return hessian_of(total, self.tree, vector)

    def _check_paths(self, vector: Any) -> None:
        with engine_mode(grad=True, inference=False):
            leaves = self.tree.leaves(vector, True)
            outputs = self._outputs(leaves, True)
            found = grad(outputs, leaves, [engine.ones_like(one) for one in outputs], allow_unused=True)
        _check_found(found, self.tree, self.name)

    def _outputs(self, leaves: Sequence[Tensor], recorded: bool = False) -> list[Tensor]:
        outputs = leaves_of(self.tree.call(self.fun, leaves, self.args))
        if not outputs:
            raise TypeError(f"{self.tree.api}(): {self.name} gives no tensors")
        for one in outputs:
            if not isinstance(one, Tensor) or one.dtype.kind != "real":
                kind = one.dtype if isinstance(one, Tensor) else type(one).__name__
                raise TypeError(f"{self.tree.api}(): {self.name} must give real Tensors, not {kind}")
            if recorded and not one.requires_grad:
                raise RuntimeError(f"{self.tree.api}(): {LOST.format(self.name, 'any of x0')}")
        return outputs


def hessian_of(function: Callable[..., Tensor], tree: Tree, vector: Any) -> Any:
    """The second derivatives of a function of the leaves: the Jacobian of its gradient, as one matrix."""
    leaves = tree.leaves(vector)
    every = tuple(range(len(leaves)))
    blocks = func.jacrev(func.grad(function, every), every)(*leaves)
    return np.block([
        [values_of(block).reshape(a.size, b.size) for b, block in zip(leaves, row, strict=True)]
        for a, row in zip(leaves, blocks, strict=True)
    ])
