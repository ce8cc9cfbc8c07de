"""Losses, as functions and as modules: values and derivatives are PyTorch's; what is ignored adds nothing."""

import warnings
from math import inf, log, nan

import numpy as np
import pytest
from array_libraries import values
from beside_torch import agree, functional, numbers, same

import agrad
from agrad import nn
from agrad.nn import functional as F

REDUCTIONS = ("none", "mean", "sum")


def classes(*shape, n=4, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, n, shape)


def probabilities(*shape, seed=0):
    return numbers(*shape, seed=seed, low=0.05, high=0.95)


def signs(*shape, seed=0):
    return np.asarray(np.sign(numbers(*shape, seed=seed)))


def logs(*shape):
    x = numbers(*shape)
    return x - np.log(np.exp(x).sum(axis=min(1, x.ndim - 1), keepdims=True))


# --------------------------------------------------------------------------------------------------- element by element

S = (2, 3)
ELEMENTWISE = [     # name, arrays of a shape, options
    ("mse_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {}),
    ("l1_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {}),
    ("smooth_l1_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {}),
    ("smooth_l1_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {"beta": 0.3}),
    ("smooth_l1_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {"beta": 0.0}),
    ("huber_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {}),
    ("huber_loss", lambda *s: (numbers(*s), numbers(*s, seed=1)), {"delta": 0.3}),
    ("binary_cross_entropy", lambda *s: (probabilities(*s), probabilities(*s, seed=1)), {}),
    ("binary_cross_entropy_with_logits", lambda *s: (numbers(*s), probabilities(*s, seed=1)), {}),
    ("kl_div", lambda *s: (numbers(*s), probabilities(*s, seed=1)), {}),
    ("kl_div", lambda *s: (numbers(*s), numbers(*s, seed=1)), {"log_target": True}),
    ("poisson_nll_loss", lambda *s: (numbers(*s), numbers(*s, seed=1, low=0.1, high=4.0)), {}),
    ("poisson_nll_loss", lambda *s: (numbers(*s), numbers(*s, seed=1, low=0.1, high=4.0)), {"full": True}),
    ("poisson_nll_loss", lambda *s: (probabilities(*s), probabilities(*s, seed=1)), {"log_input": False, "eps": 1e-3}),
    ("gaussian_nll_loss", lambda *s: (numbers(*s), numbers(*s, seed=1), probabilities(*s, seed=2)), {}),
    ("gaussian_nll_loss", lambda *s: (numbers(*s), numbers(*s, seed=1), probabilities(*s, seed=2)),
     {"full": True, "eps": 0.5}),
    ("hinge_embedding_loss", lambda *s: (numbers(*s), signs(*s, seed=1)), {}),
    ("hinge_embedding_loss", lambda *s: (numbers(*s), signs(*s, seed=1)), {"margin": 0.2}),
    ("soft_margin_loss", lambda *s: (numbers(*s), signs(*s, seed=1)), {}),
    ("margin_ranking_loss", lambda *s: (numbers(*s), numbers(*s, seed=1), signs(*s, seed=2)), {"margin": 0.3}),
]
ROWS = [pytest.param(*row, id=f"{row[0]}-{row[2]}") for row in ELEMENTWISE]


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "arrays", "options"), ROWS)
def test_a_loss_of_elements_is_pytorchs(name, arrays, options, reduction):
    pytest.importorskip("torch")
    for shape in ((2, 3), (4,), (), (0, 2)):
        given = arrays(*shape)
        if name != "soft_margin_loss":      # whose target has no gradient in PyTorch
            agree(lambda m, *a: getattr(m, name)(*a, **options, reduction=reduction), *given, second=False)
        agree(lambda m, x, *a: getattr(m, name)(x, *(t.detach() for t in a), **options, reduction=reduction), *given)


@pytest.mark.parametrize(("name", "arrays", "options"), ROWS)
def test_finite_differences_agree(name, arrays, options):
    given = [agrad.tensor(a, requires_grad=i == 0) for i, a in enumerate(arrays(2, 3))]
    assert agrad.autograd.gradcheck(lambda *a: getattr(F, name)(*a, **options, reduction="sum"), given,
                                    check_forward_ad=True)
    assert agrad.autograd.gradgradcheck(lambda *a: getattr(F, name)(*a, **options, reduction="sum"), given)


@pytest.mark.parametrize(("name", "points"), [
    ("l1_loss", [0.0, 1.0]), ("smooth_l1_loss", [-1.0, 0.0, 1.0, 3.0]), ("huber_loss", [-1.0, 0.0, 1.0, 3.0]),
    ("soft_margin_loss", [0.0]), ("binary_cross_entropy_with_logits", [-1000.0, 0.0, 1000.0]),
])
def test_slopes_at_kinks_and_far_away_are_pytorchs(name, points):
    pytest.importorskip("torch")
    for target in (0.0, 1.0):
        agree(lambda m, x, t: getattr(m, name)(x, t.detach(), reduction="sum"),
              np.array(points), np.full(len(points), target), second=False)


@pytest.mark.parametrize(("target", "input"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (0.3, 0.0), (0.3, 1.0)])
def test_cross_entropy_of_certain_probabilities_is_bounded_and_has_pytorchs_slope(target, input):
    pytest.importorskip("torch")
    agree(lambda m, x, t: m.binary_cross_entropy(x, t.detach()), np.array([input]), np.array([target]), second=False,
          rtol=1e-8)    # PyTorch's bound is 1e-12 in single precision


@pytest.mark.parametrize("delta", [1.0, 2.0])
def test_infinite_differences_have_finite_slopes(delta):
    x = agrad.tensor([inf, -inf], requires_grad=True)
    F.huber_loss(x, agrad.zeros(2), delta=delta, reduction="sum").backward()
    assert x.grad.tolist() == [delta, -delta]


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("shape", [(2, 3), (3,), ()])
def test_weights_of_elements_are_pytorchs(name, shape):
    pytest.importorskip("torch")
    given = probabilities(2, 3), probabilities(2, 3, seed=1), probabilities(*shape, seed=2)
    agree(lambda m, x, t, w: getattr(m, name)(x, t, weight=w.detach()), *given, second=False)
    if name.endswith("logits"):
        agree(lambda m, x, t, w: m.binary_cross_entropy_with_logits(x, t, pos_weight=w.detach()), *given)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted_regression_is_pytorchs(name, reduction):
    pytest.importorskip("torch")
    agree(lambda m, x, t, w: getattr(m, name)(x, t, weight=w, reduction=reduction),
          numbers(2, 3), numbers(2, 3, seed=1), probabilities(2, 3, seed=2), second=False)


@pytest.mark.parametrize(("var", "input"), [((2,), (2, 3)), ((2, 1), (2, 3)), ((1, 3), (2, 3)), ((2, 1, 4), (2, 3, 4))])
def test_variances_for_a_whole_axis_are_pytorchs(var, input):
    pytest.importorskip("torch")
    agree(lambda m, x, t, v: m.gaussian_nll_loss(x, t, v), numbers(*input), numbers(*input, seed=1),
          probabilities(*var))


def test_a_variance_may_be_a_number():
    x = agrad.tensor(numbers(2, 3))
    same(F.gaussian_nll_loss(x, agrad.zeros((2, 3)), 2.0),
         F.gaussian_nll_loss(x, agrad.zeros((2, 3)), agrad.full(S, 2.0)))


def test_the_divergence_of_distributions():
    x, t = agrad.tensor(np.log([[0.5, 0.5]])), agrad.tensor([[1.0, 0.0]])
    same(F.kl_div(x, t, reduction="batchmean"), log(2))
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size"):
        same(F.kl_div(x, t), log(2) / 2)
    assert np.isfinite(values(agrad.autograd.grad(F.kl_div(x, t.requires_grad_(), reduction="sum"), t)[0])).all()


# ------------------------------------------------------------------------------------------------------ one right class

SHAPES = [((4,), ()), ((3, 4), (3,)), ((2, 4, 3), (2, 3)), ((2, 4, 3, 2), (2, 3, 2)), ((0, 4), (0,)),
          ((2, 4, 0), (2, 0))]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("input", "target"), SHAPES)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_losses_of_classes_are_pytorchs(name, input, target, weighted, reduction):
    torch = pytest.importorskip("torch")
    right = classes(*target)
    ignored = np.where(np.arange(right.size).reshape(right.shape) % 2, right, -100)
    weight = probabilities(4) if weighted else None
    for chosen, options in ((right, {}), (ignored, {}), (right, {"ignore_index": 2}),
                            (ignored, {"label_smoothing": 0.2}),
                            (right, {"label_smoothing": 1.0})):
        if name == "nll_loss" and "label_smoothing" in options:
            continue

        def loss(m, x, chosen=chosen, options=options):
            library = torch if m is functional(torch) else agrad
            w = None if weight is None else library.tensor(weight)
            return getattr(m, name)(x, library.tensor(chosen), w, reduction=reduction, **options)

        agree(loss, numbers(*input))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 4, 3), (0, 4)])
