"""The ndonnx backend: what is traced with open lengths computes, in ONNX Runtime, what NumPy computes eagerly.

All programs of `traced_programs` are traced into one model per dtype, with their gradients; it is run at several
lengths, one of them 1, where a wrong idea of what was broadcast would show.
"""

from functools import cache

import numpy as np
import pytest

import agrad
from agrad import standard
from agrad.testing import check_rule

ndonnx = pytest.importorskip("ndonnx", reason="ndonnx is not installed: pip install 'agrad[ndonnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'agrad[ndonnx]'")

import traced_programs as programs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")   # of libraries, about our numbers

LENGTHS = ({"N": 1, "M": 2}, {"N": 2, "M": 1}, {"N": 5, "M": 3})
NEAR = {"float64": 1e-10, "float32": 2e-4}
CASES = [(op, i) for op, several in programs.PROGRAMS.items() for i in range(len(several))]
IDS = [f"{op}: {programs.PROGRAMS[op][i]}" for op, i in CASES]

# What cannot be traced, and why.
REFUSED = {
    "imag": "no complex numbers", "nextafter": "no operator on bits", "special.erf": "in single precision only",
    **dict.fromkeys((
        "linalg.cholesky", "linalg.det", "linalg.eig", "linalg.eigh", "linalg.eigvals", "linalg.eigvalsh", "linalg.inv",
        "linalg.lstsq", "linalg.matrix_rank", "linalg.pinv", "linalg.qr", "linalg.slogdet", "linalg.solve",
        "linalg.solve_triangular", "linalg.svd", "linalg.svdvals",
    ), "no decompositions"),
    **dict.fromkeys((
        "fft.fft", "fft.fftn", "fft.hfft", "fft.ifft", "fft.ifftn", "fft.ihfft", "fft.irfft", "fft.irfftn", "fft.rfft",
        "fft.rfftn",
    ), "no complex numbers"),
}
ELSEWHERE = dict.fromkeys(("from_dlpack", "transfer", "fft.fftfreq", "fft.rfftfreq"), "take no traced array")


def leaves(names, lengths, dtype="float64"):
    """The inputs as Tensors; floating ones are tracked."""
    found = {}
    for name in names:
        numbers = programs.draw(name, lengths)
        is_float = numbers.dtype.kind == "f"
        found[name] = agrad.tensor(numbers.astype(dtype) if is_float else numbers, requires_grad=is_float)
    return found


def results(op, i, inputs):
    """The value of a program and its gradients; of each op's first program the second order too."""
    program = programs.PROGRAMS[op][i]
    value = programs.run(program, inputs)
    found = {"value": value}
    tracked = [inputs[name] for name in programs.inputs_of(program) if inputs[name].requires_grad]
    if value.requires_grad:
        gradients = agrad.autograd.grad(total([value]), tracked, allow_unused=True, create_graph=i == 0)
        found |= {f"gradient {k}": g for k, g in enumerate(gradients) if g is not None}
        present = [g for g in gradients if g is not None and g.requires_grad]
        if present:
            second = agrad.autograd.grad(total(present), tracked, allow_unused=True)
            found |= {f"second {k}": g for k, g in enumerate(second) if g is not None}
    return {f"{op} {i} {what}": array for what, array in found.items()}


def total(arrays):
    """A number whose derivatives differ from element to element."""
    parts = [agrad.sum(x * x + x) for x in arrays]
    return sum(parts[1:], start=parts[0])


@cache
def traced(dtype):
    """A session with the model of all programs, and why those that could not be traced could not."""
    import tempfile
    from pathlib import Path

    refusals = {}

    def everything(**inputs):
        found = {}
        for op, i in CASES:
            try:
                found |= results(op, i, inputs)
            except Exception as error:
                refusals[op, i] = error
        return found

    open_axes = {
        name: {a: n for a, n in enumerate(shape) if isinstance(n, str)} for name, (shape, _) in programs.INPUTS.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "everything.onnx")
        examples = leaves(programs.INPUTS, {"N": 4, "M": 6}, dtype)
        agrad.export.onnx(everything, examples, path, dynamic_axes=open_axes)
        return onnxruntime.InferenceSession(path), refusals


@cache
def run(dtype, which):
    """What the model computes at some lengths, by name."""
    session, _ = traced(dtype)
    inputs = leaves(programs.INPUTS, LENGTHS[which], dtype)
    given = {x.name: inputs[x.name].detach().numpy() for x in session.get_inputs()}
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True)), inputs


