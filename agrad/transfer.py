"""Moving tensors between devices and backends, recorded: the gradient comes back to where the input lives.

Must know no single library.
"""

from typing import Any

from agrad.cython_core import engine
from agrad.cython_core.engine import Formula, Rule, Tensor


def move_raw(raw: Any, source: Any, target: Any, device: Any) -> Any:
    """A raw array on another backend or device; between libraries it goes through NumPy."""
    if target is source:
        return target.convert(raw, None, device, None)
    return target.normalise(target.from_numpy(source.to_numpy(raw), None, device, True))


def transfer(t: Tensor, backend: Any, device: Any = None) -> Tensor:
    """The tensor's values on another backend or device.

    Raises
    ------
    ValueError
        If the backend has no such device.
    """
    device = None if device is None else backend.to_device(device)
    home = (None, engine.base_backend(t), t.device)
    if engine.base_backend(t) is t.backend_:
        raw = move_raw(t.detach().array, t.backend_, backend, device)
    else:       # inside a transform
        moved = engine.map_inside(t, lambda inner: transfer(inner, backend, device))
        backend, raw = moved.backend_, engine.raw_value(moved)
    return engine.record_transfer(t, backend, raw, _rule(), home)


def bring_back(g: Any, backend: Any, device: Any) -> Any:
    """The cotangent where the input lives, in either world."""
    if isinstance(g, Tensor):
        return transfer(g, backend, device)
    from agrad import backends

    return move_raw(g, backends.of(g), backend, backend.to_device(device))


_made: list[Rule] = []


def _rule() -> Rule:
    """The rule of transfers; its two statics are the input's backend and device."""
    if not _made:
        op = engine.find_op("transfer")
        formula = Formula(bring_back, "transfer.vjp[x]", [(0, 0), (5, 1), (5, 2)], 3)
        rule = Rule(op, "linear", (formula,), source="agrad", node_name="ToCopyBackward0")
        rule.crosses = True
        _made.append(rule)
    return _made[0]