def test_cross_entropy_of_probabilities_is_pytorchs(shape, weighted, options, reduction):
    torch = pytest.importorskip("torch")

    def loss(m, x, t):
        library = torch if m is functional(torch) else agrad
        return m.cross_entropy(x, t, library.tensor(probabilities(4)) if weighted else None, reduction=reduction,
                               **options)

    agree(loss, numbers(*shape), probabilities(*shape, seed=1))


def test_nothing_that_counts_has_the_mean_nan_and_no_gradient():
    x = agrad.tensor(numbers(2, 4), requires_grad=True)
    loss = F.cross_entropy(x, agrad.tensor([-100, -100]))
    assert np.isnan(loss.item())
    loss = F.cross_entropy(x, agrad.tensor([-100, -100]), reduction="sum")
    loss.backward()
    assert loss.item() == 0
    assert not values(x.grad).any()
    assert np.isnan(F.cross_entropy(agrad.zeros((0, 4)), agrad.zeros(0, dtype=agrad.int64)).item())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_ignored_puts_no_nan_into_gradients(reduction):
    x = agrad.tensor([[nan, 1.0], [-inf, -inf], [0.5, 1.5]], requires_grad=True)
    F.cross_entropy(x, agrad.tensor([-100, -100, 1]), reduction=reduction).backward()
    same(x.grad[:2], np.zeros((2, 2)))
    assert np.isfinite(values(x.grad)).all()