def check_program(op, i, dtype):
    _, refusals = traced(dtype)
    if (op, i) in refusals:
        raise refusals[op, i]
    for which, lengths in enumerate(LENGTHS):
        found, inputs = run(dtype, which)
        for name, expected in results(op, i, inputs).items():
            expected = expected.detach().numpy()
            where = f"{name} at {lengths}"
            assert found[name].shape == expected.shape, where
            assert found[name].dtype == expected.dtype, where
            near = NEAR[dtype] * (1 + np.abs(expected).max(initial=0)) if expected.dtype.kind == "f" else 0
            np.testing.assert_allclose(found[name], expected, rtol=0, atol=near, err_msg=where)


@pytest.mark.parametrize(("op", "i"), CASES, ids=IDS)
def test_a_traced_program_computes_what_numpy_computes(op, i):
    check_program(op, i, "float64")


@pytest.mark.long
@pytest.mark.parametrize(("op", "i"), CASES, ids=IDS)
def test_a_traced_program_keeps_single_precision(op, i):
    check_program(op, i, "float32")


def test_the_shapes_that_a_model_states_are_those_that_it_has():
    session, _ = traced("float64")
    stated = 0
    for which, lengths in enumerate(LENGTHS):
        found, _ = run("float64", which)
        for output in session.get_outputs():
            shape = found[output.name].shape
            for length, actual in zip(output.shape, shape, strict=True):
                if isinstance(length, str):
                    length = eval(length, {"max": max, "min": min}, lengths)
                    stated += 1
                assert length in (None, actual), f"{output.name} at {lengths}: stated {output.shape}, found {shape}"
    assert stated > 500


def test_every_op_of_the_standard_is_traced_or_refused_by_name():
    chapters = [names for chapter, names in standard.CHAPTERS.items() if chapter != "data_type"]
    ops = {op for names in chapters for op in names} - {"broadcast_shapes"}     # what answers questions is no op
    covered = programs.PROGRAMS.keys() | REFUSED.keys() | ELSEWHERE.keys()
    assert ops <= covered, f"neither a program nor refused: {sorted(ops - covered)}"
    assert not programs.PROGRAMS.keys() & REFUSED.keys()


@pytest.mark.parametrize("op", sorted(REFUSED))
def test_what_is_refused_says_so(op):
    """With samples that NumPy takes, nothing comes back but the error that names function and backend."""
    report = check_rule(op, "ndonnx", case=0)
    assert report.cases == 0
    assert report.refused
    assert op in report.refused[0] or "ndonnx" in report.refused[0]


@pytest.mark.parametrize("function", [
    lambda x: agrad.autograd.grad(agrad.sum(agrad.cumulative_prod(x, axis=0)), x), lambda x: agrad.unstack(x),
    lambda x: agrad.autograd.grad(agrad.sum(agrad.diff(x, axis=0, n=2)), x), lambda x: x[5:3:-1],
    lambda x: x.__array_namespace__().squeeze(x, axis=0), lambda x: agrad.linspace(0.0, 1.0, x.shape[0]),
], ids=["cumulative_prod", "unstack", "diff", "slice", "squeeze", "linspace"])
def test_what_needs_a_known_length_is_refused_over_an_open_axis(function):
    x = traced_array(("N", 3), requires_grad=True)
    problem = "known only when the model runs|number only when the model runs|backwards with bounds"
    with agrad.use_backend("ndonnx"), pytest.raises((RuntimeError, TypeError), match=problem):
        function(x)
    known = traced_array((1, 3), requires_grad=True)
    with agrad.use_backend("ndonnx"):
        function(known)


# ------------------------------------------------------------------------------------------------------- user's arrays


def traced_array(shape, requires_grad=False, dtype=None):
    """A Tensor on an array of ndonnx that the user made."""
    array = ndonnx.argument(shape=shape, dtype=ndonnx.float64 if dtype is None else dtype)
    return agrad.asarray(array, requires_grad=requires_grad)


def build(inputs, outputs):
    model = ndonnx.build({name: x.array for name, x in inputs.items()}, {name: x.array for name, x in outputs.items()})
    return onnxruntime.InferenceSession(model.SerializeToString())


def test_an_array_of_the_user_becomes_a_tensor_and_comes_back():
    given = ndonnx.argument(shape=("N", None, 3), dtype=ndonnx.float32)
    x = agrad.asarray(given)
    assert (x.backend_.name, x.dtype, x.ndim, x.shape[2]) == ("ndonnx", agrad.float32, 3, 3)
    assert repr(x.shape[0]) == "N"
    assert x.shape[1] != agrad.asarray(given).shape[1]
    assert type(x.array) is ndonnx.Array
    assert x.array.unwrap_spox() is given.unwrap_spox()
    assert agrad.asarray(x.array).shape == x.shape
    y = agrad.matmul(x, agrad.asarray(np.ones((3, 4), np.float32)))
    assert y.array.shape[-1] == 4
    assert repr(agrad.asarray(y.array).shape[0]) == "N"


