"""Recurrent layers as functions: the cells, and the walk of a cell along a sequence.

The product of the input with its weight does not depend on the state, so it is taken out of the walk: once for the
whole sequence. What remains of a step is one product and one op for the gates. Must not know any module.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.dropout import dropout as drop
from agrad.nn.functional.ops import nn

State = tuple[Tensor, ...]      # (h,), of an LSTM (h, c)


# ------------------------------------------------------------------------------------------------------------- one step
# A step takes what the input contributes to the gates, the state, and what the state's contribution is made with.


def _tanh_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    return ((gates + nn.linear(state[0], weight, bias)).tanh(),)


def _relu_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    return (agrad.relu(gates + nn.linear(state[0], weight, bias)),)


def _lstm_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    h, c = state
    return nn.lstm_gates(gates, nn.linear(h, weight, bias), c)[:2]  # type: ignore[no-any-return]


def _gru_step(gates: Tensor, state: State, weight: Tensor, bias: Tensor | None) -> State:
    (h,) = state
    return nn.gru_gates(gates, nn.linear(h, weight, bias), h)[:1]  # type: ignore[no-any-return]


class Kind(NamedTuple):
    """What distinguishes the recurrent layers; a GRU's reset gate acts on the state's bias, which stays with it."""

    step: Callable[[Tensor, State, Tensor, Tensor | None], State]
    adds_biases: bool = True

    def biases(self, b_ih: Tensor | None, b_hh: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The bias of the input's product and of the state's: where both just add up, their sum goes to the first."""
        if b_ih is None or b_hh is None or not self.adds_biases:
            return b_ih, b_hh
        return b_ih + b_hh, None


TANH, RELU, LSTM, GRU = Kind(_tanh_step), Kind(_relu_step), Kind(_lstm_step), Kind(_gru_step, adds_biases=False)


