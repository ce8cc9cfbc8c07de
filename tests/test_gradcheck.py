"""`gradcheck` and `gradgradcheck`: they pass what is right, on every backend, and catch what is wrong; torch agrees."""

import itertools
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from array_libraries import is_installed

import agrad
from agrad import rules
from agrad.autograd import gradcheck, gradgradcheck
from agrad.autograd.gradcheck import GradcheckError
from agrad.cython_core.engine import level_of

needs_torch = pytest.mark.skipif(not is_installed("torch"), reason="compares with torch, which is not installed")
MODES = pytest.mark.parametrize("fast", [False, True], ids=["slow", "fast"])


@pytest.fixture(autouse=True)
def _doubles(doubles):
    """Python floats are float64 here."""


def leaf(data, m=agrad, requires_grad=True):
    dtype = m.complex128 if np.iscomplexobj(np.array(data)) else m.float64
    return m.tensor(data, dtype=dtype, requires_grad=requires_grad)


def with_hook(y, hook):
    """A result whose gradient a hook changes: a wrong derivative."""
    y.register_hook(hook)
    return y


# name -> (function of a library and inputs, data); right in first and second order
X, MATRIX, Z = [1.0, 2.0], [[2.0, 1.0], [0.5, 3.0]], [1.0 + 2j, 2.0 - 1j]
RIGHT = {
    "elementwise": (lambda m, x: m.sin(x) * x, (X,)),
    "0-d": (lambda m, x: x**3, (1.5,)),
    "no elements": (lambda m, x: x * 2, ([],)),
    "linear": (lambda m, x: x * 3, (X,)),
    "matrix": (lambda m, x: m.linalg.inv(x), (MATRIX,)),
    "two inputs": (lambda m, x, y: x @ y, (MATRIX, X)),
    "several outputs": (lambda m, x, y: (x * y, m.exp(x).sum(), y), (X, [3.0, 4.0])),
    "an input that is not used": (lambda m, x, y: x**2, (X, X)),
    "some outputs tracked": (lambda m, x: (x**2, x > 1, x.argmax()), (X,)),
    "a list of outputs": (lambda m, x: [x**2, x**3], (X,)),
    "complex": (lambda m, x: x * x * (1 + 2j), (Z,)),
    "complex, not holomorphic": (lambda m, x: x.conj() * x.real, (Z,)),
    "complex to real": (lambda m, x: m.abs(x), (Z,)),
    "real to complex": (lambda m, x: x * x * (1 + 2j), (X,)),
    "real and complex": (lambda m, x, y: (x * y, y.real * x), (X, Z)),
}


def arguments(name, m=agrad):
    f, data = RIGHT[name]
    return (lambda *xs: f(m, *xs)), tuple(leaf(one, m) for one in data)


@MODES
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name, fast):
    f, inputs = arguments(name)
    assert gradcheck(
        f, inputs, fast_mode=fast, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True,
        check_grad_dtypes=True,
    )
    assert gradgradcheck(
        f, inputs, fast_mode=fast, check_fwd_over_rev=True, check_batched_grad=True, check_grad_dtypes=True,
    )
    assert gradgradcheck(f, inputs, fast_mode=fast, gen_non_contig_grad_outputs=True)


@MODES
@pytest.mark.parametrize("name", ["elementwise", "two inputs", "several outputs", "complex", "real and complex"])
def test_every_backend_is_checked(backend, name, fast):
    f, inputs = arguments(name)
    assert gradcheck(f, inputs, fast_mode=fast)
    assert gradgradcheck(f, inputs, fast_mode=fast)
    assert all(t.backend_.name == backend for t in inputs)


