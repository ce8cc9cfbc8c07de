"""Users' functions inside transforms: a call peels a level off its arguments, runs outside of it, and wraps.

Outside, the call is recorded as any other; the tangents come from the user's `jvp`. On a batch the user's `vmap` is
asked, else forward and backward run on the batch as one function of whole batches. Must know no backend and no rule.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from agrad import levels
from agrad.autograd.function import Function
from agrad.autograd.tangents import fitting_tangent
from agrad.cython_core import engine
from agrad.cython_core.engine import Layered, Level, Tensor


def apply_inside(function: Any, args: tuple[Any, ...], keywords: dict[str, Any], splits: bool) -> Any:
    """Call a function some of whose arguments are inside a transform."""
    return _Call(function, args, keywords, splits).output


class VmapInfo(NamedTuple):
    """What a `vmap` staticmethod is told about the transform."""

    batch_size: int
    randomness: str


class _Call:
    """One call at one level: `output`, and what a ctx needs that stands for the call at this level."""

    def __init__(
        self, function: Any, args: tuple[Any, ...], keywords: dict[str, Any], splits: bool, watches: bool = False
    ) -> None:
        self.function, self.names, self.splits = function, tuple(keywords), splits
        self.given = (*args, *keywords.values())
        self.template: _Template | None = None
        level = _innermost(self.given)
        if level is None or self.is_closed():
            self.output, ctx, to_save = self.run(self.given, watches)
            self.template = _Template(ctx, to_save, self.given, self.output)
            engine.context_attributes(ctx).pop("saved_for_forward", None)
            return
        inside = [levels.outside(level, t)[:2] if isinstance(t, Tensor) else (t, None) for t in self.given]
        deepest = _depth(self.given)
        records = engine.is_grad_enabled() and not level.records and any(
            t.requires_grad and t.backend_.adopts == deepest for t in _tensors(self.given)
        )
        if level.kind == "dual":
            self.output = self.run_dual(level, inside, records)
        else:
            self.output = self.run_batch(level, inside)
        if records:
            self.output = _wrapped(level, self.output)
            self.output = engine.record_forward(function, self.given, self.output, self.prepare)

    def run(self, given: Sequence[Any], watches: bool = False) -> tuple[Any, Any, Any]:
        """The function's own forward: (output, ctx, to_save)."""
        args, keywords = self.arguments(given)
        return engine.run_forward(self.function, args, keywords, self.splits, watches)

    def arguments(self, given: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        n = len(given) - len(self.names)
        return tuple(given[:n]), dict(zip(self.names, given[n:], strict=True))

    def is_closed(self) -> bool:
        """Whether nothing outside of the level depends on the call: then forward may run at the level as it is."""
        deepest = _depth(self.given)
        for t in _tensors(self.given):
            if (t.requires_grad and t.backend_.adopts < deepest) or engine.tracks_inside(t):
                return False
            for layer in _layers(t):
                if layer.tangent is not None:
                    return False
                if layer.level is not None and layer.level.kind == "batch" and _has_vmap(self.function):
                    return False
        return True

    def run_dual(self, level: Level, inside: Sequence[tuple[Any, Any]], records: bool) -> Any:
        """The call outside of a forward-mode level, and the user's jvp."""
        values, tangents = zip(*inside, strict=True)
        watches = records and not self.splits
        if watches:
            values = tuple(_watched(t) if isinstance(t, Tensor) and not t.requires_grad else t for t in values)
        outer = _Call(self.function, *self.arguments(values), self.splits, watches)
        self.template = outer.template
        if all(t is None for t in tangents):
            return outer.output
        filled = [
            engine.zeros_like(x) if t is None and isinstance(x, Tensor) else t
            for x, t in zip(values, tangents, strict=True)
        ]
        return _with_tangents(level, outer.output, self.function.jvp(outer.context(False), *filled))

    def run_batch(self, level: Level, inside: Sequence[tuple[Any, Any]]) -> Any:
        """The call on whole batches."""
        values = tuple(value for value, _ in inside)
        batched = tuple(isinstance(t, Tensor) and levels.outside(level, t)[2] for t in self.given)
        if _has_vmap(self.function):
            args, keywords = self.arguments(values)
            dims = tuple(0 if is_batched else None for is_batched in batched)
            result = self.function.vmap(VmapInfo(level.size, level.randomness), dims, *args, **keywords)
            return _batch_in_front(level, self.function, result)
        plan = _Plan(self, batched, level.size, level.randomness)
        outputs = _OnBatch.apply(plan, *values)
        wrapped = [engine.wrap_level(level, t) if isinstance(t, Tensor) else t for t in outputs]
        self.template = plan.template
        return wrapped[0] if plan.single else tuple(wrapped)

    # ---- ctx

    def prepare(self, ctx: Any) -> None:
        """Set up the ctx of the call at its level."""
        if self.splits:
            self.function.setup_context(ctx, self.given, self.output)
            return
        if self.template is None:
            raise _needs_setup_context()
        attributes, to_save = self.template.filled(self.given, self.output, strict=True)
        engine.context_attributes(ctx).update(attributes)
        if to_save is not None:
            ctx.to_save = to_save

    def context(self, strict: bool) -> Any:
        """A ctx for the user's jvp at this level."""
        ctx = engine.new_context(self.function, self.given, {})
        if self.splits:
            self.function.setup_context(ctx, self.given, self.output)
            attributes = engine.context_attributes(ctx)
            to_save = attributes.pop("to_save", None)
        else:
            if self.template is None:
                raise _needs_setup_context()
            attributes, to_save = self.template.filled(self.given, self.output, strict)
            engine.context_attributes(ctx).update(attributes)
        if ctx.saved_for_forward is None:
            ctx.saved_for_forward = to_save or ()
        return ctx


def _needs_setup_context() -> RuntimeError:
    return RuntimeError(
        "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must "
        "override the setup_context staticmethod. Here it is needed because forward kept something on ctx, beyond its "
        "inputs and outputs, that it computed from values that a transform differentiates."
    )


# ---------------------------------------------------------------------------------------------------------- templates


class _Place(NamedTuple):
    """Stands for an argument ("input"), a result ("output"), or a value of a level that is finished ("inside")."""

    kind: str
    value: Any


class _Template:
    """What forward put on ctx, with places for arguments and results: it can be filled at another level."""

    def __init__(self, ctx: Any, to_save: Any, given: Sequence[Any], output: Any, level: Level | None = None) -> None:
        self._places = {id(t): _Place("input", i) for i, t in enumerate(given) if isinstance(t, Tensor)}
        outputs = output if isinstance(output, tuple) else (output,)
        self._places |= {id(t): _Place("output", i) for i, t in enumerate(outputs) if isinstance(t, Tensor)}
        self._level, self._lost = level, False
        attributes = {k: v for k, v in engine.context_attributes(ctx).items() if k != "needs_input_grad"}
        self._attributes = {key: self._emptied(value) for key, value in attributes.items()}
        self._to_save = self._emptied(to_save)
        self._places, self._level = {}, None

    def _emptied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            place = self._places.get(id(value))
            if place is not None:
                return place
            self._lost |= engine.is_derivative_lost(value)
            if self._level is None:
                return value
            inside, _, belongs = levels.outside(self._level, value)
            return _Place("inside", inside) if belongs else value
        return _mapped(self._emptied, value)

    def filled(
        self, given: Sequence[Any], output: Any, strict: bool, level: Level | None = None
    ) -> tuple[dict[str, Any], Any]:
        """Attributes and saved values of a ctx for these arguments and results."""
        if strict and self._lost:
            raise _needs_setup_context()
        outputs = output if isinstance(output, tuple) else (output,)

        def fill(value: Any) -> Any:
            if isinstance(value, _Place):
                if value.kind == "inside":
                    return engine.wrap_level(level, value.value) if level is not None else value.value
                return (given if value.kind == "input" else outputs)[value.value]
            return _mapped(fill, value)

        return {key: fill(value) for key, value in self._attributes.items()}, fill(self._to_save)

    def used(self, kind: str) -> set[int]:
        """Which arguments or results are kept."""
        found: set[int] = set()

        def look(value: Any) -> Any:
            if isinstance(value, _Place) and value.kind == kind:
                found.add(value.value)
            return value if isinstance(value, _Place) else _mapped(look, value)

        look(self._attributes)
        look(self._to_save)
        return found


def _mapped(f: Callable[[Any], Any], value: Any) -> Any:
    """The same list, tuple or dict with `f` of its parts."""
    if isinstance(value, (list, tuple)):
        parts = [f(part) for part in value]
        if isinstance(value, list):
            return parts
        return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
    return {key: f(part) for key, part in value.items()} if isinstance(value, dict) else value


# ------------------------------------------------------------------------------------------------------ whole batches


class _Plan:
    """What a function of whole batches needs to know about the user's function."""

    def __init__(self, call: _Call, batched: tuple[bool, ...], size: int, randomness: str) -> None:
        self.call, self.batched, self.size, self.randomness = call, batched, size, randomness
        self.template: _Template | None = None
        self.single = True
        self.kept: tuple[list[int], list[int]] = ([], [])

    def wrap(self, level: Level, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(
            engine.wrap_level(level, t) if b and t is not None else t
            for t, b in zip(values, self.batched, strict=True)
        )

    def context(self, ctx: Any, level: Level, *, forward: bool) -> Any:
        """A ctx of the user's function, for samples, made from one of the whole batch: for jvp, or for backward."""
        saved = iter(ctx.saved_tensors)
        given = dict(zip(self.kept[0], saved, strict=False))
        outputs = dict(zip(self.kept[1], saved, strict=False))
        n = len(self.batched)
        arguments = self.wrap(level, [given.get(i, ctx.plain[i]) for i in range(n)])
        results = tuple(
            engine.wrap_level(level, outputs[i]) if i in outputs else None for i in range(len(ctx.likes))
        )
        assert self.template is not None
        strict = not forward and engine.is_grad_enabled()
        attributes, saved = self.template.filled(arguments, results, strict, level)
        if forward:
            saved = attributes.get("saved_for_forward", saved)
        attributes |= {"needs_input_grad": ctx.needs_input_grad[1:], "saved_for_forward": saved or ()}
        return engine.new_context(self.call.function, arguments, attributes)


class _OnBatch(Function):
    """A user's function, called on whole batches: it acts on each sample."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *values: Any) -> Any:
        with levels.entered("batch", size=plan.size, randomness=plan.randomness) as level:
            given = plan.wrap(level, values)
            output, inner, to_save = plan.call.run(given)
            plan.single = not isinstance(output, tuple)
            plan.template = _Template(inner, to_save, given, output, level)
            found = output if isinstance(output, tuple) else (output,)
            outputs = tuple(levels.whole(level, plan.size, t) if isinstance(t, Tensor) else t for t in found)
        plan.kept = (sorted(plan.template.used("input")), sorted(plan.template.used("output")))
        ctx.plan, ctx.likes = plan, [isinstance(t, Tensor) for t in outputs]
        ctx.plain = [None if isinstance(t, Tensor) else t for t in values]
        kept = (*(values[i] for i in plan.kept[0]), *(outputs[i] for i in plan.kept[1]))
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(*kept)
        ctx.shapes = [t.shape[1:] if b else t.shape if isinstance(t, Tensor) else None
                      for t, b in zip(values, plan.batched, strict=True)]
        return outputs

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        plan: _Plan = ctx.plan
        with levels.entered("batch", size=plan.size, randomness=plan.randomness) as level:
            inner = plan.context(ctx, level, forward=False)
            cotangents = [None if g is None else engine.wrap_level(level, g) for g in grad_outputs]
            function = plan.call.function
            backward = function.backward if function.vjp is Function.vjp else function.vjp
            results = backward(inner, *cotangents)
            results = results if isinstance(results, tuple) else (results,)
            gradients = [
                _sum_to(r, shape) if isinstance(r, Tensor) and shape is not None else r
                for r, shape in zip(results, ctx.shapes, strict=False)
            ]
            found = [
                _of_batch(level, plan.size, r, b) if isinstance(r, Tensor) else r
                for r, b in zip(gradients, plan.batched, strict=False)
            ]
        return (None, *found, *results[len(found):])

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        plan: _Plan = ctx.plan
        with levels.entered("batch", size=plan.size, randomness=plan.randomness) as level:
            inner = plan.context(ctx, level, forward=True)
            results = plan.call.function.jvp(inner, *plan.wrap(level, tangents))
            results = results if isinstance(results, tuple) else (results,)
            return tuple(levels.whole(level, plan.size, t) if isinstance(t, Tensor) else t for t in results)


def _of_batch(level: Level, size: int, r: Tensor, batched: bool) -> Any:
    """A gradient of one sample as that of the batch, or summed over it for an argument that all samples share."""
    if batched:
        return levels.whole(level, size, r)
    value, _, is_batched = levels.outside(level, r)
    return value.sum(axis=0) if is_batched else value * size


def _sum_to(r: Tensor, shape: tuple[Any, ...]) -> Any:
    """Undo broadcasting in a gradient of one sample; what does not fit is left for the engine to refuse."""
    extra = r.ndim - len(shape)
    if r.shape == shape or extra < 0:
        return r
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1 != r.shape[extra + i]))
    summed = r.sum(axis=axes, keepdims=True)
    return summed.reshape(summed.shape[extra:])


# ------------------------------------------------------------------------------------------------------------ helpers


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [t for t in values if isinstance(t, Tensor)]


def _depth(values: Sequence[Any]) -> int:
    depth: int = max(t.backend_.adopts for t in _tensors(values))
    return depth


def _has_vmap(function: Any) -> bool:
    return function.vmap is not Function.vmap


def _layers(t: Tensor) -> Iterator[Layered]:
    """The levels around a base value, innermost first."""
    raw = engine.raw_value(t)
    while isinstance(raw, Layered):
        yield raw
        raw = engine.raw_value(raw.value)


def _innermost(values: Sequence[Any]) -> Level | None:
    """The innermost level that one of the arguments depends on."""
    found = [level for t in _tensors(values) if (level := engine.level_of(t)) is not None]
    return max(found, key=lambda level: level.depth, default=None)


def _watched(t: Tensor) -> Tensor:
    return engine.watched(t) if t.dtype.kind in ("real", "complex") else t


def _wrapped(level: Level, output: Any) -> Any:
    """Results as tensors of a level."""
    def wrap(t: Any) -> Any:
        return t if not isinstance(t, Tensor) or t.backend_.adopts > level.depth else engine.wrap_level(level, t)

    return _mapped(wrap, output) if isinstance(output, tuple) else wrap(output)


def _with_tangents(level: Level, output: Any, tangents: Any) -> Any:
    """Results of a forward-mode level."""
    outputs = output if isinstance(output, tuple) else (output,)
    tangents = tangents if isinstance(tangents, tuple) else (tangents,)
    if len(tangents) != len(outputs):
        raise RuntimeError(
            f"Function's jvp returned an invalid number of forward gradients (expected {len(outputs)} but got "
            f"{len(tangents)})"
        )
    found = []
    for i, (t, tangent) in enumerate(zip(outputs, tangents, strict=True)):
        if tangent is None or not isinstance(t, Tensor) or t.dtype.kind not in ("real", "complex"):
            found.append(t)
            continue
        if not isinstance(tangent, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(tangent).__name__}) for grad output {i}.")
        found.append(engine.wrap_level(level, t, fitting_tangent(t, tangent)))
    return tuple(found) if isinstance(output, tuple) else found[0]


def _batch_in_front(level: Level, function: Any, result: Any) -> Any:
    """Results of a user's `vmap` as tensors of the level."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(f"{function.__name__}.vmap must return (output, out_dims), got {type(result).__name__}")
    output, dims = result
    outputs = output if isinstance(output, tuple) else (output,)
    dims = dims if isinstance(dims, tuple) else (dims,) * len(outputs)
    if len(dims) != len(outputs):
        raise RuntimeError(f"{function.__name__}.vmap returned {len(outputs)} outputs and {len(dims)} out_dims")
    move = engine.find_op("moveaxis").function
    found = [
        t if dim is None or not isinstance(t, Tensor) else engine.wrap_level(level, t if dim == 0 else move(t, dim, 0))
        for t, dim in zip(outputs, dims, strict=True)
    ]
    return tuple(found) if isinstance(output, tuple) else found[0]
