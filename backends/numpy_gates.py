"""The gates of recurrent cells on NumPy: the formulas of `agrad.plugins.nn_recurrent` with as few calls as possible.

A step of a small network is a few hundred numbers, and what it costs are NumPy's calls. All activations of an LSTM are
one tanh, for sigmoid(z) = tanh(z / 2) / 2 + 1/2, and results are written over what is no longer needed.
"""

from functools import cache
from typing import Any

import numpy as np


@cache
def _bends(n: int, dtype: Any) -> tuple[Any, Any]:
    """What the four gates are multiplied with before and after the tanh, and what is added then."""
    scale, shift = np.full(4 * n, 0.5, dtype), np.full(4 * n, 0.5, dtype)
    scale[2 * n : 3 * n], shift[2 * n : 3 * n] = 1, 0
    return scale, shift


def _check(name: str, count: int, gates: Any, hidden_gates: Any, state: Any) -> None:
    if not gates.shape[-1] == hidden_gates.shape[-1] == count * state.shape[-1]:
        raise ValueError(
            f"{name}() expected gates with {count} columns for each of the state's, got shapes {gates.shape} and "
            f"{hidden_gates.shape} with a state of shape {state.shape}"
        )


def lstm_gates(gates: Any, hidden_gates: Any, state: Any, /) -> tuple[Any, Any, Any]:
    """The next output and state of an LSTM, and its four gates after their activations."""
    _check("lstm_gates", 4, gates, hidden_gates, state)
    n = state.shape[-1]
    parts = gates + hidden_gates
    scale, shift = _bends(n, parts.dtype)
    parts *= scale
    np.tanh(parts, parts)
    parts *= scale
    parts += shift
    c = parts[..., n : 2 * n] * state
    c += parts[..., :n] * parts[..., 2 * n : 3 * n]
    h = np.tanh(c)
    h *= parts[..., 3 * n :]
    return h, c, parts


def gru_gates(gates: Any, hidden_gates: Any, state: Any, /) -> tuple[Any, Any]:
    """The next output of a GRU, which is its state, and its three gates after their activations."""
    _check("gru_gates", 3, gates, hidden_gates, state)
    n = state.shape[-1]
    parts = gates + hidden_gates
    both, new = parts[..., : 2 * n], parts[..., 2 * n :]
    both *= 0.5
    np.tanh(both, both)
    both *= 0.5
    both += 0.5
    np.multiply(both[..., :n], hidden_gates[..., 2 * n :], new)
    new += gates[..., 2 * n :]
    np.tanh(new, new)
    h = state - new
    h *= both[..., n:]
    h += new
    return h, parts
