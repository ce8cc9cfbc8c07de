"""Section P: gradients where a function is not smooth, and at the edges of its domain."""

import math
import warnings

import pytest

INF, NAN = math.inf, math.nan


@pytest.fixture
def gradients(torch):
    """The gradients of `program(torch, *inputs).sum()` as nested lists, in the inputs' order."""

    def gradients(program, *inputs):
        leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program(torch, *leaves).sum().backward()
        return [leaf.grad.tolist() for leaf in leaves]

    return gradients


def same(found, expected):
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == pytest.approx(expected, rel=1e-5, nan_ok=True)


def table(rows):
    return pytest.mark.parametrize(("program", "inputs", "expected"), list(rows.values()), ids=list(rows))


@table(
    {
        "abs": (lambda m, x: m.abs(x), [[0.0, -0.0, -2.0]], [[0.0, 0.0, -1.0]]),
        "sign": (lambda m, x: m.sign(x), [[-1.5, 0.0, 2.0]], [[0.0, 0.0, 0.0]]),
        "round": (lambda m, x: m.round(x), [[-1.5, 0.0, 2.2]], [[0.0, 0.0, 0.0]]),
        "floor": (lambda m, x: m.floor(x), [[-1.5, 0.0, 2.2]], [[0.0, 0.0, 0.0]]),
        "ceil": (lambda m, x: m.ceil(x), [[-1.5, 0.0, 2.2]], [[0.0, 0.0, 0.0]]),
        "trunc": (lambda m, x: m.trunc(x), [[-1.5, 0.0, 2.2]], [[0.0, 0.0, 0.0]]),
        "complex abs": (lambda m, z: m.abs(z), [[0j, 3 + 4j]], [[0j, 0.6 + 0.8j]]),
        "relu": (lambda m, x: m.relu(x), [[-1.0, 0.0, 2.0]], [[0.0, 0.0, 1.0]]),
        "vector_norm": (lambda m, x: m.linalg.vector_norm(x), [[0.0, 0.0]], [[0.0, 0.0]]),
        "1-norm": (lambda m, x: m.linalg.vector_norm(x, ord=1), [[0.0, -2.0]], [[0.0, -1.0]]),
    }
)
def test_s176_kinks_have_a_zero_gradient(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


def test_s176_flat_functions_stay_tracked(torch, t):
    assert torch.floor(t).requires_grad
    assert torch.sign(t).requires_grad


@table(
    {
        "sqrt(0)": (lambda m, x: m.sqrt(x), [0.0], [INF]),
        "log(0)": (lambda m, x: m.log(x), [0.0], [INF]),
        "1/0": (lambda m, x: 1 / x, [0.0], [-INF]),
        "acos(1)": (lambda m, x: m.acos(x), [1.0], [-INF]),
        "asin(2)": (lambda m, x: m.asin(x), [2.0], [NAN]),
        "atan2(0, 0)": (lambda m, y, x: m.atan2(y, x), [0.0, 0.0], [0.0, 0.0]),
        "sinc(0)": (lambda m, x: m.special.sinc(x), [0.0], [0.0]),
        "logsumexp of -inf": (lambda m, x: m.special.logsumexp(x, 0), [[-INF, -INF]], [[NAN, NAN]]),
        "std of one element": (lambda m, x: x.std(dim=0), [[3.0]], [[NAN]]),
        "std of equal elements": (lambda m, x: x.std(dim=0), [[3.0, 3.0, 3.0]], [[0.0, 0.0, 0.0]]),
    }
)
def test_s177_edges_of_the_domain(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


@pytest.mark.differs("PyTorch gives NaN")
def test_s177_hypot_at_the_origin_is_finite(gradients):
    a, b = gradients(lambda m, x, y: m.hypot(x, y), 0.0, 0.0)
    assert a == b
    assert a in (0.0, 0.5)


@pytest.mark.differs("PyTorch gives NaN for the second: 0 log(y) is 0 for every y")
def test_s177_xlogy_at_the_origin(gradients):
    assert gradients(lambda m, x, y: m.special.xlogy(x, y), 0.0, 0.0) == [0.0, 0.0]


@table(
    {
        "max()": (lambda m, x: x.max(), [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
        "min()": (lambda m, x: x.min(), [[1.0, 1.0, 2.0]], [[0.5, 0.5, 0.0]]),
        "amax": (lambda m, x: m.amax(x, 0), [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
        "inf-norm": (lambda m, x: m.linalg.vector_norm(x, ord=INF), [[2.0, 1.0, -2.0]], [[0.5, 0.0, -0.5]]),
        "amin of a matrix": (
            lambda m, x: m.amin(x, (0, 1)),
            [[[1.0, 1.0], [1.0, 1.0]]],
            [[[0.25, 0.25], [0.25, 0.25]]],
        ),
        "maximum": (lambda m, x, y: m.maximum(x, y), [[1.0, 2.0], [1.0, 3.0]], [[0.5, 0.0], [0.5, 1.0]]),
        "minimum": (lambda m, x, y: m.minimum(x, y), [[1.0, 2.0], [1.0, 3.0]], [[0.5, 1.0], [0.5, 0.0]]),
    }
)
def test_s178_ties_share_equally(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


def test_s178_max_along_a_dimension_chooses_one(torch):
    x = torch.tensor([[2.0, 1.0, 2.0], [4.0, 4.0, 4.0]], requires_grad=True)
    values, indices = x.max(dim=1)
    values.sum().backward()
    expected = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    for row, column in enumerate(indices.tolist()):
        expected[row][column] = 1.0
    assert x.grad.tolist() == expected


@table(
    {
        "sort": (lambda m, x: m.sort(x, dim=0)[0] * m.tensor([1.0, 2.0, 4.0]), [[3.0, 1.0, 2.0]], [[4.0, 1.0, 2.0]]),
        "sort of equals": (lambda m, x: m.sort(x, dim=0)[0] * 2, [[1.0, 1.0, 1.0]], [[2.0, 2.0, 2.0]]),
        "clamp at its bounds": (
            lambda m, x: m.clamp(x, min=-1.0, max=1.0),
            [[-2.0, -1.0, 0.0, 1.0, 2.0]],
            [[0.0, 1.0, 1.0, 1.0, 0.0]],
        ),
    }
)
def test_s178_sort_and_clamp(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


@table(
    {
        "x**0 at 0": (lambda m, x: x**0, [0.0], [0.0]),
        "x**2 at 0": (lambda m, x: x**2, [0.0], [0.0]),
        "x**1 at 0": (lambda m, x: x**1, [0.0], [1.0]),
        "x**0.5 at 0": (lambda m, x: x**0.5, [0.0], [INF]),
        "x**3 at -2": (lambda m, x: x**3, [-2.0], [12.0]),
        "exponent 0 at 0": (lambda m, x: m.pow(x, m.tensor(0.0)), [0.0], [0.0]),
        "0**e": (lambda m, x, e: m.pow(x, e), [0.0, 2.0], [0.0, 0.0]),
        "scalar base": (lambda m, e: 0.0**e, [2.0], [0.0]),
        "negative base": (lambda m, x, e: m.pow(x, e), [-2.0, 3.0], [12.0, NAN]),
    }
)
def test_s179_powers(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


@table(
    {
        "prod": (lambda m, x: m.prod(x), [[2.0, 3.0, 4.0]], [[12.0, 8.0, 6.0]]),
        "prod, one zero": (lambda m, x: m.prod(x), [[0.0, 2.0, 3.0]], [[6.0, 0.0, 0.0]]),
        "prod, two zeros": (lambda m, x: m.prod(x), [[0.0, 2.0, 0.0]], [[0.0, 0.0, 0.0]]),
        "prod along a dimension": (
            lambda m, x: m.prod(x, 1),
            [[[0.0, 2.0], [3.0, 4.0]]],
            [[[2.0, 0.0], [4.0, 3.0]]],
        ),
        "cumprod": (lambda m, x: x.cumprod(0), [[2.0, 3.0, 4.0]], [[16.0, 10.0, 6.0]]),
        "cumprod, one zero": (lambda m, x: x.cumprod(0), [[2.0, 0.0, 4.0]], [[1.0, 10.0, 0.0]]),
        "cumprod, two zeros": (lambda m, x: x.cumprod(0), [[0.0, 0.0, 4.0]], [[1.0, 0.0, 0.0]]),
    }
)
def test_s180_products_with_zeros(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


def test_s180_second_derivative_of_a_product_with_a_zero(torch):
    x = torch.tensor([0.0, 2.0, 3.0], requires_grad=True)
    (g,) = torch.autograd.grad(torch.prod(x), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert h.tolist() == [5.0, 3.0, 2.0]


@table(
    {
        "sqrt": (lambda m, x: m.where(x > 0, m.sqrt(x), x * 0), [[0.0, 1.0]], [[NAN, 0.5]]),
        "log": (lambda m, x: m.where(x > 0, m.log(x), x * 0), [[0.0, 2.0]], [[NAN, 0.5]]),
        "divide": (lambda m, x: m.where(x > 0, 1 / x, x * 0), [[0.0, 2.0]], [[NAN, -0.25]]),
    }
)
def test_s181_the_branch_not_taken_may_bring_nan(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


@pytest.mark.differs("PyTorch has no such mode")
@table(
    {
        "sqrt": (lambda m, x: m.where(x > 0, m.sqrt(x), x * 0), [[0.0, 1.0]], [[0.0, 0.5]]),
        "log": (lambda m, x: m.where(x > 0, m.log(x), x * 0), [[0.0, 2.0]], [[0.0, 0.5]]),
        "divide": (lambda m, x: m.where(x > 0, 1 / x, x * 0), [[0.0, 2.0]], [[0.0, -0.25]]),
    }
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_s181_zero_stays_zero_on_request(program, inputs, expected, gradients, torch, backend):
    with torch.autograd.zero_stays_zero():
        assert same(gradients(program, *inputs), expected)


@table(
    {
        "remainder": (lambda m, a, b: m.remainder(a, b), [7.5, 2.0], [1.0, -3.0]),
        "remainder, negative": (lambda m, a, b: m.remainder(a, b), [-7.5, 2.0], [1.0, 4.0]),
        "%": (lambda m, a, b: a % b, [7.5, 2.0], [1.0, -3.0]),
    }
)
def test_s182_remainders(program, inputs, expected, gradients):
    assert same(gradients(program, *inputs), expected)


def test_s182_floor_division_has_no_derivative(t):
    with pytest.raises(RuntimeError):
        (t // 2).sum().backward()


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), (3,)), ((2, 3), ()), ((2, 1), (1, 3)), ((), (2,)), ((1,), (1, 1)), ((0, 3), (3,)), ((0,), (1,))],
)
def test_s183_broadcasting_is_summed_to_each_input(a, b, torch):
    a, b = torch.ones(a, requires_grad=True), torch.ones(b, requires_grad=True)
    y = a * b * 2
    y.sum().backward()
    size = math.prod(y.shape)
    assert tuple(a.grad.shape) == tuple(a.shape)
    assert tuple(b.grad.shape) == tuple(b.shape)
    assert a.grad.sum().item() == 2.0 * size
    assert b.grad.sum().item() == 2.0 * size


def test_s183_empty_inputs_have_empty_gradients(torch):
    x = torch.ones((0, 2), requires_grad=True)
    (x.exp() * 2).sum().backward()
    assert tuple(x.grad.shape) == (0, 2)


def test_s184_the_gradient_of_a_complex_input_is_conjugate_wirtinger(torch):
    z = torch.tensor(3 + 4j, requires_grad=True)
    (torch.abs(z) ** 2).backward()
    assert z.grad.item() == pytest.approx(6 + 8j)
    z = torch.tensor(1 + 1j, requires_grad=True)
    (z**2).backward(torch.tensor(1 + 0j))
    assert z.grad.item() == pytest.approx(2 - 2j)


@table(
    {
        "conj": (lambda m, z: m.real(m.conj(z)), [1 + 2j], [1 + 0j]),
        "real": (lambda m, z: m.real(z), [1 + 2j], [1 + 0j]),
        "imag": (lambda m, z: m.imag(z), [1 + 2j], [1j]),
        "exp": (lambda m, z: m.real(m.exp(z)), [1j], [math.cos(1) - 1j * math.sin(1)]),
        "a real factor": (lambda m, x: m.real(x * (3 + 4j)), [2.0], [3.0]),
        "an imaginary part": (lambda m, x: m.imag(x * (3 + 4j)), [2.0], [4.0]),
    }
)
def test_s184_real_parts_of_complex_functions(program, inputs, expected, gradients):
    (found,) = gradients(program, *inputs)
    assert found == pytest.approx(expected[0])


@pytest.mark.differs("PyTorch gives 0")
def test_s185_the_determinant_of_a_singular_matrix_has_its_gradient(torch, backend):
    for values, cofactors in (
        ([[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
        ([[0.0, 1.0], [0.0, 3.0]], [[3.0, 0.0], [-1.0, 0.0]]),
        ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
    ):
        a = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        torch.linalg.det(a).backward()
        found = a.grad.tolist()
        assert all(row == pytest.approx(wanted, abs=1e-12) for row, wanted in zip(found, cofactors, strict=True))


def test_s185_the_gradient_of_cholesky_is_symmetric(torch, backend):
    a = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0, 0.0], [2.0, 3.0, 0.0], [4.0, 5.0, 6.0]], dtype=torch.float64)
    (torch.linalg.cholesky(a) * weights).sum().backward()
    for i in range(3):
        for j in range(i):
            assert a.grad[i, j].item() == pytest.approx(a.grad[j, i].item(), rel=1e-12)


def test_s185_vectors_of_repeated_eigenvalues_have_no_gradient(torch, backend):
    a = torch.eye(3, dtype=torch.float64).requires_grad_()
    eigenvalues, vectors = torch.linalg.eigh(a)
    (found,) = torch.autograd.grad((vectors * torch.ones(3)).sum(), a, retain_graph=True)
    assert any(math.isnan(g) for row in found.tolist() for g in row)
    (found,) = torch.autograd.grad((eigenvalues**3).sum(), a)
    assert found.tolist() == [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]]


@pytest.mark.differs("PyTorch gives NaN: another pair of eigenvalues is equal")
def test_s185_other_vectors_are_not_disturbed(torch, backend):
    a = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0]], dtype=torch.float64, requires_grad=True)
    last = torch.linalg.eigh(a)[1][:, 2]
    (last[0] * last[2]).backward()
    found = [[a.grad[i, j].item() + a.grad[j, i].item() for j in range(3)] for i in range(3)]
    expected = [[0.0, 0.0, 1 / 3], [0.0, 0.0, 0.0], [1 / 3, 0.0, 0.0]]  # first-order perturbation: 1 / (4 - 1)
    assert all(row == pytest.approx(wanted, abs=1e-12) for row, wanted in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["argmax", "argmin", "argsort", "count_nonzero"])
def test_s186_integer_results_are_not_tracked(name, torch, t):
    result = getattr(torch, name)(t)
    assert result.requires_grad is False
    assert result.grad_fn is None


def test_s186_the_rank_of_a_matrix_is_not_tracked(torch, t):
    rank = torch.linalg.matrix_rank(t.reshape(1, 2))
    assert rank.item() == 1
    assert rank.requires_grad is False
    assert rank.grad_fn is None