def _cell(
    kind: Kind, x: Tensor, state: State, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None
) -> State:
    at_input, at_state = kind.biases(b_ih, b_hh)
    return kind.step(nn.linear(x, w_ih, at_input), state, w_hh, at_state)


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of an Elman network: ``tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Parameters
    ----------
    input : Tensor
        Shape (N, input_size) or (input_size,).
    hx : Tensor
        The state, of shape (N, hidden_size) or (hidden_size,).
    w_ih, w_hh : Tensor
        Shapes (hidden_size, input_size) and (hidden_size, hidden_size).
    b_ih, b_hh : Tensor, optional
        Shape (hidden_size,).

    Returns
    -------
    Tensor
        The next state.

    Examples
    --------
    >>> import agrad
    >>> x, h = agrad.ones((2, 3)), agrad.zeros((2, 4))
    >>> agrad.nn.functional.rnn_tanh_cell(x, h, agrad.zeros((4, 3)), agrad.zeros((4, 4))).shape
    (2, 4)
    """
    return _cell(TANH, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of an Elman network with ``relu`` in place of ``tanh``; see `rnn_tanh_cell`."""
    return _cell(RELU, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of a long short-term memory; `rnn_tanh_cell` has the parameters.

    The state is a pair (h, c); weights and biases hold the gates i, f, g, o one below the other, so that their first
    axis has the length 4 * hidden_size.

    Examples
    --------
    >>> import agrad
    >>> x, h, c = agrad.ones((2, 3)), agrad.zeros((2, 4)), agrad.zeros((2, 4))
    >>> h, c = agrad.nn.functional.lstm_cell(x, (h, c), agrad.zeros((16, 3)), agrad.zeros((16, 4)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """
    h, c = _cell(LSTM, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return h, c


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a gated recurrent unit; `rnn_tanh_cell` has the parameters.

    Weights and biases hold the gates r, z, n one below the other, so that their first axis has the length
    3 * hidden_size.

    Examples
    --------
    >>> import agrad
    >>> x, h = agrad.ones((2, 3)), agrad.zeros((2, 4))
    >>> agrad.nn.functional.gru_cell(x, h, agrad.zeros((12, 3)), agrad.zeros((12, 4))).shape
    (2, 4)
    """
    return _cell(GRU, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


# ------------------------------------------------------------------------------------------------------ whole sequences


class Weights(NamedTuple):
    """The parameters of one direction of one layer, in PyTorch's order; those that are not there are None."""

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor | None = None
    b_hh: Tensor | None = None
    w_hr: Tensor | None = None


def _grouped(params: Sequence[Tensor], has_biases: bool, n_groups: int) -> Iterator[Weights]:
    """The flat list of parameters by layer and direction."""
    size = len(params) // n_groups
    for start in range(0, n_groups * size, size):
        group: list[Any] = list(params[start : start + size])
        if not has_biases:
            group[2:2] = None, None
        yield Weights(*group)


def _walk(
    kind: Kind, x: Tensor, state: State, weights: Weights, reverse: bool, sizes: Sequence[int] | None
) -> tuple[Tensor, State]:
    """A cell's outputs along the first axis, in the order of the inputs, and its last state.

    With `sizes`, the rows of x are those of the samples that have an element at each step: fewer and fewer.
    """
    xp, step = x.__array_namespace__(), kind.step
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    at_input, at_state = kind.biases(b_ih, b_hh)
    gates = nn.linear(x, w_ih, at_input)
    steps = xp.unstack(gates) if sizes is None else _parted(gates, sizes)
    rows = None if sizes is None else _Rows(state)
    if sizes is not None and reverse:
        state = tuple(part[: sizes[-1]] for part in state)
    outputs = []
    for part in reversed(steps) if reverse else steps:
        if rows is not None:
            state = rows.fitted(state, part.shape[0])
        state = step(part, state, w_hh, at_state)
        if w_hr is not None:
            state = nn.linear(state[0], w_hr), state[1]
        outputs.append(state[0])
    if reverse:
        outputs.reverse()
    return (xp.stack(outputs), state) if rows is None else (xp.concat(outputs), rows.whole(state))


def _parted(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """So many rows for each step."""
    ends = list(accumulate(sizes))
    return [x[end - n : end] for end, n in zip(ends, sizes, strict=True)]


class _Rows:
    """The samples of a state, longest first, when not all of them have an element at each step."""

    def __init__(self, first: State) -> None:
        self.first, self.ended = first, list[State]()

    def fitted(self, state: State, n: int) -> State:
        """The state of n samples: those that end are laid aside, those that begin come from the first state."""
        have = state[0].shape[0]
        if n < have:
            self.ended.append(tuple(part[n:] for part in state))
            return tuple(part[:n] for part in state)
        if n > have:
            return tuple(agrad.concat([s, f[have:n]]) for s, f in zip(state, self.first, strict=True))
        return state

    def whole(self, state: State) -> State:
        """The last state of all samples."""
        parts = zip(state, *reversed(self.ended), strict=True)
        return tuple(agrad.concat(part) for part in parts) if self.ended else state


def _layers(
    kind: Kind, x: Tensor, hx: State, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, batch_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, State]:
    """Layer above layer; what a layer gives to the next, its directions side by side, may lose elements."""
    xp = x.__array_namespace__()
    swaps = batch_first and x.ndim == 3
    x = xp.permute_dims(x, (1, 0, 2)) if swaps else x
    directions = 2 if bidirectional else 1
    groups = _grouped(params, has_biases, num_layers * directions)
    states = zip(*map(xp.unstack, hx), strict=True)
    last = []
    for layer in range(num_layers):
        if layer and dropout:
            x = drop(x, dropout, train)
        outputs = []
        for reverse in (False, True)[:directions]:
            output, state = _walk(kind, x, next(states), next(groups), reverse, batch_sizes)
            outputs.append(output)
            last.append(state)
        x = outputs[0] if directions == 1 else xp.concat(outputs, axis=-1)
    return xp.permute_dims(x, (1, 0, 2)) if swaps else x, tuple(xp.stack(part) for part in zip(*last, strict=True))


def lstm(
    input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, batch_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A long short-term memory along a sequence.

    Parameters
    ----------
    input : Tensor
        Shape (L, N, input_size), with `batch_first` (N, L, input_size), or (L, input_size).
    hx : pair of Tensor
        The states h and c that the layers begin with, stacked.
    params : sequence of Tensor
        For each layer, and within it each direction, w_ih, w_hh, b_ih, b_hh (unless `has_biases` is false), and w_hr of
        a layer that projects its output.
    has_biases : bool
    num_layers : int
    dropout : float
        Probability that an element of what a layer gives to the next becomes zero; only with `train`.
    train, bidirectional, batch_first : bool
    batch_sizes : sequence of int, optional
        The input is packed, (sum of the sizes, input_size): see `agrad.nn.utils.rnn.PackedSequence`.

    Returns
    -------
    tuple of Tensor
        The last layer's outputs, and the last states h and c of all layers, stacked.

    Examples
    --------
    >>> import agrad
    >>> x, state = agrad.ones((5, 2, 3)), agrad.zeros((1, 2, 4))
    >>> weights = [agrad.zeros((16, 3)), agrad.zeros((16, 4))]
    >>> output, h, c = agrad.nn.functional.lstm(x, (state, state), weights, False, 1, 0.0, False, False, False)
    >>> output.shape, h.shape
    ((5, 2, 4), (1, 2, 4))
    """
    output, (h, c) = _layers(
        LSTM, input, tuple(hx), params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
    )
    return output, h, c


def gru(
    input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, batch_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """A gated recurrent unit along a sequence; `lstm` has the parameters, the state is h alone."""
    return _with_one_state(
        GRU, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
    )


def rnn_tanh(
    input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, batch_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """An Elman network along a sequence; `lstm` has the parameters, the state is h alone."""
    return _with_one_state(
        TANH, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
    )


def rnn_relu(
    input: Tensor, hx: Tensor, params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, batch_sizes: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """An Elman network with relu along a sequence; `lstm` has the parameters, the state is h alone."""
    return _with_one_state(
        RELU, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, batch_sizes
    )


def _with_one_state(kind: Kind, input: Tensor, hx: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    output, (h,) = _layers(kind, input, (hx,), *options)
    return output, h