def test_an_impossible_class_puts_no_nan_into_gradients():
    x = agrad.tensor([[0.5, -inf, 1.5]], requires_grad=True)
    F.cross_entropy(x, agrad.tensor([2])).backward()
    first = values(x.grad)
    x.grad = None
    F.cross_entropy(x, agrad.tensor([[0.0, 0.0, 1.0]])).backward()
    same(x.grad, first)
    assert np.isfinite(first).all()
    assert first[0, 1] == 0


def test_the_target_of_probabilities_has_a_gradient():
    x, t = agrad.tensor(numbers(2, 3)), agrad.tensor([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]], requires_grad=True)
    F.cross_entropy(x, t, reduction="sum").backward()
    same(t.grad, -F.log_softmax(x, dim=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_backend_agrees_and_keeps_the_dtype(backend, dtype):
    x, t, w = numbers(3, 4), classes(3), probabilities(4)

    def gradients():
        given = agrad.tensor(x, dtype=dtype, requires_grad=True)
        found = []
        for target in (t, np.where(t == t[0], -100, t)):
            loss = F.cross_entropy(given, agrad.tensor(target), agrad.tensor(w, dtype=dtype), label_smoothing=0.1)
            loss = loss + F.huber_loss(given, agrad.zeros_like(given)) + F.binary_cross_entropy_with_logits(
                given, agrad.ones_like(given))
            assert loss.dtype == dtype
            found += [loss, *agrad.autograd.grad(loss, given)]
        assert all(g.dtype == dtype for g in found)
        return [values(g) for g in found]

    ours = gradients()
    with agrad.use_backend("numpy"):
        truth = gradients()
    for mine, right in zip(ours, truth, strict=True):
        same(mine, right, rtol=1e-5, atol=1e-6)


def test_samples_under_vmap_are_those_of_a_loop():
    x, t = agrad.tensor(numbers(3, 5, 4)), agrad.tensor(classes(3, 5))
    for name in ("cross_entropy", "nll_loss"):
        function = getattr(F, name)
        same(agrad.vmap(function)(x, t), agrad.stack([function(x[i], t[i]) for i in range(3)]))


# ------------------------------------------------------------------------------------------------------ several classes


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"p": 2}, {"margin": 0.3}])
@pytest.mark.parametrize(("input", "target"), [((4,), ()), ((3, 4), (3,))])
def test_multi_margin_loss_is_pytorchs(input, target, options, reduction):
    torch = pytest.importorskip("torch")
    for weight in (None, probabilities(4)):
        def loss(m, x, weight=weight):
            library = torch if m is functional(torch) else agrad
            w = None if weight is None else library.tensor(weight)
            return m.multi_margin_loss(x, library.tensor(classes(*target)), weight=w, reduction=reduction, **options)

        agree(loss, numbers(*input), second=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("target", [[3, 0, -1, 1], [[3, 0, -1, 1], [-1, 2, 2, 2]], [[0, 1, 2, 3], [2, 2, -1, 0]]])
def test_multilabel_margin_loss_is_pytorchs(target, reduction):
    torch = pytest.importorskip("torch")

    def loss(m, x):
        library = torch if m is functional(torch) else agrad
        return m.multilabel_margin_loss(x, library.tensor(target), reduction=reduction)

    agree(loss, numbers(*np.shape(target)), second=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_multilabel_soft_margin_loss_is_pytorchs(shape, reduction):
    pytest.importorskip("torch")
    given = numbers(*shape), probabilities(*shape, seed=1), probabilities(4)
    agree(lambda m, x, t, w: m.multilabel_soft_margin_loss(x, t, w, reduction=reduction), *given)


# ---------------------------------------------------------------------------------------------------- pairs and triples


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("lead", "margin"), [((3,), 0.0), ((3,), 0.4), ((), 0.1)])
def test_cosine_embedding_loss_is_pytorchs(lead, margin, reduction):
    pytest.importorskip("torch")
    for target in (1.0, -1.0):
        agree(lambda m, x, y, t: m.cosine_embedding_loss(x, y, t.detach(), margin, reduction=reduction),
              numbers(*lead, 4), numbers(*lead, 4, seed=1), np.full(lead, target))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"p": 1.0}, {"p": 3.0, "margin": 0.2}, {"swap": True}])
