"""Why does a tensor have no gradient? Must know no backend and no rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agrad.autograd.graph.tracing import Cut, Trace
from agrad.cython_core import engine
from agrad.cython_core.engine import Node, Tensor


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; `print` shows it.

    Attributes
    ----------
    summary : str
        The answer in a sentence.
    flows : bool
        Whether a gradient can come.
    cuts : tuple of Cut
        Where gradients end, if that is known.
    advice : str
        What to do about it.
    """

    summary: str
    flows: bool
    cuts: tuple[Cut, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        parts = [self.summary, *(f"  {str(cut).replace(chr(10), chr(10) + '  ')}" for cut in self.cuts), self.advice]
        return "\n".join(part for part in parts if part)


def explain(what: Tensor | Callable[[], Tensor], loss: Tensor | Callable[[], Tensor] | None = None) -> Explanation:
    """Say why a tensor has no gradient, or a gradient of zero: which operation ended tracking, and where.

    Parameters
    ----------
    what : Tensor or callable
        A tensor: why is its `.grad` None? A function without arguments that computes a loss: why does the loss not
        require grad, or which leaves does it not depend on?
    loss : Tensor or callable, optional
        Where gradients of the tensor were to come from. A graph does not know what is not in it; a function is run once
        more while every operation is watched, and then the answer names lines.

    Returns
    -------
    Explanation

    Examples
    --------
    >>> import agrad
    >>> x = agrad.tensor([1.0, 2.0], requires_grad=True)
    >>> print(agrad.autograd.graph.explain(x))
    It requires grad and is a leaf, but no gradient has come: no backward pass reached it.
    Give explain() the loss too, or better a function that computes it: explain(x, lambda: loss(x)).
    >>> found = agrad.autograd.graph.explain(x, lambda: (x.detach() * 2).sum())
    >>> found.flows, found.cuts[0].op
    (False, 'detach')
    """
    for given in (what,) if loss is None else (what, loss):
        if not isinstance(given, Tensor) and not callable(given):
            raise TypeError(f"explain() takes a Tensor or a function that computes one, not {type(given).__name__}")
    if isinstance(what, Tensor):
        return _explain_alone(what) if loss is None else _explain_from(what, loss)
    trace = Trace()
    result = _result(trace, what)
    if not result.requires_grad:
        return _untracked(result, trace)
    reached = {id(leaf) for leaf in engine.nodes_under(result)[1]}
    missed = [f"  a leaf of shape {tuple(t.shape)} used at {where}"
              for key, (t, where) in trace.leaves.items() if key not in reached]
    cuts = tuple(trace.cuts_behind([result]))
    if not missed:
        return Explanation("The result requires grad and depends on every leaf that was used.", True, cuts)
    return Explanation("The result requires grad, but does not depend on:\n" + "\n".join(missed), True, cuts)


def _result(trace: Trace, program: Callable[[], Any]) -> Tensor:
    result = trace.run(program)
    if not isinstance(result, Tensor):
        raise TypeError(f"the function must return a Tensor, got {type(result).__name__}")
    return result


# ---- a tensor by itself


def _explain_alone(t: Tensor) -> Explanation:
    """What a tensor itself tells."""
    if not t.requires_grad:
        return Explanation(*_why_untracked(t))
    if t.retains_grad or t.is_leaf:
        g = t.grad
        if g is not None:
            zero = not bool((g != 0).any())
            return Explanation("Its gradient is zero everywhere." if zero else "It has a gradient.", True, (), (
                "Give explain() a function that computes the loss: explain(x, lambda: loss(x))." if zero else ""
            ))
        kind = "is a leaf" if t.is_leaf else "retains its gradient"
        return Explanation(
            f"It requires grad and {kind}, but no gradient has come: no backward pass reached it.", True, (),
            "Give explain() the loss too, or better a function that computes it: explain(x, lambda: loss(x)).",
        )
    node = t.grad_fn
    freed = node is not None and engine.is_freed(node)
    past = " A backward pass went through it already, and its graph is freed." if freed else ""
    return Explanation(
        f"It is a result, of {_name(node)}: only leaves keep their gradients in `.grad`.{past}", True, (),
        "Call retain_grad() on it before backward(), or ask for its gradient with autograd.grad().",
    )


def _why_untracked(t: Tensor) -> tuple[str, bool, tuple[Cut, ...], str]:
    advice = "Give explain() the function that computes it: explain(lambda: f(...)) names what cut the graph."
    if t.dtype.kind not in ("real", "complex"):
        return f"Its dtype is {t.dtype}: only floating and complex tensors have gradients.", False, (), ""
    if t.is_inference():
        return "It was made inside inference_mode(), where nothing is recorded.", False, (), advice
    base = t._base
    if base is not None and base.requires_grad:
        summary = "It is a view of a tensor that requires grad, without its history: it was taken inside no_grad()."
        return summary, False, (), advice
    summary = (
        "It does not require grad: it was made by the user without requires_grad=True, or detached, or computed inside "
        "no_grad(), or from what does not require grad either."
    )
    return summary, False, (), advice


def _name(node: Node | None) -> str:
    return "nothing" if node is None else node.name()


# ---- a tensor and a loss


def _explain_from(t: Tensor, loss: Tensor | Callable[[], Tensor]) -> Explanation:
    """Why no gradient comes from a loss."""
    if not t.requires_grad:
        return Explanation(*_why_untracked(t))
    trace = Trace()
    result = loss if isinstance(loss, Tensor) else _result(trace, loss)
    if not result.requires_grad:
        return _untracked(result, trace)
    path = _way(result, t, lambda node: True)
    if path is None:
        cuts = tuple(trace.cuts_behind([result]))
        if id(t) in trace.leaves or isinstance(loss, Tensor):
            return Explanation(
                "The loss requires grad, but its graph does not lead to the tensor.", False, cuts,
                "" if trace.made else "Give explain() a function that computes the loss, to see where the way ends.",
            )
        return Explanation(
            "The loss requires grad, but the tensor took no part in computing it.", False, cuts,
            "Was it replaced by another tensor, by a conversion or a move to another device?",
        )
    freed = [node for node in path if engine.is_freed(node)]
    if freed:
        return Explanation(
            f"The loss depends on the tensor, but its graph is freed: a backward pass went through {_name(freed[0])} "
            "already.", False, (), "Compute the loss again, or call backward(retain_graph=True) the first time.",
        )
    if _way(result, t, lambda node: engine.rule_of_node(node).family != "flat") is None:
        flat = [node for node in path if engine.rule_of_node(node).family == "flat"]
        cuts = tuple(Cut(_name(node), "its derivative is zero wherever it exists", _made(trace, node)) for node in flat)
        return Explanation("The loss depends on the tensor, but its gradient is zero.", True, cuts)
    return _explain_values(t, result, trace) if callable(loss) else Explanation(
        "The loss depends on the tensor: backward() brings it a gradient.", True, (),
        "" if not any(map(engine.has_hooks, path)) else "There are hooks on the way, which may change or stop it.",
    )


def _untracked(result: Tensor, trace: Trace) -> Explanation:
    """A result that does not require grad."""
    cuts = tuple(trace.cuts_behind([result]))
    if cuts:
        return Explanation("The result does not require grad: the graph was cut.", False, cuts)
    if trace.leaves:
        summary = "The result does not require grad: it does not depend on the leaves that do."
        return Explanation(summary, False, tuple(trace.cuts))
    summary, _, _, advice = _why_untracked(result)
    if trace.made or trace.cuts:
        return Explanation(summary, False, (), advice)
    return Explanation(
        "The result does not require grad: nothing that it was computed from does.", False, (),
        "Call requires_grad_() on the tensors that gradients are wanted for, before they are used.",
    )


def _made(trace: Trace, node: Node) -> str:
    return trace.made[id(node)][1] if id(node) in trace.made else ""


def _way(root: Tensor, t: Tensor, passes: Callable[[Node], bool]) -> list[Node] | None:
    """The nodes on one way from a root to a tensor, through nodes that let gradients pass; None if there is none."""
    goal: Any = t.grad_fn if t.grad_fn is not None else t
    start: Any = root.grad_fn if root.grad_fn is not None else root
    if start is goal:
        return []
    came_from: dict[int, Any] = {id(start): None}
    stack = [start]
    while stack:
        node = stack.pop()
        if not isinstance(node, Node) or not passes(node):
            continue
        for below in engine.edges_of(node):
            if below is goal:
                way = []
                while node is not None:
                    way.append(node)
                    node = came_from[id(node)]
                return way[::-1]
            if below is not None and id(below) not in came_from:
                came_from[id(below)] = node
                stack.append(below)
    return None


# ---- values on the way


def _explain_values(t: Tensor, result: Tensor, trace: Trace) -> Explanation:
    """Walk once, and see where what is not zero becomes zero."""
    zeros: list[Cut] = []
    sent: set[int] = set()      # nodes and leaves that something not zero was sent to
    handles = []

    def before(node: Node) -> Callable[[Any], None]:
        def look(gs: Any) -> None:
            if id(node) in sent and all(map(_is_zero, gs)):
                zeros.append(Cut(_name(node), "a hook of its result made the gradient zero", _made(trace, node)))
        return look

    def after(node: Node) -> Callable[[Any, Any], None]:
        def look(gs: Any, outs: Any) -> None:
            for below, g in zip(engine.edges_of(node), gs, strict=False):
                if not _is_zero(g):
                    sent.add(id(below))
            if all(map(_is_zero, gs)) and not all(map(_is_zero, outs)):
                zeros.append(Cut(_name(node), "makes the gradient zero at these values", _made(trace, node)))
        return look

    for node in engine.nodes_under(result)[0]:
        handles.append(node.register_hook(after(node)))
        handles.append(node.register_prehook(before(node)))
    try:
        (g,) = engine.run_backward((result,), (engine.ones_like(result),), True, False, (t,), False)
    finally:
        for handle in handles:
            handle.remove()
    if g is not None and not _is_zero(g):
        return Explanation("The loss depends on the tensor: its gradient comes, and is not zero.", True)
    goal = t.grad_fn if t.grad_fn is not None else t
    if id(goal) in sent:
        zeros.append(Cut("hook", "a hook of the tensor made the gradient zero"))
    kind = "no gradient comes" if g is None else "its gradient is zero"
    return Explanation(f"The loss depends on the tensor, but {kind}.", True, tuple(zeros))


def _is_zero(g: Tensor | None) -> bool:
    return g is None or not bool((g != 0).any())
