"""Exported models compute what agrad computes, gradients included, at every length; bad calls say what is wrong."""

import subprocess
import sys
import warnings
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from source_tree import SOURCE, needs_source

import agrad

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'agrad[ndonnx]'")
pytest.importorskip("ndonnx", reason="ndonnx is not installed: pip install 'agrad[ndonnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'agrad[ndonnx]'")

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")     # of the libraries

SIZES = (1, 2, 7)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def tracked(inputs):
    """Tensors of NumPy arrays; floating ones require grad."""
    return {name: agrad.tensor(array, requires_grad=array.dtype.kind == "f") for name, array in inputs.items()}


def evaluate(path, inputs):
    """The outputs of a model by name."""
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def assert_model_is_right(function, make, open_axes, path, near=1e-10):
    """The model of a function that returns a dict agrees with the function at all sizes."""
    agrad.export.onnx(function, tracked(make(4)), path, dynamic_axes=open_axes)
    for size in SIZES:
        inputs = make(size)
        found, expected = evaluate(path, inputs), function(**tracked(inputs))
        assert list(found) == list(expected)
        for name, array in expected.items():
            wanted = array.detach().numpy()
            assert (found[name].shape, found[name].dtype) == (wanted.shape, wanted.dtype), name
            np.testing.assert_allclose(found[name], wanted, rtol=near, atol=near, err_msg=f"{name} at size {size}")


# -------------------------------------------------------------------------------------------------------------- models


def network(x, labels, w1, b1, w2, b2):
    """A network with one hidden layer, the cross entropy of its answers, and all gradients."""
    hidden = agrad.relu(agrad.tanh(x @ w1 + b1) + 0.1)
    picked = agrad.take_along_axis(agrad.log_softmax(hidden @ w2 + b2), agrad.expand_dims(labels, axis=-1))
    loss = -agrad.mean(picked)
    gradients = agrad.autograd.grad(loss, (x, w1, b1, w2, b2))
    return {"loss": loss, **dict(zip(("dx", "dw1", "db1", "dw2", "db2"), gradients, strict=True))}


def batch(size, dtype="float64"):
    floats = {"x": numbers(size, 4), "w1": numbers(4, 8), "b1": numbers(8), "w2": numbers(8, 3), "b2": numbers(3)}
    labels = np.random.default_rng(size).integers(0, 3, size)
    order = ("x", "labels", "w1", "b1", "w2", "b2")
    found = {name: array.astype(dtype) for name, array in floats.items()} | {"labels": labels}
    return {name: found[name] for name in order}


BATCH = {"x": {0: "batch"}, "labels": {0: "batch"}}


def test_a_network_with_its_gradients(path):
    assert_model_is_right(network, batch, BATCH, path)


def test_a_network_in_single_precision(path):
    assert_model_is_right(network, lambda size: batch(size, "float32"), BATCH, path, near=1e-5)


