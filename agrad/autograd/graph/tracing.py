"""Watching a program run: which operations ended tracking, why, and on which of the user's lines.

Must know no backend and no rule.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from agrad.autograd import user_code
from agrad.cython_core import engine
from agrad.cython_core.engine import Mode, Node, Op, Tensor

# Methods that give a value away, by the name of agrad's own function. Others (repr, ...) only look at it.
_LEAVES_AGRAD = ("numpy", "item", "tolist", "as_numpy_array", "as_float", "as_int", "as_complex")


@dataclass(frozen=True)
class Cut:
    """A place where gradients end.

    Attributes
    ----------
    op : str
        The operation or method.
    reason : str
        Why no gradient passes it.
    where : str
        The line of the user's program, as "file:line: code"; "" where it is not known.
    """

    op: str
    reason: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.op}: {self.reason}" + (f"\n    at {self.where}" if self.where else "")


class Trace:
    """What was seen while a program ran."""

    def __init__(self) -> None:
        self.cuts: list[Cut] = []
        self.leaves: dict[int, tuple[Tensor, str]] = {}         # tracked leaves, and where they were used first
        self.made: dict[int, tuple[Node, str]] = {}             # nodes, and where they were made
        self._behind: dict[int, tuple[Tensor, set[int]]] = {}   # tensors, and the cuts that they depend on

    def run(self, program: Callable[[], Any]) -> Any:
        """The program's result."""
        before = engine.get_mode()
        engine.set_mode(before.replace(tracing=engine.Tracing(self._saw)))
        try:
            return program()
        finally:
            engine.set_mode(before)

    def cuts_behind(self, tensors: Iterable[Tensor]) -> list[Cut]:
        """The cuts that tensors depend on, and those where values left agrad for good."""
        numbers: set[int] = set()
        for t in tensors:
            numbers |= self._behind.get(id(t), (t, set()))[1]
        return [cut for i, cut in enumerate(self.cuts) if i in numbers or cut.op in _LEAVES_AGRAD]

    def _saw(self, what: Op | str, mode: Mode, operands: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
        given = [t for t in operands if isinstance(t, Tensor)]
        tracked = [t for t in given if t.requires_grad]
        behind: set[int] = set().union(*(self._behind.get(id(t), (t, set()))[1] for t in given))
        user = user_code.frame()
        where, called = user_code.line(user.frame), user.called
        for t in tracked:
            if t.is_leaf:
                self.leaves.setdefault(id(t), (t, where))
        if tracked and not any(t.requires_grad for t in results):
            cut = _cut(what, mode, results, where, called)
            if cut is not None:
                behind = behind | {len(self.cuts)}
                self.cuts.append(cut)
        for t in results:
            node = t.grad_fn
            if node is not None:
                self.made.setdefault(id(node), (node, where))
            self._behind[id(t)] = (t, self._behind.get(id(t), (t, set()))[1] | behind)


def _cut(what: Op | str, mode: Mode, results: tuple[Tensor, ...], where: str, called: str) -> Cut | None:
    """Why an operation on tracked tensors gave an untracked one; None if its result went nowhere."""
    if isinstance(what, str):
        if called in _LEAVES_AGRAD:
            return Cut(called, "the values leave agrad, and come back as constants", where)
        if called not in ("", "detach", "data"):
            return None
        return Cut(what, "gives a tensor with the same values and no history", where)
    if mode.inference:
        return Cut(what.name, "ran inside inference_mode()", where)
    if not mode.grad:
        return Cut(what.name, "ran inside no_grad(), or with set_grad_enabled(False)", where)
    if results and results[0].dtype.kind not in ("real", "complex"):
        return Cut(what.name, f"its result is of dtype {results[0].dtype}, which carries no gradient", where)
    if what.rule is not None and not what.rule.differentiable:
        return Cut(what.name, "is not differentiable", where)
    return Cut(what.name, "has no derivative with respect to what requires grad here", where)
