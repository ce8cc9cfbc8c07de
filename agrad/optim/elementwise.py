"""Optimizers whose update is one formula for each element, and the three ways to apply it.

On backends whose arrays can be written it runs in place: in one compiled pass over all parameters where the adapter has
a loop for the formula (`updates`), and block by block elsewhere, so that temporaries are as large as a block and not as
a parameter. Where arrays are immutable the new values are computed and put in the place of the old ones.

Must know no array library and no single algorithm.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import nullcontext
from typing import Any, ClassVar

from agrad import backends
from agrad.autograd.grad_mode import enable_grad, no_grad
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor
from agrad.optim.optimizer import Optimizer, computed, like_parameter

BLOCK = 2**18  # elements
HOST = backends.find("numpy")  # where numbers are that Python reads at each step: no device has to be waited for
DOUBLE = HOST.to_dtype("float64")

Formula = Callable[..., tuple[Any, ...]]
Row = tuple[Tensor, ...]  # a parameter, its buffers, its gradient


class Elementwise(Optimizer):
    """Base of the optimizers that apply a formula of `agrad.optim.updates`; subclasses say what their options mean."""

    formula: ClassVar[Formula]
    numbers: ClassVar[tuple[str, ...]] = ("step",)  # what the state counts, on the host

    def _buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the buffers, in the formula's order."""
        raise NotImplementedError

    def _coefficients(self, group: dict[str, Any], count: Any) -> tuple[float, ...]:
        """The formula's coefficients for parameters that were counted to `count`."""
        raise NotImplementedError

    def _next(self, state: dict[str, Any], group: dict[str, Any]) -> Any:
        """What an update will be counted as; parameters with the same count have the same coefficients."""
        return read(state.get("step"), 0.0) + 1.0

    def _note(self, state: dict[str, Any], count: Any) -> None:
        """Write down that an update was made."""
        state["step"] = on_host(count)

    def _start(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """A new buffer."""
        return p.detach().zeros_like()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient.

        Parameters
        ----------
        closure : callable, optional
            Clears the gradients, computes the loss, calls its `backward` and returns it.

        Returns
        -------
        What `closure` returned.
        """
        loss = None if closure is None else enable_grad()(closure)()
        with no_grad():
            for group in self.param_groups:
                names = self._buffers(group)
                for (backend, count), rows in self._rows(group, names).items():
                    update(backend, type(self).formula, self._coefficients(group, count), rows)
                    if names or self.numbers:   # only now: what failed was not counted
                        self._remember(names, rows, count)
        return loss

    def _rows(self, group: dict[str, Any], names: tuple[str, ...]) -> dict[tuple[Any, Hashable], list[Row]]:
        """What is to be updated, by backend and count."""
        rows: dict[tuple[Any, Hashable], list[Row]] = {}
        for p in group["params"]:
            g = p.grad
            if g is None:
                continue
            state, shape, buffers = self.state.get(p, {}), p.shape, []
            for name in names:
                buffer = state.get(name)
                if buffer is None:
                    buffer = self._start(p, group)
                elif buffer.shape != shape:
                    raise ValueError(f"{name!r} has the shape {buffer.shape}, and its parameter has {shape} by now")
                buffers.append(buffer)
            rows.setdefault((p.backend_, self._next(state, group)), []).append((p, *buffers, g))
        return rows

    def _remember(self, names: tuple[str, ...], rows: list[Row], count: Any) -> None:
        """Keep the count and the buffers of parameters that were updated."""
        for p, *buffers, _ in rows:
            state = self.state[p]
            self._note(state, count)
            state.update(zip(names, buffers, strict=True))

    def _restored_state(self, p: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        found = super()._restored_state(p, state)
        lost = [name for name in self.numbers if found and found.get(name) is None]
        if lost:
            raise ValueError(f"loaded state dict has no {lost[0]!r} beside {list(found)}: is it another optimizer's?")
        return found

    def _restored(self, p: Tensor, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in self.numbers:
            return on_host(float(value))
        buffer = like_parameter(value, p)
        if buffer.shape != p.shape:
            problem = f"{name!r} of shape {buffer.shape} for a parameter of shape {p.shape}"
            raise ValueError(f"loaded state dict has {problem}")
        if buffer.dtype.kind == "complex" != p.dtype.kind:
            raise ValueError(f"loaded state dict has complex {name!r} for a parameter of {p.dtype}")
        return buffer.to(dtype=p.dtype)


def on_host(number: float) -> Tensor:
    """A number of the state, as a 0-d tensor."""
    return engine.make_tensor(HOST, HOST.scalar(number, DOUBLE, None))


def read(number: Tensor | None, start: float) -> float:
    """The value of a number of the state, or what it starts from."""
    return start if number is None else float(engine.raw_value(number))


# ---- applying a formula ----------------------------------------------------------------------------------------------


def update(backend: Any, formula: Formula, c: tuple[float, ...], rows: list[Row]) -> None:
    """Apply a formula to parameters of one backend."""
    targets = tuple(t for row in rows for t in row[:-1])
    gradients = [row[-1] for row in rows]
    write = functools.partial(write_rows, backend, formula, c, len(rows))
    if engine.write_in_place(write, targets, *gradients):
        return
    for (p, *state, _), g in zip(rows, computed(gradients), strict=True):
        new = by_parts(formula, p.__array_namespace__(), p.dtype.kind == "complex", p, g, state, c)
        for target, value in zip((p, *state), computed(list(new)), strict=True):
            target.copy_(value)


def write_rows(backend: Any, formula: Formula, c: tuple[float, ...], n: int, *raw: Any) -> None:
    """Write the new values into arrays: those of all rows without the gradients, then the gradients."""
    targets, gradients = raw[:-n], raw[-n:]
    width = len(targets) // n
    loop = backend.updates.get(formula.__name__)
    left = range(n) if loop is None else loop(targets, gradients, c)
    for i in left:
        with backend.quiet() or nullcontext():
            write_blocks(backend, formula, c, targets[i * width : (i + 1) * width], gradients[i])


def write_blocks(backend: Any, formula: Formula, c: tuple[float, ...], targets: tuple[Any, ...], g: Any) -> None:
    """The formula for one parameter, block by block."""
    is_complex = backend.is_complex(targets[0])
    for key in blocks(backend.shape_of(targets[0])):
        p, *state = (target[key] for target in targets)
        new = by_parts(formula, backend.xp, is_complex, p, g[key], state, c)
        for target, value in zip((p, *state), new, strict=True):
            backend.write(target, value)


def blocks(shape: tuple[int, ...]) -> Iterator[Any]:
    """Indices of views that together are an array and have about BLOCK elements each: cut along the longest axis."""
    length = max(shape, default=1)
    size = functools.reduce(int.__mul__, shape, 1)
    if size <= BLOCK:
        yield ...
        return
    rows = max(1, BLOCK * length // size)
    before = (slice(None),) * shape.index(length)
    for start in range(0, length, rows):
        yield (*before, slice(start, start + rows))


def by_parts(formula: Formula, xp: Any, is_complex: bool, p: Any, g: Any, state: Any, c: Any) -> tuple[Any, ...]:
    """The formula; complex numbers count as two real ones, which each have a size of their own."""
    if not is_complex:
        return formula(xp, p, g, state, c)
    real, imag = (
        formula(xp, part(p), part(g), [part(buffer) for buffer in state], c) for part in (xp.real, xp.imag)
    )
    return tuple(xp.astype(re, p.dtype) + 1j * xp.astype(im, p.dtype) for re, im in zip(real, imag, strict=True))