def test_triplet_margin_loss_is_pytorchs(options, reduction):
    pytest.importorskip("torch")
    for shape in ((3, 4), (4,)):
        agree(lambda m, *a: m.triplet_margin_loss(*a, reduction=reduction, **options),
              numbers(*shape), numbers(*shape, seed=1), numbers(*shape, seed=2))


@pytest.mark.parametrize("swap", [False, True])
def test_triplets_with_an_own_distance_are_pytorchs(swap):
    pytest.importorskip("torch")
    agree(lambda m, *a: m.triplet_margin_with_distance_loss(
        *a, distance_function=lambda x, y: ((x - y) ** 2).sum(-1), margin=2.0, swap=swap),
        numbers(3, 4), numbers(3, 4, seed=1), numbers(3, 4, seed=2))


# ------------------------------------------------------------------------------------------------------------ bad input

X, T = agrad.zeros((3, 4)), agrad.tensor([0, 1, 2])
BAD = [
    (lambda: F.cross_entropy(X, agrad.tensor([0, 1, 4])), IndexError,
     "cross_entropy: Target 4 is out of bounds: .* 0 to 3"),
    (lambda: F.nll_loss(X, agrad.tensor([0, -1, 2])), IndexError, "nll_loss: Target -1 is out of bounds"),
    (lambda: F.cross_entropy(X, agrad.tensor([0, 1])), ValueError,
     r"batch_size \(3\) to match target batch_size \(2\)"),
    (lambda: F.cross_entropy(X, agrad.tensor([[0, 1, 2]] * 3)), ValueError,
     r"Expected target size \(3,\) .* got \(3, 3\)"),
    (lambda: F.cross_entropy(X, agrad.tensor([0.0, 1.0, 2.0])), RuntimeError, "floating targets are probabilities"),
    (lambda: F.nll_loss(X, agrad.tensor([0.0, 1.0, 2.0])), RuntimeError, "nll_loss: expected targets of integers"),
    (lambda: F.nll_loss(agrad.tensor(1.0), agrad.tensor(0)), ValueError, r"Expected 1 or more dimensions \(got 0\)"),
    (lambda: F.cross_entropy(X, T, agrad.ones(3)), RuntimeError, r"all 4 classes or no classes .* shape: \(3,\)"),
    (lambda: F.cross_entropy(X, T, label_smoothing=2.0), RuntimeError, "label_smoothing must be between 0.0 and 1.0"),
    (lambda: F.cross_entropy(X, T, reduction="avg"), ValueError, "avg is not a valid value for reduction"),
    (lambda: F.mse_loss(X, T), RuntimeError, r"mse_loss: expected a target of the input's shape \(3, 4\), got \(3,\)"),
    (lambda: F.mse_loss(X, X, weight=T), ValueError, "Weights and input must have the same size"),
    (lambda: F.binary_cross_entropy(X, X[0]), ValueError, r"binary_cross_entropy: Target size \(4,\) must be the same"),
    (lambda: F.binary_cross_entropy(X + 2, X), RuntimeError, "elements of input should be between 0 and 1"),
    (lambda: F.smooth_l1_loss(X, X, beta=-1.0), RuntimeError, "negative values for beta"),
    (lambda: F.huber_loss(X, X, delta=0.0), RuntimeError, "non-positive values for delta"),
    (lambda: F.gaussian_nll_loss(X, X, X - 1), ValueError, "var has negative"),
    (lambda: F.gaussian_nll_loss(X, X, agrad.ones(2)), ValueError, "var is of incorrect size"),
    (lambda: F.multi_margin_loss(X, T, p=3), ValueError, "only p == 1 and p == 2"),
    (lambda: F.multi_margin_loss(X, agrad.tensor([0, 1, 9])), IndexError, "multi_margin_loss: Target 9"),
    (lambda: F.multilabel_margin_loss(X, agrad.full((3, 4), 7)), IndexError, "multilabel_margin_loss: Target 7"),
    (lambda: F.multilabel_margin_loss(X, X), RuntimeError, "expected targets of integers"),
    (lambda: F.cosine_embedding_loss(X, X, X), RuntimeError, r"expected inputs \(N, D\) with a target"),
    (lambda: F.margin_ranking_loss(X, X, T), RuntimeError, "same dimension"),
    (lambda: F.triplet_margin_loss(X, X, X[0]), RuntimeError, "same number of dimensions"),
    (lambda: F.triplet_margin_with_distance_loss(X, X, X, margin=0.0), ValueError, "margin must be greater than 0"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_a_target_of_another_size_is_broadcast_with_pytorchs_warning(name):
    with pytest.warns(UserWarning, match=r"Using a target size \(2, 1\) that is different to the input size \(2, 3\)"):
        loss = getattr(F, name)(agrad.ones((2, 3)), agrad.zeros((2, 1)))
    assert loss.item() > 0


@pytest.mark.parametrize(("older", "reduction"), [
    ({"size_average": False}, "sum"), ({"size_average": True}, "mean"), ({"reduce": False}, "none"),
    ({"reduce": True}, "mean"),
])
def test_pytorchs_older_words_for_reduction_are_heard_with_a_warning(older, reduction):
    x = agrad.tensor(numbers(3, 4))
    for name, target, module in (("cross_entropy", T, nn.CrossEntropyLoss), ("mse_loss", X, nn.MSELoss)):
        truth = getattr(F, name)(x, target, reduction=reduction)
        with pytest.warns(UserWarning, match=f"use reduction='{reduction}'"):
            same(getattr(F, name)(x, target, **older), truth)
        with pytest.warns(UserWarning, match=f"use reduction='{reduction}'"):
            made = module(**older)
        same(made(x, target), truth)


# -------------------------------------------------------------------------------------------------------------- modules

MODULES = [     # name, options, inputs
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "ignore_index": 1}, (numbers(3, 4), classes(3))),
    ("NLLLoss", {"reduction": "sum"}, (logs(3, 4), classes(3))),
    ("MSELoss", {}, (numbers(3), numbers(3, seed=1))), ("L1Loss", {}, (numbers(3), numbers(3, seed=1))),
    ("SmoothL1Loss", {"beta": 0.4}, (numbers(3), numbers(3, seed=1))),
    ("HuberLoss", {"delta": 0.4}, (numbers(3), numbers(3, seed=1))),
    ("BCELoss", {}, (probabilities(3), probabilities(3, seed=1))),
    ("BCEWithLogitsLoss", {}, (numbers(3), probabilities(3, seed=1))),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, (numbers(3, 2), numbers(3, 2, seed=1))),
    ("PoissonNLLLoss", {"full": True}, (numbers(3), probabilities(3))),
    ("GaussianNLLLoss", {"full": True}, (numbers(3), numbers(3, seed=1), probabilities(3))),
    ("HingeEmbeddingLoss", {"margin": 0.5}, (numbers(3), signs(3, seed=1))),
    ("SoftMarginLoss", {}, (numbers(3), signs(3, seed=1))),
    ("MarginRankingLoss", {"margin": 0.5}, (numbers(3), numbers(3, seed=1), signs(3, seed=2))),
    ("MultiMarginLoss", {"p": 2}, (numbers(3, 4), classes(3))),
    ("MultiLabelMarginLoss", {}, (numbers(4), np.array([1, 0, -1, 2]))),
    ("MultiLabelSoftMarginLoss", {}, (numbers(3, 4), probabilities(3, 4))),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (numbers(3, 4), numbers(3, 4, seed=1), signs(3))),
    ("TripletMarginLoss", {"p": 1.0, "swap": True}, (numbers(3, 4), numbers(3, 4, seed=1), numbers(3, 4, seed=2))),
    ("TripletMarginWithDistanceLoss", {"margin": 0.7}, (numbers(3, 4), numbers(3, 4, seed=1), numbers(3, 4, seed=2))),
]


