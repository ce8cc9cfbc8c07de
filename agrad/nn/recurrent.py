"""Recurrent layers and their cells: parameters, the state to begin with, and checks. The mathematics is in
`agrad.nn.functional.recurrent`.

A sequence of shape (L, N, features) is walked along L; `batch_first` swaps the first two axes of input and output, not
of the states. Without N, one sequence of shape (L, features), nothing has that axis.
"""

import warnings
from collections.abc import Callable
from math import sqrt
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import init
from agrad.nn.functional import recurrent as F
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter
from agrad.nn.utils.rnn import PackedSequence

# How many gates the rows of a weight hold, and which function walks along a sequence.
MODES: dict[str, tuple[int, Callable[..., Any]]] = {
    "RNN_TANH": (1, F.rnn_tanh),
    "RNN_RELU": (1, F.rnn_relu),
    "GRU": (3, F.gru),
    "LSTM": (4, F.lstm),
}
CELLS = {"tanh": F.rnn_tanh_cell, "relu": F.rnn_relu_cell}


def check_nonlinearity(name: str) -> None:
    if name not in CELLS:
        raise ValueError(f"Unknown nonlinearity '{name}'. Select from 'tanh' or 'relu'.")


def reset_uniformly(module: Module, hidden_size: int) -> None:
    """All parameters uniform between -1 and 1 divided by the square root of the hidden size."""
    bound = 1.0 / sqrt(hidden_size)
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