def test_a_gradient_on_arrays_of_the_user():
    x, w = traced_array(("N", 3), requires_grad=True), traced_array((3, 2), requires_grad=True)
    loss = agrad.mean((x @ w) ** 2)
    loss.backward()
    session = build({"x": x, "w": w}, {"dx": x.grad, "dw": w.grad})
    for n in (1, 4):
        x_values, w_values = np.random.default_rng(n).normal(size=(n, 3)), np.random.default_rng(9).normal(size=(3, 2))
        own_x, own_w = agrad.tensor(x_values, requires_grad=True), agrad.tensor(w_values, requires_grad=True)
        agrad.mean((own_x @ own_w) ** 2).backward()
        dx, dw = session.run(None, {"x": x_values, "w": w_values})
        np.testing.assert_allclose(dx, own_x.grad.numpy(), rtol=1e-12)
        np.testing.assert_allclose(dw, own_w.grad.numpy(), rtol=1e-12)


def test_an_open_length_without_a_name_meets_itself_only():
    x, y = traced_array((None,)), traced_array((None,))
    assert (x * x + 1).shape == x.shape
    assert (x * agrad.asarray(np.ones(1))).shape == x.shape
    with pytest.raises(RuntimeError, match=r"multiply\(\) on the backend ndonnx: cannot decide whether the lengths"):
        x * y


def test_arrays_of_numpy_and_ndonnx_and_tensors_of_numpy_are_operands():
    x = traced_array(("N", 3), requires_grad=True)
    row = ndonnx.argument(shape=(3,), dtype=ndonnx.float64)
    weights = agrad.tensor(np.arange(3.0), requires_grad=True)
    mixed = x * np.ones(3), np.ones(3) * x, x + row, x - np.float64(2.0), x * weights, weights * x, x @ weights
    for y in mixed:
        assert y.backend_.name == "ndonnx"
        assert repr(y.shape[0]) == "N"
        assert y.requires_grad
    (gradient,) = agrad.autograd.grad(agrad.sum(x * weights), x)
    assert gradient.shape == x.shape
    with pytest.raises(RuntimeError, match="make that an input of the function"):
        agrad.autograd.grad(agrad.sum(x * weights), weights)


def test_lengths_take_part_in_arithmetic():
    x = traced_array(("N", 3), dtype=ndonnx.float32)
    n = x.shape[0]
    total = agrad.sum(x)
    results = {"a": total / n, "b": n * x, "c": x + 1 / n, "d": x - (n + 1) ** 2 // 2, "e": total * (0.5 * n)}
    assert all(y.dtype == agrad.float32 for y in results.values())
    session = build({"x": x}, results)
    values = np.ones((4, 3), np.float32)
    found = session.run(None, {"x": values})
    for array, expected in zip(found, (3.0, 4.0, 1.25, -11.0, 24.0), strict=True):
        np.testing.assert_allclose(array, np.broadcast_to(expected, array.shape))


def test_what_is_computed_from_constants_alone_has_values():
    with agrad.use_backend("ndonnx"):
        x = agrad.tensor([1.0, -2.0, 3.0], requires_grad=True)
        y = agrad.sum(x[x > 0] ** 2)
        y.backward()
        assert (y.item(), x.grad.tolist()) == (10.0, [2.0, 0.0, 6.0])
        assert repr(x) == "tensor([ 1., -2.,  3.], requires_grad=True)"


@pytest.mark.parametrize("use", [
    lambda x: x.numpy(), lambda x: x.item(), lambda x: x.tolist(), lambda x: bool(x[0] > 0), lambda x: float(x[0]),
    lambda x: x.to(backend="numpy"), lambda x: np.asarray(x),
])
def test_values_that_are_not_known_are_not_given(use):
    with pytest.raises(RuntimeError, match="known only when the model runs"):
        use(traced_array((1,)))


def test_a_traced_tensor_prints_without_values():
    assert repr(traced_array(("N", 3), requires_grad=True)) == (
        "tensor(<traced>, shape=(N, 3), dtype=agrad.float64, requires_grad=True)"
    )


def test_writes_reach_views_and_leave_other_arrays_alone():
    with agrad.use_backend("ndonnx"):
        x = agrad.zeros(3)
        view, copy = x[1:], x * 1
        view += 2.0
        x[0] = 7.0
        assert (x.tolist(), view.tolist(), copy.tolist()) == ([7.0, 2.0, 2.0], [2.0, 2.0], [0.0, 0.0, 0.0])


def test_the_namespace_says_what_lazy_arrays_cannot():
    info = agrad.namespaces.ndonnx.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] is False
    assert info.capabilities()["data-dependent shapes"] is False
    assert "complex128" not in info.dtypes()
    assert info.devices() == ("cpu",)
    with pytest.raises(TypeError, match=r"ndonnx has no agrad\.complex128"):
        agrad.namespaces.ndonnx.ones(2, dtype=agrad.complex128)
    with pytest.raises(ValueError, match="no device 'cuda'"):
        agrad.namespaces.ndonnx.ones(2, device="cuda")


