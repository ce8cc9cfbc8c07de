"""Recurrent layers and cells: PyTorch's numbers, gradients, names and texts, on every backend."""

import numpy as np
import pytest
from array_libraries import values
from layer_pairs import assert_alike, assert_same, pair

import agrad
from agrad import nn
from agrad.func import functional_call, vmap
from agrad.nn import functional as F

RNG = np.random.default_rng(0)
LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")


def numbers(*shape):
    return RNG.standard_normal(shape)


def states(name, *shapes):
    """An initial state: a pair for an LSTM."""
    return tuple(numbers(*shape) for shape in shapes) if name.startswith("LSTM") else numbers(*shapes[0])


def layers(name, *args, **kwargs):
    torch = pytest.importorskip("torch")
    return pair(getattr(torch.nn, name), getattr(nn, name), *args, **kwargs)


def flat_state(state):
    return state if isinstance(state, tuple) else (state,)


# --------------------------------------------------------------------------------------------- as PyTorch, every option

OPTIONS = [
    {}, {"bias": False}, {"batch_first": True}, {"bidirectional": True}, {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True, "bias": False},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]
ONLY = {
    "RNN": [{"nonlinearity": "relu"}, {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True}],
    "LSTM": [{"proj_size": 2}, {"proj_size": 2, "num_layers": 2, "bidirectional": True, "batch_first": True}],
    "GRU": [],
}
TABLE = [(name, options) for name in LAYERS for options in OPTIONS + ONLY[name]]


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("batch", [(3,), (1,), (0,), ()], ids=["batch", "one", "empty", "unbatched"])
@pytest.mark.parametrize(("name", "options"), TABLE)
def test_layers_do_what_torchs_do(name, options, batch, given):
    both = layers(name, 4, 5, **options)
    shape = (*batch, 6, 4) if options.get("batch_first") else (6, *batch, 4)
    lead = (options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1), *batch)
    hx = states(name, (*lead, options.get("proj_size") or 5), (*lead, 5))
    assert_alike(both, [numbers(*shape), hx] if given else [numbers(*shape)])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 4)])
def test_a_single_step_is_a_sequence(name, shape):
    assert_alike(layers(name, 4, 5, num_layers=2), [numbers(*shape)])


@pytest.mark.parametrize("given", [True, False], ids=["state", "zeros"])
@pytest.mark.parametrize("batch", [(3,), (0,), ()], ids=["batch", "empty", "unbatched"])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"nonlinearity": "relu"}], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_cells_do_what_torchs_do(name, options, batch, given):
    if "nonlinearity" in options and name != "RNNCell":
        options = {}
    both = layers(name, 4, 5, **options)
    hx = states(name, (*batch, 5), (*batch, 5))
    assert_alike(both, [numbers(*batch, 4), hx] if given else [numbers(*batch, 4)])


@pytest.mark.parametrize(("name", "options"), [
    *TABLE, *((name, options) for name in CELLS for options in ({}, {"bias": False})),
    ("RNNCell", {"nonlinearity": "relu", "bias": False}), ("LSTM", {"num_layers": 2, "dropout": 0.25}),
])
def test_layers_are_shown_as_torchs(name, options):
    theirs, ours = layers(name, 4, 5, **options)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_parameters_begin_within_the_bounds_of_the_hidden_size(name):
    agrad.manual_seed(0)
    for parameter in getattr(nn, name)(8, 400).parameters():
        drawn = values(parameter)
        assert np.abs(drawn).max() <= 0.05 < np.abs(drawn).max() * 1.05
        assert abs(drawn.std() * np.sqrt(12) - 0.1) < 0.01     # of a uniform distribution


def test_parameters_by_layer_and_direction():
    layer = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    assert [len(group) for group in layer.all_weights] == [5] * 4
    assert layer.all_weights[3][4] is layer.weight_hr_l1_reverse
    layer.flatten_parameters()


# ----------------------------------------------------------------------------------------------- cells, layers, dropout