@pytest.mark.parametrize("name", ["jax", "dask", "sparse"])
def test_arrays_that_cannot_be_written_are_checked(name):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    with agrad.use_backend(name):
        x = agrad.tensor([1.0, 2.0], dtype=agrad.float64, requires_grad=True)
        assert gradcheck(lambda x: agrad.sin(x) * x, x)
        assert gradgradcheck(lambda x: agrad.sin(x) * x, x, fast_mode=True)
        with pytest.raises(GradcheckError, match="Jacobian mismatch"):
            gradcheck(lambda x: with_hook(x * x, lambda g: 2 * g), x)


# -------------------------------------------------------------------------------------------------------- what is wrong

# name -> (function, data): a wrong first derivative
WRONG = {
    "scaled": (lambda m, x: with_hook(x * x, lambda g: 2 * g), (X,)),
    "one element of many": (lambda m, x: with_hook(x * x, lambda g: g * m.tensor([1.0, 1.01], dtype=m.float64)), (X,)),
    "transposed": (lambda m, x: with_hook(x * 1, lambda g: g.T), (MATRIX,)),
    "cut": (lambda m, x: x * x.detach(), (X,)),
    "with respect to the second input": (lambda m, x, y: x * y.detach() + 0 * y, (X, X)),
    "of the second output": (lambda m, x: (x**2, with_hook(x**3, lambda g: -g)), (X,)),
    "of the real part": (lambda m, x: with_hook(x * x, lambda g: g.real + 0j), (Z,)),
    "not conjugated": (lambda m, x: with_hook(x * (1 + 2j), lambda g: g.conj()), (Z,)),
    "for a real function of complex numbers": (lambda m, x: m.abs(with_hook(x * 1, lambda g: g.conj())), (Z,)),
}


@MODES
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_found(name, fast):
    f, data = WRONG[name]
    inputs = tuple(leaf(one) for one in data)
    with pytest.raises(GradcheckError, match=r"Jacobian mismatch for output \d with respect to input \d") as caught:
        gradcheck(lambda *xs: f(agrad, *xs), inputs, fast_mode=fast)
    assert "numerical:" in str(caught.value)
    assert "analytical:" in str(caught.value)
    assert gradcheck(lambda *xs: f(agrad, *xs), inputs, fast_mode=fast, raise_exception=False) is False


@needs_torch
@pytest.mark.parametrize("name", WRONG)
def test_messages_are_torchs(name):
    import torch

    f, data = WRONG[name]
    messages = []
    for m in (torch, agrad):
        m.set_default_dtype(m.float64)      # which is not printed then
        try:
            with pytest.raises(RuntimeError) as caught:
                m.autograd.gradcheck(lambda *xs, m=m: f(m, *xs), tuple(leaf(one, m) for one in data))
        finally:
            m.set_default_dtype(m.float32 if m is torch else None)
        messages.append(str(caught.value))
    assert messages[1] == messages[0]


def test_fast_mode_shows_the_whole_jacobians():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(lambda x: with_hook(x * x, lambda g: 2 * g), leaf(X), fast_mode=True)
    product, _, whole = str(caught.value).partition("(fast mode)")
    assert product.startswith("Jacobian mismatch for output 0 with respect to input 0,\nnumerical:")
    assert "Numerical:\n tensor([[2.0000, 0.0000],\n        [0.0000, 4.0000]])" in whole
    assert "Analytical:\ntensor([[4., 0.],\n        [0., 8.]])" in whole
    assert re.search(r"The max per-element difference \(slow mode\) is: (3\.99999|4\.0)", whole)


