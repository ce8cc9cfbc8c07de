"""`pad` in PyTorch's form: pairs for the last axes, the last one first. Must not know any array library."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}     # agrad.pad's names
MOST: dict[str, Callable[[int], float]] = {     # how many elements n others can give
    "reflect": lambda n: max(n - 1, 0), "circular": lambda n: n, "replicate": lambda n: inf if n else 0,
}


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """Add elements before and after the last axes.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        How many before and after the last axis, before and after the last but one, and so on. Negative numbers cut,
        in mode "constant".
    mode : str
        "constant", "reflect" (mirrored at the outermost element), "replicate" (that element again) or "circular" (the
        other end).
    value : number, optional
        Of the elements in mode "constant"; zero if it is left out.

    Raises
    ------
    ValueError
        If the numbers are not pairs, there are more of them than axes, or a mode has not enough elements to copy.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.pad(agrad.tensor([[1.0, 2.0, 3.0]]), (1, 2), mode="circular").tolist()
    [[3.0, 1.0, 2.0, 3.0, 1.0, 2.0]]
    """
    return padded("pad", input, pad, mode, value)


def padded(name: str, input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    """`pad` under a name that errors begin with."""
    if mode not in MODES:
        raise ValueError(f"{name}: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(
            f"{name}: expected a pair of widths for each of at most {input.ndim} axes, got {tuple(pad)} "
            f"for shape {tuple(input.shape)}"
        )
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in reversed(range(0, len(pad), 2))]
    if mode != "constant":
        if value is not None:
            raise ValueError(f"{name}: mode {mode!r} takes no value")
        check_sources(name, input, pairs, mode)
        return agrad.pad(input, pairs, MODES[mode])
    cuts = tuple(slice(max(-low, 0), n + min(high, 0)) for n, (low, high) in zip(input.shape, pairs, strict=True))
    if any(low < 0 or high < 0 for low, high in pairs):
        input = input[cuts]
    grown = [(max(low, 0), max(high, 0)) for low, high in pairs]
    return agrad.pad(input, grown, constant_values=0 if value is None else value)


def check_sources(name: str, input: Tensor, pairs: list[tuple[int, int]], mode: str) -> None:
    """Each axis must have the elements that are copied."""
    for axis, (n, pair) in enumerate(zip(input.shape, pairs, strict=True)):
        most = MOST[mode](n)
        if min(pair) < 0 or max(pair) > most:
            raise ValueError(
                f"{name}: mode {mode!r} can add 0 to {most} elements on either side of axis {axis} of an input of "
                f"shape {tuple(input.shape)}, not {pair}"
            )