# ------------------------------------------------------------------------------------------------------ whole sequences


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` share: parameters of all layers and directions, options, checks of shapes."""

    n_states = 1

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_options(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        self.mode = mode
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self._names: list[str] = []     # of all parameters, in the order that the functions take
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[: self._directions]:
                for name, shape in self._shapes(layer).items():
                    self._names.append(f"{name}_l{layer}{suffix}")
                    empty = agrad.empty(shape, device=device, dtype=dtype)
                    self.register_parameter(self._names[-1], Parameter(empty))
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one direction of a layer."""
        rows = MODES[self.mode][0] * self.hidden_size
        columns = self._output_size * self._directions if layer else self.input_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, self._output_size)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each direction of each layer."""
        size = len(self._shapes(0))
        weights = self._weights()
        return [weights[i : i + size] for i in range(0, len(weights), size)]

    def _weights(self) -> list[Any]:
        return [getattr(self, name) for name in self._names]

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_uniformly(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Nothing: there is no packed copy of the parameters. Programs written for PyTorch call it."""

    def extra_repr(self) -> str:
        facts = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False,
        }
        changed = [f"{name}={getattr(self, name)}" for name, usual in facts.items() if getattr(self, name) != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])

    def _states(self, x: Tensor, hx: Any, sizes: list[int] | None) -> tuple[Tensor, ...]:
        """The states to begin with, zeros if none are given, after checks of all shapes."""
        name = self._get_name()
        self._check_input(name, x, packed=sizes is not None)
        lead = (self.num_layers * self._directions, *self._batch_shape(x, sizes))
        shapes = [(*lead, self._output_size), (*lead, self.hidden_size)][: self.n_states]
        if hx is None:
            xp = x.__array_namespace__()
            return tuple(xp.zeros(shape, dtype=x.dtype) for shape in shapes)
        states = _as_states(self, hx, self.n_states)
        for title, state, shape in zip("hc", states, shapes, strict=False):
            if tuple(state.shape) != shape:
                raise ValueError(
                    f"{name}: expected an initial {title} of shape {shape} for input of shape {tuple(x.shape)}, "
                    f"got {tuple(state.shape)}"
                )
        return states

    def _batch_shape(self, x: Tensor, sizes: list[int] | None) -> tuple[int, ...]:
        """The length of the batch, nothing without one."""
        if sizes is not None:
            return (sizes[0],)
        return x.shape[:1] if x.ndim == 3 and self.batch_first else x.shape[1:-1]

    def _check_input(self, name: str, x: Tensor, packed: bool) -> None:
        if x.ndim not in ((2,) if packed else (2, 3)) or x.shape[-1] != self.input_size:
            batch = f"(N, L, {self.input_size})" if self.batch_first else f"(L, N, {self.input_size})"
            wanted = f"packed data of shape (total, {self.input_size})" if packed else (
                f"input of shape {batch} or (L, {self.input_size})"
            )
            raise ValueError(f"{name}: expected {wanted}, got shape {tuple(x.shape)}")
        if x.shape[1 if self.batch_first and x.ndim == 3 else 0] == 0:
            raise ValueError(f"{name}: expected at least one step, got input of shape {tuple(x.shape)}")
        weight = getattr(self, self._names[0])
        if x.dtype != weight.dtype:
            raise ValueError(
                f"{name}: input has dtype {x.dtype} and the weights {weight.dtype}; "
                f"convert input.to({weight.dtype}) or the layer, layer.to({x.dtype})"
            )

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """The outputs of the last layer, packed if the input is, and the last states of all layers."""
        if not isinstance(input, PackedSequence):
            return self._run(input, hx, None)
        data, counts, order, back = input
        if hx is not None:
            hx = _reordered(_as_states(self, hx, self.n_states), order)
        output, last = self._run(data, hx, counts.tolist())
        return PackedSequence(output, counts, order, back), _reordered(last, back)

    def _run(self, x: Tensor, hx: Any, sizes: list[int] | None) -> tuple[Tensor, Any]:
        states = self._states(x, hx, sizes)
        output, *last = MODES[self.mode][1](
            x, states if self.n_states > 1 else states[0], self._weights(), self.bias, self.num_layers, self.dropout,
            self.training, self.bidirectional, self.batch_first, sizes,
        )
        return output, tuple(last) if self.n_states > 1 else last[0]


def _reordered(states: Any, order: Tensor | None) -> Any:
    """The samples of one state or a pair in another order; of one alone itself."""
    if isinstance(states, tuple):
        return tuple(_reordered(state, order) for state in states) if len(states) > 1 else _reordered(states[0], order)
    return states if order is None else agrad.take(states, order, axis=1)


def _check_options(
    input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float, proj_size: int
) -> None:
    for name, value, kind in (
        ("bias", bias, bool), ("batch_first", batch_first, bool),
        ("input_size", input_size, int), ("hidden_size", hidden_size, int),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout stands between recurrent layers, and there is only one: dropout={dropout} does nothing with "
            "num_layers=1",
            stacklevel=4,
        )
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def _as_states(layer: Module, hx: Any, n_states: int) -> tuple[Tensor, ...]:
    """One state or a pair as a tuple."""
    if n_states == 1 and isinstance(hx, Tensor):
        return (hx,)
    if n_states > 1 and isinstance(hx, (tuple, list)) and len(hx) == n_states:
        return tuple(hx)
    wanted = "a Tensor" if n_states == 1 else "a pair of Tensors (h, c)"
    raise TypeError(f"{layer._get_name()}: expected {wanted} as initial state, got {type(hx).__name__}")


class RNN(RNNBase):
    """An Elman network with several layers: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int
        Each layer's input is the sequence of states of the one below.
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Input and output have the shape (N, L, features) in place of (L, N, features).
    dropout : float
        In training, the probability that an element between two layers becomes zero.
    bidirectional : bool
        A second walk from the end; outputs are side by side, forward first.
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    ValueError
        By the constructor for options out of range, by a call for shapes that do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> rnn = nn.RNN(3, 4, num_layers=2)
    >>> output, h = rnn(agrad.ones((5, 2, 3)))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 2, 4))
    >>> list(rnn.state_dict())[:4]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity(nonlinearity)
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, device=device, dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """A long short-term memory with several layers; its state is a pair (h, c).

    Parameters
    ----------
    proj_size : int
        Above 0, outputs and h are projected to this size by a further weight.

    The other parameters are those of `RNN`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> lstm = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    >>> lstm
    LSTM(3, 4, batch_first=True, bidirectional=True)
    >>> output, (h, c) = lstm(agrad.ones((2, 5, 3)))
    >>> output.shape, h.shape, c.shape
    ((2, 5, 8), (2, 2, 4), (2, 2, 4))
    """

    n_states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device,
            dtype,
        )


class GRU(RNNBase):
    """A gated recurrent unit with several layers; the parameters are those of `RNN`.

    The reset gate acts behind the product of state and weight, as in PyTorch and not as in the first paper.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> output, h = nn.GRU(3, 4)(agrad.ones((5, 3)))
    >>> output.shape, h.shape
    ((5, 4), (1, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device=device,
            dtype=dtype,
        )


# --------------------------------------------------------------------------------------------------------------- cells


class RNNCellBase(Module):
    """What the cells share: two weights, two biases, and checks of shapes."""

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(agrad.empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(agrad.empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            empty = agrad.empty((rows,), device=device, dtype=dtype) if bias else None
            self.register_parameter(name, None if empty is None else Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_uniformly(self, self.hidden_size)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")

    def _checked(self, x: Tensor, hx: Any, n_states: int = 1) -> tuple[Tensor, ...]:
        """The state, zeros if none is given, after checks of all shapes."""
        shape = x.shape
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ValueError(
                f"{self._get_name()}: expected input of shape (N, {self.input_size}) or ({self.input_size},), "
                f"got shape {tuple(shape)}"
            )
        wanted = (*shape[:-1], self.hidden_size)
        if hx is None:
            zeros = x.__array_namespace__().zeros(wanted, dtype=x.dtype)
            return (zeros,) * n_states
        states = _as_states(self, hx, n_states)
        for part in states:
            if part.shape != wanted:
                raise ValueError(
                    f"{self._get_name()}: expected a state of shape {wanted} for input of shape {tuple(shape)}, "
                    f"got {tuple(part.shape)}"
                )
        return states


class RNNCell(RNNCellBase):
    """One step of an Elman network: ``tanh(W_ih x + b_ih + W_hh h + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    ValueError
        By the constructor for another nonlinearity, by a call for shapes that do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> cell = nn.RNNCell(3, 4)
    >>> h = cell(agrad.ones((2, 3)))
    >>> cell(agrad.ones((2, 3)), h).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity(nonlinearity)
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        (h,) = self._checked(input, hx)
        cell = CELLS[self.nonlinearity]
        return cell(input, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory; its state is a pair (h, c). The parameters are those of `RNNCell`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> cell = nn.LSTMCell(3, 4)
    >>> h, c = cell(agrad.ones((2, 3)))
    >>> h, c = cell(agrad.ones((2, 3)), (h, c))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next state."""
        h, c = self._checked(input, hx, 2)
        return F.lstm_cell(input, (h, c), self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit; the parameters are those of `RNNCell`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> nn.GRUCell(3, 4)(agrad.ones((2, 3))).shape
    (2, 4)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        (h,) = self._checked(input, hx)
        return F.gru_cell(input, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