@MODES
def test_a_wrong_second_derivative_is_found(fast):
    def f(x):       # right in first order: the factor is 1
        return with_hook(x**3, lambda g: g * (x / x.detach()))

    x = leaf(X)
    assert gradcheck(f, x, fast_mode=fast)
    with pytest.raises(GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradgradcheck(f, x, fast_mode=fast)


NEARLY = rules.RuleSet("nearly")
NEARLY.op("nearly.square(x: array, /)").kernel("*", lambda x: x * x)
NEARLY.elementwise("nearly.square", samples=[rules.case((3,))], x=lambda x: 2.01 * x)
NEARLY.op("nearly.cube(x: array, /)").kernel("*", lambda x: x * x * x)
NEARLY.general("nearly.cube", samples=[rules.case((3,))], vjp={"x": lambda g, x: 3 * g * x * by_value(x)})
NEARLY.install("nearly (tests 1.0)")


def by_value(x):
    """A number that is x, but its history is forgotten."""
    return x.detach() if isinstance(x, agrad.Tensor) else x


@MODES
def test_a_wrong_rule_is_found(fast):
    square = rules.find("nearly.square").function
    with pytest.raises(GradcheckError, match=r"^Jacobian mismatch for output 0 with respect to input 0,"):
        gradcheck(square, leaf(X), fast_mode=fast)
    cube = rules.find("nearly.cube").function
    assert gradcheck(cube, leaf(X), fast_mode=fast)
    with pytest.raises(GradcheckError, match=r"^Jacobian mismatch for output 0 with respect to input 0,"):
        gradgradcheck(cube, leaf(X), fast_mode=fast)


class Doubled(agrad.autograd.Function):
    """A square; `wrong` says which derivative is."""

    wrong = ""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @classmethod
    def backward(cls, ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x * (1.01 if cls.wrong == "backward" else 1)

    @classmethod
    def jvp(cls, ctx, t):
        (x,) = ctx.saved_tensors
        return t * 2 * x * (1.01 if cls.wrong == "jvp" else 1)


@MODES
@pytest.mark.parametrize(("wrong", "complaint"), [
    ("", ""), ("backward", "^Jacobian mismatch"), ("jvp", "^Jacobian computed with forward mode mismatch"),
])
def test_a_wrong_custom_derivative_is_found(fast, wrong, complaint):
    class Square(Doubled):
        pass

    Square.wrong = wrong
    if not wrong:
        assert gradcheck(Square.apply, leaf(X), check_forward_ad=True, fast_mode=fast)
        assert gradgradcheck(Square.apply, leaf(X), fast_mode=fast)
        return
    with pytest.raises(GradcheckError, match=complaint):
        gradcheck(Square.apply, leaf(X), check_forward_ad=True, fast_mode=fast)


class Careless(agrad.autograd.Function):
    """Doubles, and thinks that there always is a cotangent."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class Stubborn(Careless):
    """Has a gradient where there is no cotangent."""

    @staticmethod
    def backward(ctx, g):
        return agrad.ones(2) if g is None else g * 2


class Pair(Careless):
    """Two outputs; the first has a gradient where the second has no cotangent."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, g, h):
        if h is None and g is not None:
            return g * 2 + (1 if not agrad.any(g) else 0)
        return None if h is None else h * 3 if g is None else g * 2 + h * 3


@MODES
def test_cotangents_that_are_not_there_must_count_as_zeros(fast):
    with pytest.raises(GradcheckError, match=r"^Expected backward function to handle undefined output grads"):
        gradcheck(Careless.apply, leaf(X), fast_mode=fast)
    for function in (Stubborn, Pair):
        with pytest.raises(GradcheckError, match=r"^Expected all input grads to be undefined or zero when all output"):
            gradcheck(function.apply, leaf(X), fast_mode=fast)
    for function in (Careless, Stubborn, Pair):
        assert gradcheck(function.apply, leaf(X), fast_mode=fast, check_undefined_grad=False)


@MODES
def test_a_wrong_tangent_is_found(fast):
    def f(x):
        return x * (x.detach() if level_of(x) else x)

    x = leaf(X)
    assert gradcheck(f, x, fast_mode=fast)
    with pytest.raises(
        GradcheckError, match="Jacobian computed with forward mode mismatch for output 0 with respect to input 0,\n"
    ):
        gradcheck(f, x, check_forward_ad=True, fast_mode=fast)
    z = leaf(Z)
    with pytest.raises(GradcheckError, match=r"^While considering the imaginary part of complex inputs only, Jacobian"):
        gradcheck(f, z, check_forward_ad=True, check_backward_ad=False, fast_mode=fast)


@MODES
def test_a_function_that_cuts_the_graph_must_be_constant(fast):
    assert gradcheck(lambda x: agrad.ones(3), leaf(X), fast_mode=fast)
    assert gradcheck(lambda x: agrad.floor(x.detach() + 0.5), leaf(X), fast_mode=fast)
    with pytest.raises(GradcheckError, match=r"^Numerical gradient for function expected to be zero$"):
        gradcheck(lambda x: x.detach() ** 2, leaf(X), fast_mode=fast)
    with pytest.raises(GradcheckError, match=r"^Numerical gradient for function expected to be zero$"):
        gradcheck(lambda x: x.detach() ** 2, leaf(X), check_backward_ad=False, check_forward_ad=True, fast_mode=fast)


@MODES
def test_gradients_must_scale_with_their_cotangent(fast):
    def f(x):
        return with_hook(x * 1, lambda g: g + 0.1)

    with pytest.raises(GradcheckError, match=r"^backward not multiplied by grad_output$"):
        gradcheck(f, leaf(X), atol=1.0, fast_mode=fast)


def test_batches_are_compared_with_single_walks():
    def unlike_in_a_batch(x):
        return with_hook(x * 1, lambda g: 2 * g if level_of(g) else g)

    assert gradcheck(unlike_in_a_batch, leaf(X))
    with pytest.raises(GradcheckError, match="A batch of gradients of output 0 for input 0 differs"):
        gradcheck(unlike_in_a_batch, leaf(X), check_batched_grad=True)

    def reads_values(x):
        return with_hook(x * 1, lambda g: g * (g.sum().item() * 0 + 1))

    assert gradcheck(reads_values, leaf(X))
    with pytest.raises(GradcheckError, match=r"^While computing batched gradients, got: inside vmap"):
        gradcheck(reads_values, leaf(X), check_batched_grad=True)


@MODES
def test_walks_must_be_reproducible(fast):
    rng = np.random.default_rng(0)

    def f(x):
        return with_hook(x * x, lambda g: g * (1 + 1e-7 * rng.uniform()))

    with pytest.raises(GradcheckError, match=r"^Backward is not reentrant"):
        gradcheck(f, leaf(X), fast_mode=fast)
    assert gradcheck(f, leaf(X), nondet_tol=1e-5, fast_mode=fast)


def test_shapes_must_not_depend_on_values():
    with pytest.raises(AssertionError, match=r"^Expected `func` to return outputs with the same shape when inputs are"):
        gradcheck(lambda x: (x * 2)[:1 if x[0].item() > 1 else 2], leaf(X))


# --------------------------------------------------------------------------------------------------- inputs and options


def test_arguments_that_are_no_tensors_are_handed_on():
    x, constant = leaf(X), leaf(X, requires_grad=False)
    assert gradcheck(lambda x, n, c, s: x**n * c if s == "sum" else x, (x, 3, constant, "sum"))
    assert gradgradcheck(lambda x, n, c, s: x**n * c if s == "sum" else x, (x, 3, constant, "sum"))


def test_an_input_may_be_captured_instead_of_taken():
    x, y = leaf(X), leaf(X)
    assert gradcheck(lambda *_: x**2 * y, (x, y))
    assert x.tolist() == X
    assert x._version == 0
    assert x.grad is None


def test_inputs_come_back_unchanged_after_an_error():
    x = leaf(X)
    array = x.array
    calls = []

    def f(x):
        calls.append(x)
        if len(calls) > 2:
            raise KeyError("in the middle")
        return x * 1

    with pytest.raises(KeyError):
        gradcheck(f, x)
    assert x.array is array


def test_inputs_may_be_results_and_views():
    x = leaf(X)
    assert gradcheck(lambda y: y**2, x * 3)
    assert gradcheck(lambda y: y**2, x[:1])
    assert gradcheck(lambda y: y**2, (leaf(MATRIX).T,))
    base = leaf([1.0, 2.0, 3.0, 4.0], requires_grad=False)
    part = base[::2].requires_grad_()
    assert gradcheck(lambda y: y**2, part)
    assert base.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_the_same_input_twice_is_moved_as_one():
    x = leaf(X)
    assert gradcheck(lambda a, b: a * b, (x, x))


def test_given_cotangents_are_inputs_if_they_require_grad():
    x, g = leaf(X), leaf(X)
    assert gradgradcheck(lambda x: x**3, x, g)
    assert gradgradcheck(lambda x: (x**3, x**2), (x,), (g, leaf(X, requires_grad=False)))

    def linear_in_g_no_more(x):
        return with_hook(x * x, lambda g: (g * g).detach())

    with pytest.raises(GradcheckError, match="with respect to input 1"):
        gradgradcheck(linear_in_g_no_more, x, g)
    assert gradgradcheck(linear_in_g_no_more, x, leaf([1.0, 1.0], requires_grad=False), atol=10.0)


def test_single_precision_warns_of_each_input():
    x, y = (agrad.tensor([1.0], dtype=agrad.float32, requires_grad=True) for _ in range(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert gradcheck(lambda x, d, y: x * d * y, (x, leaf([2.0]), y), eps=1e-2, atol=1e-2)
    assert [str(w.message)[:33] for w in caught] == [f"Input #{i} requires gradient and is" for i in (0, 2)]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("masked", [None, False, True])
def test_masked_is_taken_for_dense_inputs(masked):
    assert gradcheck(lambda x: x * x, leaf(X), masked=masked)


def test_masked_is_refused_for_sparse_inputs():
    if not is_installed("sparse"):
        pytest.skip("sparse is not installed")
    with agrad.use_backend("sparse"):
        x = leaf([0.0, 2.0])
    assert gradcheck(lambda x: x * x, x, masked=False), "elements that are not stored are moved, too"
    with pytest.raises(ValueError, match=r"^The 0th input is sparse"):
        gradcheck(lambda x: x * x, x, masked=True)


def test_outputs_must_be_tensors():
    with pytest.raises(TypeError, match=r"^gradcheck expects func to return Tensors, but got float$"):
        gradcheck(lambda x: 3.0, leaf(X))


OPTIONS = [
    (gradcheck, {"check_backward_ad": False}),
    (gradcheck, {"check_backward_ad": False, "check_forward_ad": True, "check_batched_grad": True}),
    (gradcheck, {"check_batched_forward_grad": True}),
    (gradgradcheck, {"check_rev_over_rev": False}),
    (gradgradcheck, {"check_rev_over_rev": False, "check_fwd_over_rev": True}),
    (gradgradcheck, {
        "check_rev_over_rev": False, "check_fwd_over_rev": True, "check_undefined_grad": False,
        "check_batched_grad": True,
    }),
]


@needs_torch
@pytest.mark.parametrize(("check", "options"), OPTIONS, ids=itertools.count())
def test_errors_about_options_are_torchs(check, options):
    import torch

    messages = []
    for m in (torch, agrad):
        with pytest.raises(AssertionError) as caught:
            getattr(m.autograd, check.__name__)(lambda x: x, leaf(X, m), **options)
        messages.append(str(caught.value))
    assert messages[1] == messages[0]


def test_the_module_and_the_function_share_a_name():
    program = (
        "from agrad.autograd.gradcheck import GradcheckError\n"
        "import agrad\n"
        "print(agrad.autograd.gradcheck(lambda x: x * x, agrad.tensor([1.0], requires_grad=True)))\n"
        "agrad.autograd.gradgradcheck; print(type(agrad.autograd.gradcheck).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "function"], done.stderr


def test_the_error_can_be_pickled():
    assert str(pickle.loads(pickle.dumps(GradcheckError("x")))) == "x"