@pytest.mark.parametrize("name", LAYERS)
def test_a_cell_in_a_loop_gives_what_the_layer_gives(name, backend):
    layer, cell = getattr(nn, name)(3, 4), getattr(nn, f"{name}Cell")(3, 4)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in layer.state_dict().items()})
    x = agrad.asarray(numbers(5, 2, 3), dtype=agrad.get_default_dtype())
    output, last = layer(x)
    state = None
    outputs = []
    for step in agrad.unstack(x):
        state = cell(step, state)
        outputs.append(flat_state(state)[0])
    agrad.testing.assert_close(agrad.stack(outputs), output)
    for mine, whole in zip(flat_state(state), flat_state(last), strict=True):
        agrad.testing.assert_close(mine, whole[0])
    (outputs[-1].sum() + outputs[0].sum()).backward()
    (output[-1] + output[0]).sum().backward()
    for key, parameter in cell.named_parameters():
        agrad.testing.assert_close(parameter.grad, getattr(layer, f"{key}_l0").grad)


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_stands_between_layers_and_in_training_only(name):
    x = agrad.tensor(numbers(5, 2, 3))
    layer, plain = (getattr(nn, name)(3, 4, num_layers=2, dropout=p) for p in (0.5, 0.0))
    plain.load_state_dict(layer.state_dict())
    agrad.manual_seed(1)
    assert not np.allclose(values(layer(x)[0]), values(plain(x)[0]))
    agrad.testing.assert_close(flat_state(layer(x)[1])[0][0], flat_state(plain(x)[1])[0][0])    # below the dropout
    agrad.testing.assert_close(layer.eval()(x)[0], plain(x)[0])
    everything = getattr(nn, name)(3, 4, num_layers=2, dropout=1.0)
    alone = getattr(nn, name)(4, 4)
    alone.load_state_dict({k.replace("_l1", "_l0"): v for k, v in everything.state_dict().items() if "_l1" in k})
    agrad.testing.assert_close(everything(x)[0], alone(agrad.zeros((5, 2, 4)))[0])


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives(name):
    layer = getattr(nn, name)(2, 2, bidirectional=True)
    names = list(layer.state_dict())

    def outputs(x, *parameters):
        output, last = functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))
        return output, *flat_state(last)

    inputs = [agrad.tensor(numbers(3, 1, 2), requires_grad=True)]
    inputs += [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert agrad.autograd.gradcheck(outputs, inputs)
    assert agrad.autograd.gradgradcheck(outputs, inputs)


@pytest.mark.parametrize("name", CELLS)
def test_vmap_over_samples_and_over_models(name):
    cells = [getattr(nn, name)(3, 4) for _ in range(2)]
    parameters = [dict(cell.named_parameters()) for cell in cells]
    stacked = {key: agrad.stack([p[key].detach() for p in parameters]) for key in parameters[0]}
    x = agrad.tensor(numbers(5, 3))
    one = vmap(lambda sample: flat_state(cells[0](sample)))(x)
    for mine, whole in zip(one, flat_state(cells[0](x)), strict=True):
        agrad.testing.assert_close(mine, whole)
    every = vmap(lambda given: flat_state(functional_call(cells[0], given, (x,))))(stacked)
    for k, cell in enumerate(cells):
        for mine, whole in zip(every, flat_state(cell(x)), strict=True):
            agrad.testing.assert_close(mine[k], whole)


@pytest.mark.parametrize("name", LAYERS)
def test_per_sample_gradients(name):
    layer = getattr(nn, name)(3, 2)
    parameters = {key: value.detach() for key, value in layer.named_parameters()}
    x = agrad.tensor(numbers(4, 5, 3))     # samples first

    def loss(parameters, sample):
        return functional_call(layer, parameters, (sample,))[0].sum()

    found = vmap(agrad.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for k in range(4):
        layer.zero_grad()
        layer(x[k])[0].sum().backward()
        for key, parameter in layer.named_parameters():
            agrad.testing.assert_close(found[key][k], parameter.grad)


@pytest.mark.parametrize("name", LAYERS)
def test_dtypes_stay(name, backend):
    layer = getattr(nn, name)(3, 4, num_layers=2, bidirectional=True, dtype=agrad.float32)
    output, last = layer(agrad.ones((5, 2, 3), dtype=agrad.float32))
    assert {output.dtype, *(state.dtype for state in flat_state(last))} == {agrad.float32}
    output.sum().backward()
    assert {p.grad.dtype for p in layer.parameters()} == {agrad.float32}


@pytest.mark.parametrize("name", LAYERS)
def test_float32_is_near_float64(name):
    exact, single = getattr(nn, name)(3, 4), getattr(nn, name)(3, 4, dtype=agrad.float32)
    single.load_state_dict({key: value.to(agrad.float32) for key, value in exact.state_dict().items()})
    x = numbers(50, 2, 3)
    assert_same(single(agrad.tensor(x, dtype=agrad.float32))[0], exact(agrad.tensor(x))[0], tolerance=1e-5)


# ------------------------------------------------------------------------------------------------------------ bad input


def ready(name, **options):
    return getattr(nn, name)(3, 4, **options)


REFUSED = [
    (lambda: ready("LSTM")(agrad.ones((5, 2, 7))), ValueError,
     r"LSTM: expected input of shape \(L, N, 3\) or \(L, 3\), got shape \(5, 2, 7\)"),
    (lambda: ready("GRU", batch_first=True)(agrad.ones(3)), ValueError,
     r"GRU: expected input of shape \(N, L, 3\) or \(L, 3\), got shape \(3,\)"),
    (lambda: ready("RNN")(agrad.ones((0, 2, 3))), ValueError,
     r"RNN: expected at least one step, got input of shape \(0, 2, 3\)"),
    (lambda: ready("GRU")(agrad.ones((5, 2, 3)), agrad.ones((2, 2, 4))), ValueError,
     r"GRU: expected an initial h of shape \(1, 2, 4\) for input of shape \(5, 2, 3\), got \(2, 2, 4\)"),
    (lambda: ready("LSTM", proj_size=2)(agrad.ones((5, 3)), (agrad.ones((1, 2)), agrad.ones((1, 2)))), ValueError,
     r"LSTM: expected an initial c of shape \(1, 4\) for input of shape \(5, 3\), got \(1, 2\)"),
    (lambda: ready("LSTM")(agrad.ones((5, 3)), agrad.ones((1, 4))), TypeError,
     r"LSTM: expected a pair of Tensors \(h, c\) as initial state, got Tensor"),
    (lambda: ready("GRU")(agrad.ones((5, 3)), (agrad.ones((1, 4)),)), TypeError,
     "GRU: expected a Tensor as initial state, got tuple"),
    (lambda: ready("RNN")(agrad.ones((5, 3), dtype=agrad.float32)), ValueError,
     "RNN: input has dtype agrad.float32 and the weights agrad.float64"),
    (lambda: ready("LSTMCell")(agrad.ones((2, 5))), ValueError,
     r"LSTMCell: expected input of shape \(N, 3\) or \(3,\), got shape \(2, 5\)"),
    (lambda: ready("GRUCell")(agrad.ones((1, 2, 3))), ValueError, r"GRUCell: expected input .* got shape \(1, 2, 3\)"),
    (lambda: ready("RNNCell")(agrad.ones((2, 3)), agrad.ones(4)), ValueError,
     r"RNNCell: expected a state of shape \(2, 4\) for input of shape \(2, 3\), got \(4,\)"),
    (lambda: ready("LSTMCell")(agrad.ones((2, 3)), agrad.ones((2, 4))), TypeError,
     r"LSTMCell: expected a pair of Tensors \(h, c\) as initial state, got Tensor"),
    (lambda: ready("GRUCell")(agrad.ones((2, 3)), (agrad.ones((2, 4)),)), TypeError,
     "GRUCell: expected a Tensor as initial state, got tuple"),
    (lambda: ready("RNN", nonlinearity="sin"), ValueError, "Unknown nonlinearity 'sin'. Select from 'tanh' or 'relu'."),
    (lambda: ready("RNNCell", nonlinearity="sin"), ValueError, "Unknown nonlinearity 'sin'"),
    (lambda: nn.GRU(0, 4), ValueError, "input_size must be greater than zero"),
    (lambda: nn.GRU(3, 0), ValueError, "hidden_size must be greater than zero"),
    (lambda: nn.GRU(3.0, 4), TypeError, "input_size should be of type int, got: float"),
    (lambda: nn.GRU(3, 4, bias=1), TypeError, "bias should be of type bool, got: int"),
    (lambda: nn.GRU(3, 4, num_layers=0), ValueError, "num_layers must be greater than zero"),
    (lambda: nn.GRU(3, 4, num_layers=2, dropout=1.5), ValueError, r"dropout should be a number in range \[0, 1\]"),
    (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "proj_size has to be smaller than hidden_size"),
    (lambda: nn.LSTM(3, 4, proj_size=-1), ValueError, "proj_size should be a positive integer or zero"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED, ids=range(len(REFUSED)))
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_dropout_without_a_second_layer_warns():
    with pytest.warns(UserWarning, match="dropout=0.5 does nothing"):
        nn.LSTM(3, 4, dropout=0.5)


@pytest.mark.parametrize(
    ("gates", "columns", "hidden", "state"),
    [
        ("lstm_gates", 8, 8, 3), ("lstm_gates", 1, 8, 2), ("gru_gates", 8, 8, 2), ("gru_gates", 5, 5, 1),
        ("gru_gates", 6, 1, 2),
    ],
)
def test_gates_that_do_not_fit_their_state_are_refused(gates, columns, hidden, state, backend):
    from agrad.nn.functional.ops import nn as ops

    with pytest.raises(ValueError, match=rf"{gates}\(\) expected gates with \d columns for each of the state's"):
        getattr(ops, gates)(agrad.ones((2, columns)), agrad.ones((2, hidden)), agrad.ones((2, state)))


# --------------------------------------------------------------------------------------------------------- as functions


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
def test_functions_are_torchs(name):
    torch = pytest.importorskip("torch")
    rows = {"gru": 3, "lstm": 4}.get(name, 1) * 4
    params = [numbers(rows, 3), numbers(rows, 4), numbers(rows), numbers(rows)]
    x, h = numbers(5, 2, 3), numbers(1, 2, 4)
    results = []
    for make, whole, cell in (
        (agrad.tensor, getattr(F, name), getattr(F, f"{name}_cell")),
        (torch.tensor, getattr(torch, name), getattr(torch, f"{name}_cell")),
    ):
        weights = [make(p) for p in params]
        state, first = ((make(part), make(part)) if name == "lstm" else make(part) for part in (h, h[0]))
        found = whole(make(x), state, weights, True, 1, 0.0, False, False, False)
        results.append([*found, *flat_state(cell(make(x[0]), first, *weights))])
    for mine, theirs in zip(*results, strict=True):
        assert_same(mine, theirs)