def test_two_runtimes_agree_on_a_model(path):
    """ONNX's own evaluator shares no code with ONNX Runtime and rewrites nothing."""
    from onnx.reference import ReferenceEvaluator

    model = agrad.export.onnx(network, tracked(batch(4)), path, dynamic_axes=BATCH)
    for size in SIZES:
        found = ReferenceEvaluator(model).run(None, batch(size))
        for one, other in zip(found, evaluate(path, batch(size)).values(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def normalised(x, gain, shift):
    """Layer norm, softmax, and the gradients of what they make together."""
    centred = x - agrad.mean(x, axis=-1, keepdims=True)
    layer = centred / agrad.sqrt(agrad.var(x, axis=-1, keepdims=True) + 1e-5) * gain + shift
    weights = agrad.softmax(layer, axis=-1)
    loss = agrad.sum(weights * layer) + agrad.mean(agrad.std(x, axis=-1, correction=1))
    gradients = agrad.autograd.grad(loss, (x, gain, shift))
    return {"weights": weights, **dict(zip(("dx", "dgain", "dshift"), gradients, strict=True))}


def test_layer_norm_and_softmax_with_their_gradients(path):
    def make(size):
        return {"x": numbers(size, 5, 6), "gain": numbers(6), "shift": numbers(6)}

    assert_model_is_right(normalised, make, {"x": {0: "batch", 1: "words"}}, path)


def statistics(x):
    """Over open axes: at one row there is no degree of freedom."""
    loss = agrad.sum(agrad.var(x, axis=0, correction=1))
    (gradient,) = agrad.autograd.grad(loss, x)
    return {"var": agrad.var(x, axis=0, correction=1), "gradient": gradient, "rows": agrad.mean(x, axis=0)}


def test_the_variance_over_an_open_axis(path):
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)     # NumPy, about one row
        assert_model_is_right(statistics, lambda size: {"x": numbers(size, 3)}, {"x": {0: "rows"}}, path)


def by_backward(x):
    """PyTorch's way: hooks, and gradients in `.grad`."""
    x = x * 1
    x.retain_grad()
    x.register_hook(lambda g: 2 * g)
    agrad.sum(x**3).backward()
    return {"gradient": x.grad}


def test_a_gradient_that_backward_stored(path):
    assert_model_is_right(by_backward, lambda size: {"x": numbers(size)}, {"x": {0: "n"}}, path)


def curvature(x):
    """A Hessian times a vector: the gradient of a gradient."""
    (slope,) = agrad.autograd.grad(agrad.sum(agrad.sin(x) * x**2), x, create_graph=True)
    (along,) = agrad.autograd.grad(agrad.sum(slope * agrad.arange(3.0)), x)
    return {"slope": slope, "along": along}


def test_a_gradient_of_a_gradient(path):
    assert_model_is_right(curvature, lambda size: {"x": numbers(size, 3)}, {"x": {0: "n"}}, path)


@needs_source
def test_the_example_of_a_molecule(path):
    done = subprocess.run(
        [sys.executable, SOURCE / "examples" / "onnx_forces.py", path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "gives energy [], forces ['atoms', 3]" in done.stdout
    assert "the total energy drifted by" in done.stdout


# --------------------------------------------------------------------------------------------------- constants of fn


def test_weights_from_outside_become_constants_that_are_stored_once(path):
    weights, shift = agrad.tensor(numbers(3, 40), requires_grad=True), numbers(40)

    def function(x):
        return agrad.tanh(x @ weights + shift) @ agrad.matrix_transpose(weights) + (x @ weights) @ weights.mT

    model = agrad.export.onnx(function, (numbers(2, 3),), path, dynamic_axes={"x": {0: "n"}})
    assert [value.name for value in model.graph.input] == ["x"]
    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 500]
    assert sorted(list(tensor.dims) for tensor in large) == [[3, 40], [40, 3]]
    assert "Constant" not in {node.op_type for node in model.graph.node}
    for size in SIZES:
        x = numbers(size, 3)
        np.testing.assert_allclose(evaluate(path, {"x": x})["out"], function(agrad.tensor(x)).detach().numpy())


def test_the_gradient_of_a_weight_from_outside_is_refused(path):
    weights = agrad.tensor(numbers(3, 2), requires_grad=True)

    def function(x):
        loss = agrad.sum((x @ weights) ** 2)
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="make that an input of the function"):
        agrad.export.onnx(function, (numbers(2, 3),), path)
    assert weights.grad is None


def test_what_a_function_creates_is_part_of_the_model(path):
    def function(x):
        n = x.shape[0]
        ramp = agrad.arange(n, dtype=agrad.float64) / n
        return agrad.eye(n) * agrad.expand_dims(ramp, axis=-1) + agrad.ones((n, n)) * agrad.sum(x)

    agrad.export.onnx(function, (numbers(4),), path, dynamic_axes={"x": {0: "n"}})
    for size in SIZES:
        x = numbers(size)
        np.testing.assert_allclose(evaluate(path, {"x": x})["out"], function(agrad.tensor(x)).numpy(), atol=1e-14)


# ---------------------------------------------------------------------------------------------------- lengths and names


def test_the_model_stops_where_lengths_of_one_name_differ(path):
    """A length of 1 would be broadcast otherwise, and the gradient would have the wrong shape."""
    def function(x, y):
        return agrad.sum(x * y, axis=-1)

    agrad.export.onnx(function, (numbers(4, 3), numbers(4, 3)), path, dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    session = onnxruntime.InferenceSession(path)
    assert session.run(None, {"x": numbers(5, 3), "y": numbers(5, 3)})[0].shape == (5,)
    for one, other in ((5, 1), (1, 5), (4, 5)):
        with pytest.raises(Exception, match="axes of y are as long as those with the same name"):
            session.run(None, {"x": numbers(one, 3), "y": numbers(other, 3)})


def test_two_open_axes_of_one_name_in_one_input(path):
    agrad.export.onnx(lambda x: x + x.mT, (numbers(4, 4),), path, dynamic_axes={"x": {0: "n", 1: "n"}})
    x = numbers(3, 3)
    np.testing.assert_allclose(evaluate(path, {"x": x})["out"], x + x.T)
    with pytest.raises(Exception, match="axes of x are as long as"):
        evaluate(path, {"x": numbers(2, 8)})


def test_outputs_state_their_shapes_in_the_names_of_the_inputs(path):
    def function(x, y):
        return agrad.concat([x, y]), agrad.expand_dims(x, 0) * agrad.expand_dims(y, 1), x[1:], agrad.sum(x), x[x > 0]

    agrad.export.onnx(function, (numbers(2), numbers(3)), path, dynamic_axes={"x": {0: "n"}, "y": {-1: "m"}})
    shapes = [output.shape for output in onnxruntime.InferenceSession(path).get_outputs()]
    assert shapes == [["m+n"], ["m", "n"], ["n-1"], [], [None]]


Pair = namedtuple("Pair", "total half")


@pytest.mark.parametrize(("function", "names"), [
    (lambda x: x * 2, ["out"]), (lambda x: (x * 2, x + 1), ["output_0", "output_1"]), (lambda x: [x], ["output_0"]),
    (lambda x: Pair(agrad.sum(x), x / 2), ["total", "half"]), (lambda x: {"one": x, "two": x}, ["one", "two"]),
], ids=["tensor", "tuple", "list", "named tuple", "dict"])
def test_outputs_are_named_after_what_is_returned(path, function, names):
    x = numbers(3)
    model = agrad.export.onnx(function, (x,), path)
    assert [output.name for output in model.graph.output] == names
    assert list(evaluate(path, {"x": x})) == names


def test_inputs_are_named_after_the_parameters(path):
    def names(function, given):
        return [value.name for value in agrad.export.onnx(function, given, path).graph.input]

    a, b = numbers(3), numbers(3)
    assert names(lambda first, second=None: first * 2, (a,)) == ["first"]
    assert names(lambda first: first * 2, a) == ["first"]
    assert names(lambda *values: sum(values), (a, b)) == ["values_0", "values_1"]
    assert names(lambda first, second: first * second, {"second": a, "first": b}) == ["second", "first"]
    assert names(lambda **values: values["u"] + 1, {"u": a, "unused": b}) == ["u", "unused"]
    assert names(agrad.sin, (a,)) == ["x"]


def test_an_input_requires_grad_where_its_example_does(path):
    def function(x, y):
        assert (x.requires_grad, y.requires_grad) == (True, False)
        assert x.shape == (3,)
        return x * y

    agrad.export.onnx(function, (agrad.ones(3, requires_grad=True), agrad.ones(3)), path)
    agrad.export.onnx(lambda x: agrad.autograd.grad(x.requires_grad_().sum(), x)[0], (numbers(3),), path)


def test_a_file_is_the_same_every_time(path, tmp_path):
    again = tmp_path / "again.onnx"
    model = agrad.export.onnx(network, tracked(batch(4)), path, dynamic_axes=BATCH)
    agrad.export.onnx(network, tracked(batch(4)), str(again), dynamic_axes=BATCH)
    assert path.read_bytes() == again.read_bytes()
    assert onnx.load(path) == model
    assert model.producer_name == "agrad"
    assert model.graph.name == "network"
    assert {entry.domain: entry.version <= 21 for entry in model.opset_import} == {"": True}


def test_exporting_leaves_the_defaults_alone(path):
    x = agrad.ones(3, requires_grad=True)
    agrad.export.onnx(lambda x: x * agrad.ones(3), (x,), path)
    assert agrad.get_default_backend() == "numpy"
    assert x.grad is None
    assert x.grad_fn is None
    assert agrad.ones(2).backend_.name == "numpy"


# --------------------------------------------------------------------------------------------------------------- errors

BAD_CALLS = [
    # function, examples, open axes, error, what it says
    (lambda x: x, (), None, ValueError, "missing a required argument: 'x'"),
    (lambda: agrad.ones(2), (), None, ValueError, "a model needs inputs"),
    (lambda x: x, (numbers(2), numbers(2)), None, ValueError, "too many positional arguments"),
    (lambda x: x, {"y": numbers(2)}, None, ValueError, "'x'"),
    (lambda x: x, (object(),), None, TypeError, "example for 'x' must be an array or a Tensor, not object"),
    (lambda x: x, (np.ones(2) * 1j,), None, TypeError, "no agrad.complex128"),
    (lambda x: x * 2, (numbers(2),), {"y": {0: "n"}}, ValueError, "dynamic_axes names 'y', but the inputs are 'x'"),
    (lambda x: x * 2, (numbers(2),), {"x": {1: "n"}}, ValueError, "axis 1 of 'x', which has 1 axes"),
    (lambda x: x * 2, (numbers(2),), {"x": {0: "2n"}}, ValueError, "must be an identifier such as 'N', not '2n'"),
    (lambda x, y: x, (numbers(2), numbers(3)), {"x": {0: "n"}, "y": {0: "n"}}, ValueError, "'n' is 2 .* for 'x' and 3"),
    (lambda x: {"x": x * 2}, (numbers(2),), None, ValueError, "'x' is the name of an input and of an output"),
    (lambda x: (), (numbers(2),), None, ValueError, "returned no arrays"),
    (lambda x: None, (numbers(2),), None, TypeError, "output 'out' must be a Tensor .* not None"),
    (lambda x: (x, 2.0), (numbers(2),), None, TypeError, "output 'output_1' must be a Tensor .* not float"),
    (lambda x: agrad.from_numpy(np.ones(2)), (numbers(2),), None, TypeError, "of numpy, which no input reaches"),
    (lambda x: x.item(), (numbers(1),), None, RuntimeError, "known only when the model runs"),
    (lambda x: x if x[0] > 0 else -x, (numbers(2),), None, RuntimeError, "known only when the model runs"),
    (lambda x: list(x), (numbers(2),), {"x": {0: "n"}}, TypeError, "the length n is a number only when"),
    (lambda x: x if x.shape[0] > 2 else -x, (numbers(2),), {"x": {0: "n"}}, RuntimeError, "length n compares with 2"),
    (lambda x, y: x + y, (numbers(2), numbers(2)), {"x": {0: "n"}, "y": {0: "m"}}, RuntimeError,
     r"add\(\) on the backend ndonnx: cannot decide whether the lengths n and m are equal"),
    (lambda x: x + agrad.ones(2), (numbers(2),), {"x": {0: "n"}}, RuntimeError, "the lengths n and 2 are equal"),
    (lambda x: agrad.linalg.inv(x), (numbers(2, 2),), None, NotImplementedError, "linalg.inv has no kernel .* ndonnx"),
    (lambda x: agrad.nextafter(x, 1.0), (numbers(2),), None, NotImplementedError, "nextafter cannot be traced"),
]


@pytest.mark.parametrize(("function", "examples", "axes", "error", "says"), BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_a_bad_call_says_what_is_wrong(path, function, examples, axes, error, says):
    with pytest.raises(error, match=says):
        agrad.export.onnx(function, examples, path, dynamic_axes=axes)
    assert not path.exists()
    assert agrad.get_default_backend() == "numpy"


def test_without_ndonnx_the_way_to_install_it_is_named():
    program = (
        "import sys; sys.modules |= dict.fromkeys(('ndonnx', 'torch', 'jax', 'dask', 'cupy')); import agrad\n"
        "try: agrad.export.onnx(lambda x: x, (agrad.ones(2),), 'none.onnx')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert "pip install 'agrad[ndonnx]'" in done.stdout, done.stderr