# ------------------------------------------------------------------------------------------------------------- accuracy

FULL_RANGE = np.concatenate([[0.0, -0.0, np.inf, -np.inf, np.nan], *(s * np.logspace(-300, 300, 61) for s in (1, -1)),
                             np.linspace(-30, 30, 121)])
UNIT = np.concatenate([[0.0, -0.0, 1.0, -1.0, np.nan], np.linspace(-1, 1, 201)])
ACCURACY = {
    **dict.fromkeys(("atan", "asinh", "sinh", "cosh", "tanh", "expm1", "signbit", "sign", "exp"), FULL_RANGE),
    **dict.fromkeys(("sin", "cos", "tan"), np.linspace(-100, 100, 2001)),
    **dict.fromkeys(("acos", "asin", "atanh"), UNIT),
    "acosh": np.concatenate([[1.0, np.inf], 1 + np.logspace(-15, 15, 61)]),
    "log1p": np.concatenate([[-1.0, 0.0, np.inf], -1 + np.logspace(-15, 15, 61), np.logspace(-300, -1, 61)]),
}
ZERO = {"cos": 4e-15, "sin": 1e-15, "acos": 1e-15}     # what counts as zero: these have zeros at numbers that are none
PAIRS = [0.0, -0.0, 1.0, -1.0, 3.0, -1e-200, 1e-200, 1e200, -1e200, np.inf, -np.inf]


@pytest.mark.parametrize("name", sorted(ACCURACY))
def test_functions_have_double_precision(name):
    """ONNX Runtime has some of them in single precision only. Tangents lose some digits near their poles."""
    numbers = ACCURACY[name]
    with agrad.use_backend("ndonnx"), np.errstate(all="ignore"):
        found = getattr(agrad, name)(agrad.asarray(numbers)).numpy()
        expected = getattr(agrad, name)(agrad.from_numpy(numbers)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-11 if name == "tan" else 4e-15, atol=ZERO.get(name, 0))


@pytest.mark.parametrize("name", ["atan2", "hypot", "logaddexp", "copysign"])
def test_functions_of_two_numbers_have_double_precision(name):
    a, b = (x.ravel() for x in np.meshgrid(PAIRS, PAIRS))
    if name == "atan2":     # two infinities are nan here
        both = np.isinf(a) & np.isinf(b)
        a, b = a[~both], b[~both]
    with agrad.use_backend("ndonnx"), np.errstate(all="ignore"):
        found = getattr(agrad, name)(agrad.asarray(a), agrad.asarray(b)).numpy()
        expected = getattr(agrad, name)(agrad.from_numpy(a), agrad.from_numpy(b)).numpy()
    np.testing.assert_allclose(found, expected, rtol=4e-15)
    np.testing.assert_array_equal(np.signbit(found[expected != 0]), np.signbit(expected[expected != 0]))


def test_the_error_function_in_single_precision():
    numbers = np.linspace(-3, 3, 41, dtype="float32")
    with agrad.use_backend("ndonnx"):
        found = agrad.special.erf(agrad.asarray(numbers)).numpy()
    np.testing.assert_allclose(found, agrad.special.erf(agrad.from_numpy(numbers)).numpy(), rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------------------------------------ generic checker


WITHOUT_SAMPLES = {
    "arange", "asarray", "empty", "eye", "floor_divide", "full", "linspace", "ones", "read_view", "scatter",
    "write_view", "zeros",
}
PARTLY_REFUSED = "no agrad.complex128", "ONNX has no singular values", "ONNX has no inverse"


@pytest.mark.parametrize("op", ["matmul", "getitem", "std", "where", "concat", "take_along_axis", "linalg.vector_norm"])
def test_rules_are_right_on_constants(op):
    """Values of constants are known, so the generic checker runs here too; all ops take minutes."""
    assert check_rule(op, "ndonnx", case=1).checks > 5


@pytest.mark.long
@pytest.mark.parametrize("op", sorted(programs.PROGRAMS.keys() - WITHOUT_SAMPLES))
def test_every_rule_is_right_on_constants(op):
    report = check_rule(op, "ndonnx", "float64")
    assert report.cases or report.refused
    assert all(any(why in reason for why in PARTLY_REFUSED) for reason in report.refused)