@pytest.mark.parametrize(("name", "options", "inputs"), MODULES, ids=[row[0] for row in MODULES])
def test_a_module_is_pytorchs(name, options, inputs):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    same(ours(*map(agrad.tensor, inputs)), theirs(*map(torch.tensor, inputs)))


@pytest.mark.parametrize(("name", "key"), [("CrossEntropyLoss", "weight"), ("NLLLoss", "weight"), ("BCELoss", "weight"),
                                           ("BCEWithLogitsLoss", "pos_weight"), ("MultiMarginLoss", "weight")])
def test_weights_are_buffers(name, key):
    module = getattr(nn, name)(**{key: agrad.ones(4)})
    assert list(module.state_dict()) == [key]
    assert not list(module.parameters())
    assert getattr(module.to(dtype=agrad.float32), key).dtype == agrad.float32


def test_a_loss_is_trained_through():
    agrad.manual_seed(0)
    model, loss = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), nn.CrossEntropyLoss()
    x, t = agrad.tensor(numbers(12, 4)), agrad.tensor(classes(12, n=3))
    first = loss(model(x), t)
    for _ in range(60):
        model.zero_grad()
        loss(model(x), t).backward()
        with agrad.no_grad():
            for parameter in model.parameters():
                parameter.subtract_(0.5 * parameter.grad)
    assert loss(model(x), t).item() < 0.3 * first.item()


def test_no_warning_comes_from_ordinary_losses():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.cross_entropy(agrad.tensor([[1000.0, -1000.0]]), agrad.tensor([0]))
        F.binary_cross_entropy(agrad.tensor([0.0, 1.0]), agrad.tensor([0.0, 1.0]))
        F.mse_loss(agrad.zeros(0), agrad.zeros(0))
        F.kl_div(agrad.zeros((1, 2)), agrad.tensor([[0.0, 1.0]]), reduction="sum")
        F.soft_margin_loss(agrad.tensor([-1e4, 1e4]), agrad.ones(2))
