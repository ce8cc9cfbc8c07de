"""Random tensors and generators: distributions, seeds, backends, `vmap`, checkpoints, threads, torch's errors."""

import copy
import pickle
import re
import threading

import numpy as np
import pytest
from array_libraries import values

import agrad
from agrad import func
from agrad import random as agrandom
from agrad.draws import keeps
from agrad.utils.checkpoint import checkpoint

N = 4000


def generator(seed=0):
    return agrad.Generator().manual_seed(seed)


DRAWS = {   # what is drawn, given a generator
    "rand": lambda **g: agrad.rand(3, 2, **g),
    "randn": lambda **g: agrad.randn((3, 2), **g),
    "rand float32": lambda **g: agrad.rand(3, 2, dtype="float32", **g),
    "randn complex": lambda **g: agrad.randn(3, dtype="complex128", **g),
    "rand_like": lambda **g: agrad.rand_like(agrad.zeros(3), **g),
    "randn_like": lambda **g: agrad.randn_like(agrad.zeros(3), **g),
    "randint": lambda **g: agrad.randint(2, 9, (5,), **g),
    "randint_like": lambda **g: agrad.randint_like(agrad.zeros(3), 7, **g),
    "randperm": lambda **g: agrad.randperm(6, **g),
    "normal": lambda **g: agrad.normal(1.0, 2.0, (3,), **g),
    "normal of tensors": lambda **g: agrad.normal(agrad.zeros(3), agrad.ones(3), **g),
    "bernoulli": lambda **g: agrad.bernoulli(agrad.full((9,), 0.5), **g),
    "bernoulli p": lambda **g: agrad.bernoulli(agrad.zeros(9), 0.5, **g),
    "poisson": lambda **g: agrad.poisson(agrad.full((5,), 3.0), **g),
    "multinomial": lambda **g: agrad.multinomial(agrad.asarray([[1.0, 2.0, 3.0]]), 2, **g),
    "multinomial replacement": lambda **g: agrad.multinomial(agrad.asarray([1.0, 2.0, 3.0]), 5, True, **g),
    "uniform_": lambda **g: agrad.zeros(3).uniform_(1, 2, **g),
    "normal_": lambda **g: agrad.zeros(3).normal_(1, 2, **g),
    "exponential_": lambda **g: agrad.zeros(3).exponential_(2, **g),
    "bernoulli_": lambda **g: agrad.zeros(9).bernoulli_(0.5, **g),
    "bernoulli_ of a tensor": lambda **g: agrad.zeros(9).bernoulli_(agrad.full((9,), 0.5), **g),
    "random_": lambda **g: agrad.zeros(9).random_(5, **g),
    "keeps": lambda **g: keeps(agrad.zeros(9), 0.5, **g),
}


# --------------------------------------------------------------------------------------------------- seeds and backends


@pytest.mark.parametrize("how", DRAWS)
def test_every_backend_gets_the_same_numbers_from_the_same_seed(how, backend, doubles):
    found = DRAWS[how](generator=generator(5))
    assert found.backend_.name == backend
    with agrad.use_backend("numpy"):
        expected = DRAWS[how](generator=generator(5))
        agrad.manual_seed(5)
        from_default = DRAWS[how]()
    assert found.dtype == expected.dtype
    assert values(found).tolist() == values(expected).tolist() == values(from_default).tolist()


@pytest.mark.parametrize("library", ["jax", "dask", "ndonnx", "sparse"])
def test_other_libraries_get_the_same_numbers_too(library, doubles):
    pytest.importorskip(library)
    in_place = {name for name in DRAWS if "_" in name and "like" not in name}
    for how in DRAWS.keys() - (in_place if library == "sparse" else set()) - {"randn complex"}:
        with agrad.use_backend(library):
            found = DRAWS[how](generator=generator(5))
        assert found.backend_.name == library
        assert values(found).tolist() == values(DRAWS[how](generator=generator(5))).tolist(), how


@pytest.mark.parametrize("how", DRAWS)
def test_a_generator_of_its_own_leaves_the_default_one_alone(how):
    before = agrad.get_rng_state()
    g = generator(1)
    DRAWS[how](generator=g)
    assert agrad.get_rng_state() == before
    assert g.get_state() != generator(1).get_state()


def test_numbers_go_on_and_start_again():
    g = generator(3)
    first, second = agrad.rand(2, generator=g), agrad.rand(2, generator=g)
    assert values(first).tolist() != values(second).tolist()
    assert values(agrad.rand(2, generator=g.manual_seed(3))).tolist() == values(first).tolist()
    assert g.initial_seed() == 3


def test_results_of_the_likes_live_where_their_inputs_do():
    pytest.importorskip("array_api_strict")
    with agrad.use_backend("array_api_strict"):
        t = agrad.zeros(3, dtype="float32")
    for found in (agrad.rand_like(t), agrad.randn_like(t), agrad.randint_like(t, 4), agrad.poisson(t + 1)):
        assert (found.backend_.name, found.dtype) == ("array_api_strict", agrad.float32)


# ---------------------------------------------------------------------------------------------------------- generators


def test_states_are_plain_values_that_lead_back():
    g = generator(9)
    agrad.rand(3, generator=g, dtype="float32")
    state = g.get_state()
    expected = agrad.randn(5, generator=g)
    other = agrad.Generator().set_state(state)
    assert values(agrad.randn(5, generator=other)).tolist() == values(expected).tolist()
    assert other.initial_seed() == 9
    again = agrad.Generator().set_state(pickle.loads(pickle.dumps(state)))
    assert again.get_state() == state


def through_pickle(g):
    return pickle.loads(pickle.dumps(g))


@pytest.mark.parametrize("twin", [agrad.Generator.clone_state, copy.deepcopy, through_pickle])
def test_copies_of_generators_go_on_from_the_same_place_alone(twin):
    g = generator(2)
    agrad.rand(3, generator=g)
    other = twin(g)
    expected = values(agrad.rand(3, generator=g)).tolist()
    assert values(agrad.rand(3, generator=other)).tolist() == expected


def test_seeds_as_torch_takes_them():
    torch = pytest.importorskip("torch")
    for seed in (0, 7, -1, 2**64 - 1, -(2**63)):
        assert generator(seed).initial_seed() == torch.Generator().manual_seed(seed).initial_seed()
    assert agrad.Generator().initial_seed() == torch.Generator().initial_seed()
    assert isinstance(agrad.manual_seed(1.5), agrad.Generator)
    assert agrad.initial_seed() == 1
    for seed in (2**64, -(2**63) - 1, "a"):
        with pytest.raises((ValueError, RuntimeError)) as expected:
            torch.Generator().manual_seed(seed)
        with pytest.raises(expected.type) as found:
            generator(seed)
        assert str(found.value) == str(expected.value)


def test_an_unforeseen_seed():
    assert agrad.seed() != agrad.seed()
    assert agrad.initial_seed() == agrad.default_generator.initial_seed()


@pytest.mark.parametrize(("state", "error"), [
    (3, TypeError), ({}, ValueError), ({"seed": 1, "bit_generator": "MT19937"}, ValueError),
    ({**agrad.Generator().get_state(), "seed": "x"}, ValueError),
    ({**agrad.Generator().get_state(), "state": {"state": -1, "inc": 2**200}}, ValueError),
])
def test_what_is_no_state_changes_nothing(state, error):
    g = generator(4)
    before = g.get_state()
    with pytest.raises(error, match="state"):
        g.set_state(state)
    assert g.get_state() == before


def test_a_generator_must_be_one():
    with pytest.raises(TypeError, match=r"agrad\.Generator or None, not int"):
        agrad.rand(2, generator=5)
    with pytest.raises(ValueError, match="'cuda'"):
        agrad.Generator("cuda")


def test_fork_rng_goes_on_from_where_it_was():
    agrad.manual_seed(0)
    with agrandom.fork_rng():
        inside = values(agrad.rand(3)).tolist()
        agrad.manual_seed(77)
    assert values(agrad.rand(3)).tolist() == inside
    with agrandom.fork_rng(enabled=False):
        agrad.manual_seed(77)
    assert agrad.initial_seed() == 77


def test_threads_share_a_generator_without_drawing_the_same():
    g, found = generator(0), []

    def draw():
        for _ in range(50):
            found.append(values(agrad.rand(20, generator=g)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = np.concatenate(found)
    assert len(set(numbers)) == numbers.size == N
    expected = values(agrad.rand(N, generator=generator(0)))
    assert sorted(numbers) == sorted(expected)


# ------------------------------------------------------------------------------------------------------- distributions

MOMENTS = {     # mean and standard deviation of (N,) numbers
    "rand": (lambda: agrad.rand(N, generator=generator()), 0.5, 12**-0.5),
    "rand float32": (lambda: agrad.rand(N, generator=generator(), dtype="float32"), 0.5, 12**-0.5),
    "rand float16": (lambda: agrad.rand(N, generator=generator(), dtype="float16"), 0.5, 12**-0.5),
    "randn": (lambda: agrad.randn(N, generator=generator()), 0, 1),
    "randn float16": (lambda: agrad.randn(N, generator=generator(), dtype="float16"), 0, 1),
    "real part": (lambda: agrad.randn(N, generator=generator(), dtype="complex64").real, 0, 0.5**0.5),
    "imaginary part": (lambda: agrad.randn(N, generator=generator(), dtype="complex128").imag, 0, 0.5**0.5),
    "uniform complex": (lambda: agrad.rand(N, generator=generator(), dtype="complex64").imag, 0.5, 12**-0.5),
    "normal": (lambda: agrad.normal(agrad.full((N,), 3.0), 2.0, generator=generator()), 3, 2),
    "normal of numbers": (lambda: agrad.normal(3, 2, (N,), generator=generator()), 3, 2),
    "bernoulli": (lambda: agrad.bernoulli(agrad.full((N,), 0.2), generator=generator()), 0.2, 0.4),
    "bernoulli p": (lambda: agrad.bernoulli(agrad.zeros(N), 0.2, generator=generator()), 0.2, 0.4),
    "poisson": (lambda: agrad.poisson(agrad.full((N,), 4.0), generator=generator()), 4, 2),
    "randint": (lambda: agrad.randint(-2, 3, (N,), generator=generator(), dtype="float64"), 0, 2**0.5),
    "randperm": (lambda: agrad.randperm(N, generator=generator(), dtype="float64"), N / 2 - 0.5, N / 12**0.5),
    "uniform_": (lambda: agrad.zeros(N).uniform_(-1, 5, generator=generator()), 2, 3**0.5),
    "normal_": (lambda: agrad.zeros(N).normal_(-1, 5, generator=generator()), -1, 5),
    "exponential_": (lambda: agrad.zeros(N).exponential_(0.5, generator=generator()), 2, 2),
    "bernoulli_": (lambda: agrad.zeros(N, dtype="int64").bernoulli_(0.8, generator=generator()), 0.8, 0.4),
    "random_": (lambda: agrad.zeros(N, dtype="uint8").random_(generator=generator()), 127.5, 256 / 12**0.5),
    "keeps": (lambda: keeps(agrad.zeros(N, dtype="float16"), 0.9, generator()), 0.9, 0.3),
}


@pytest.mark.parametrize("how", MOMENTS)
def test_moments(how):
    draw, mean, deviation = MOMENTS[how]
    found = values(draw()).astype(float)
    assert found.shape == (N,)
    assert abs(found.mean() - mean) < 4 * deviation / N**0.5
    assert abs(found.std() - deviation) < 0.07 * deviation


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_uniform_numbers_stay_below_one(dtype):
    found = values(agrad.rand(200_000, dtype=dtype, generator=generator()))
    assert found.dtype == dtype
    assert found.min() >= 0
    assert found.max() < 1


def test_bfloat16_stays_below_one():
    pytest.importorskip("torch")
    with agrad.use_backend("torch"):
        found = agrad.rand(20_000, dtype="bfloat16", generator=generator())
    assert found.dtype == agrad.bfloat16
    assert values(found.to("float32")).max() < 1


def test_integers_reach_both_ends_and_keep_to_their_range():
    assert set(values(agrad.randint(3, 6, (300,))).tolist()) == {3, 4, 5}
    assert set(values(agrad.randint(2, (300,), dtype="bool")).tolist()) == {False, True}
    assert set(values(agrad.randint(-(2**63), -(2**63) + 2, (50,))).tolist()) == {-(2**63), -(2**63) + 1}
    wide = values(agrad.randint(0, 2**64, (300,), dtype="uint64"))
    assert wide.dtype == "uint64"
    assert wide.max() > 2**63
    assert agrad.randint(1, 7, size=(2, 0)).shape == (2, 0)


def test_a_permutation_has_every_number_once():
    assert sorted(values(agrad.randperm(50)).tolist()) == list(range(50))
    assert agrad.randperm(0).shape == (0,)


def test_multinomial_draws_with_the_weights():
    weights = np.array([0.0, 1.0, 3.0, 0.0, 6.0, 0.0])
    found = values(agrad.multinomial(agrad.asarray(weights), N, True, generator=generator()))
    shares = np.bincount(found, minlength=6) / N
    assert abs(shares - weights / 10).max() < 0.03
    assert not shares[weights == 0].any()


def test_multinomial_without_replacement_takes_each_place_once():
    weights = agrad.asarray(np.tile([1.0, 2.0, 0.0, 4.0], (N, 1)))
    found = values(agrad.multinomial(weights, 3, generator=generator()))
    assert found.shape == (N, 3)
    assert (np.sort(found, axis=1) == [0, 1, 3]).all()
    first = np.bincount(found[:, 0], minlength=4) / N
    assert abs(first - np.array([1, 2, 0, 4]) / 7).max() < 0.04
    after_last = found[found[:, 0] == 3][:, 1]
    assert abs((after_last == 1).mean() - 2 / 3) < 0.05
    with_zero = values(agrad.multinomial(agrad.asarray([0.0, 1.0]), 2))
    assert with_zero.tolist() == [1, 0]


def test_empty_draws():
    assert agrad.rand(0, 3).shape == (0, 3)
    assert agrad.rand(()).shape == ()
    assert agrad.multinomial(agrad.ones((0, 2)), 1).shape == (0, 1)
    assert agrad.poisson(agrad.zeros((0,))).shape == (0,)
    assert keeps(agrad.zeros((0, 3)), 0.5).shape == (0, 3)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_certain_probabilities(p, expected):
    assert values(keeps(agrad.zeros(999), p)).mean() == expected
    assert values(agrad.bernoulli(agrad.full((999,), p))).mean() == expected
    assert values(agrad.zeros(999).bernoulli_(p)).mean() == expected


# ----------------------------------------------------------------------------------------------------------- gradients


def test_results_can_be_leaves():
    for found in (agrad.rand(2, requires_grad=True), agrad.normal(0, 1, (2,), requires_grad=True),
                  agrad.randint(3, (2,), dtype="float64", requires_grad=True)):
        assert found.is_leaf
        assert found.requires_grad
    for draw, *args in ((agrad.randint, 3, (2,)), (agrad.randperm, 3)):
        with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype can require grad"):
            draw(*args, requires_grad=True)


def test_what_was_drawn_is_a_constant(backend):
    x = agrad.full((4,), 0.5, requires_grad=True)
    for found in (agrad.bernoulli(x), agrad.poisson(x), agrad.normal(x, 1.0), agrad.bernoulli(x, 0.5)):
        assert found.requires_grad
        assert values(agrad.autograd.grad(found.sum(), x)[0]).tolist() == [0.0] * 4


def test_methods_write_in_place_and_cut_the_graph(backend):
    x = agrad.ones(4, requires_grad=True)
    y = x * 2
    view = y[1:3]
    assert view.uniform_(5, 6) is view
    assert (values(y)[1:3] >= 5).all()
    assert values(y)[[0, 3]].tolist() == [2, 2]
    assert values(agrad.autograd.grad(y.sum(), x)[0]).tolist() == [2, 0, 0, 2]
    for method in (x.uniform_, x.normal_, x.exponential_, x.bernoulli_, x.random_):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
            method()
    with agrad.no_grad():
        x.normal_()
    assert x.requires_grad


# ---------------------------------------------------------------------------------------------------------------- vmap

MAPPED = {
    "randint": lambda x: agrad.randint(1000, (4,), dtype=x.dtype) + 0 * x,
    "randperm": lambda x: agrad.randperm(40, dtype=x.dtype) + 0 * agrad.sum(x),
    "bernoulli p": lambda x: agrad.bernoulli(agrad.zeros(40), 0.5) + 0 * agrad.sum(x),
    "poisson": lambda x: agrad.poisson(agrad.full((40,), 5.0)) + 0 * agrad.sum(x),
    "multinomial": lambda x: agrad.multinomial(agrad.ones(40), 20).to(x.dtype) + 0 * agrad.sum(x),
    "keeps": lambda x: keeps(agrad.zeros(40), 0.5).to(x.dtype) + 0 * agrad.sum(x),
}


@pytest.mark.parametrize("how", MAPPED)
def test_samples_of_vmap_draw_their_own_or_the_same(how, backend):
    x = agrad.zeros((3, 4))
    rows = values(func.vmap(MAPPED[how], randomness="different")(x))
    assert len({tuple(row) for row in rows}) == 3
    rows = values(func.vmap(MAPPED[how], randomness="same")(x))
    assert len({tuple(row) for row in rows}) == 1
    with pytest.raises(RuntimeError, match="randomness error mode"):
        func.vmap(MAPPED[how])(x)


def test_permutations_of_samples_are_permutations():
    rows = values(func.vmap(MAPPED["randperm"], randomness="different")(agrad.zeros((5, 1))))
    assert (np.sort(rows, axis=1) == np.arange(40)).all()


def test_every_sample_has_its_own_rates_and_weights():
    rates = agrad.asarray([[0.0, 1000.0], [1000.0, 0.0]])
    found = values(func.vmap(agrad.poisson, randomness="different")(rates))
    assert (found[[0, 1], [0, 1]] == 0).all()
    assert (found[[0, 1], [1, 0]] > 500).all()
    weights = agrad.asarray([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    drawn = func.vmap(lambda w: agrad.multinomial(w, 2, True), randomness="different", in_dims=1)(weights.T)
    assert values(drawn).tolist() == [[1, 1], [2, 2]]

    def three(rate):
        return func.vmap(lambda x: agrad.poisson(rate) + 0 * x, randomness="different")(agrad.zeros(3))

    found = values(func.vmap(three, randomness="different")(agrad.asarray([0.0, 1000.0])))
    assert found.shape == (2, 3)
    assert (found[0] == 0).all()
    assert len(set(found[1])) == 3
    with pytest.raises(RuntimeError, match="same randomness with a batched tensor input"):
        func.vmap(agrad.poisson, randomness="same")(rates)


# ---------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_draws_the_same_again_from_any_generator(backend):
    seen, g = [], generator(5)

    def noisy(x):
        noise = agrad.rand(2, generator=g) + agrad.rand(2) + agrad.zeros(2).normal_(generator=g)
        seen.append(noise.tolist())
        return agrad.sin(x * noise)

    x = agrad.asarray([0.5, 0.8]).requires_grad_()
    y = checkpoint(noisy, x)
    agrad.rand(3, generator=g)
    after = g.get_state(), agrad.get_rng_state()
    (found,) = agrad.autograd.grad(y.sum(), x)
    assert (g.get_state(), agrad.get_rng_state()) == after
    assert seen[0] == seen[1]
    expected = np.cos(values(x) * np.array(seen[0])) * np.array(seen[0])
    assert values(found) == pytest.approx(expected, rel=1e-6)


def test_seeds_and_states_set_inside_a_checkpoint_stay_inside_further_runs():
    seen = []

    def noisy(x):
        state = agrad.get_rng_state()
        agrad.manual_seed(8)
        first = agrad.rand(1)
        agrad.set_rng_state(state)
        with agrandom.fork_rng():
            second = agrad.rand(1)
        seen.append((first + second + agrad.rand(1)).tolist())
        return agrad.sin(x * seen[-1][0])

    agrad.manual_seed(1)
    x = agrad.ones(1, requires_grad=True)
    y = checkpoint(noisy, x)
    agrad.rand(2)
    after = agrad.get_rng_state()
    y.sum().backward()
    assert agrad.get_rng_state() == after
    assert seen[0] == seen[1]


def test_checkpoints_inside_checkpoints_draw_the_same():
    seen, g = [], generator(0)

    def inner(x):
        seen.append(agrad.rand(1, generator=g).item())
        return agrad.exp(x * seen[-1])

    def outer(x):
        seen.append(agrad.rand(1, generator=g).item())
        return agrad.sin(checkpoint(inner, x * seen[-1]))

    x = agrad.ones(1, requires_grad=True)
    checkpoint(outer, x, early_stop=False).sum().backward()
    assert len(set(seen)) == 2
    assert set(seen[::1][:2]) == set(seen)


def test_a_further_run_does_not_disturb_other_threads():
    g, wait, go_on = generator(0), threading.Event(), threading.Event()
    runs = []

    def noisy(x):
        noise = agrad.rand(1, generator=g)
        runs.append(noise.item())
        if len(runs) == 2:
            wait.set()
            assert go_on.wait(30)
        return agrad.sin(x * noise)

    x = agrad.ones(1, requires_grad=True)
    y = checkpoint(noisy, x, early_stop=False)
    expected = agrad.rand(2, generator=g.clone_state())
    thread = threading.Thread(target=lambda: y.sum().backward())
    thread.start()
    assert wait.wait(30)
    found = agrad.rand(2, generator=g)      # while the other thread is in its further run
    go_on.set()
    thread.join()
    assert found.tolist() == expected.tolist()
    assert runs[0] == runs[1]


# --------------------------------------------------------------------------------------------------------------- errors

SAME_ERRORS = """
    {r}randint(5, 5, (2,))                                {t}normal(0.0, -1.0, (2,))
    {r}randint(0, (2,))                                   {t}normal({t}zeros(3), -1.0)
    {t}rand(-1)                                           {t}normal({t}zeros(3), {t}tensor([-1.0, 1.0, 1.0]))
    {r}randperm(-1)                                       {t}bernoulli({t}zeros(2), 1.5)
    {r}multinomial({t}tensor([0.0, 0.0]), 1)              {r}multinomial({t}tensor([-1.0, 2.0]), 1)
    {r}multinomial({t}tensor([float("inf"), 2.0]), 1)     {r}multinomial({t}tensor([1.0, 2.0]), 3)
    {r}multinomial({t}tensor([1.0, 0.0]), 0)              {r}multinomial({t}tensor(1.0), 1)
    {r}multinomial({t}ones((2, 2, 2)), 1)                 {r}poisson({t}tensor([-1.0]))
    {r}poisson({t}tensor([float("nan")]))                 {t}zeros(3).uniform_(2, 1)
    {t}zeros(3).normal_(0, -1)                            {t}zeros(3).exponential_(0)
    {t}zeros(3).bernoulli_(2)                             {t}zeros(3).random_(5, 2)
"""


@pytest.mark.parametrize("call", re.split(r" {3,}|\n +", SAME_ERRORS.strip()))
def test_errors_are_those_of_torch(call):
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as expected:
        eval(call.format(t="torch.", r="torch."), {"torch": torch})
    with pytest.raises(RuntimeError) as found:
        eval(call.format(t="agrad.", r="agrandom."), {"agrad": agrad, "agrandom": agrandom})
    assert str(found.value) == str(expected.value)


@pytest.mark.parametrize(("call", "error", "match"), [
    (lambda: agrad.rand(2, dtype="int64"), TypeError, r"rand\(\): random numbers are real or complex, not agrad.int64"),
    (lambda: agrad.randn_like(agrad.zeros(2, dtype="int64")), TypeError, r"randn_like\(\): .* not agrad.int64"),
    (lambda: agrad.randn_like([1.0]), TypeError, "'input' must be Tensor, not list"),
    (lambda: agrad.rand(), TypeError, "needs a size"),
    (lambda: agrad.rand(2.5), TypeError, "a shape is made of integers, got 2.5"),
    (lambda: agrad.rand(2, sizes=3), TypeError, "unexpected keyword argument 'sizes'"),
    (lambda: agrad.randint(3), TypeError, "needs a size"),
    (lambda: agrad.randint(0.5, 3, (2,)), TypeError, "low and high are integers, not 0.5"),
    (lambda: agrad.randint(0, 300, (2,), dtype="uint8"), RuntimeError, "299 is out of bounds for agrad.uint8"),
    (lambda: agrad.randint(0, 3, (2,), dtype="bool"), RuntimeError, "2 is out of bounds for agrad.bool"),
    (lambda: agrad.randint(3, (2,), dtype="complex64"), TypeError, "not agrad.complex64"),
    (lambda: agrad.randperm(3.5), TypeError, "a shape is made of integers"),
    (lambda: agrad.randperm(300, dtype="uint8"), RuntimeError, "299 is out of bounds"),
    (lambda: agrad.normal(0.0, 1.0), TypeError, "needs a size"),
    (lambda: agrad.normal(agrad.zeros(2), size=(2,)), TypeError, "a tensor has its own"),
    (lambda: agrad.bernoulli(agrad.tensor([1.5])), RuntimeError, "Expected p_in >= 0 && p_in <= 1"),
    (lambda: agrad.bernoulli(agrad.tensor([float("nan")])), RuntimeError, "Expected p_in >= 0 && p_in <= 1"),
    (lambda: agrad.bernoulli(agrad.tensor([1])), TypeError, "probabilities are floating"),
    (lambda: agrad.poisson(agrad.tensor([1])), TypeError, "rates are floating"),
    (lambda: agrad.multinomial(agrad.tensor([1]), 1), RuntimeError, "only supports floating-point dtypes"),
    (lambda: agrad.zeros(3, dtype="int64").uniform_(), TypeError, r"uniform_\(\): .* not agrad.int64"),
    (lambda: agrad.zeros(3, dtype="complex64").exponential_(), TypeError, "not agrad.complex64"),
    (lambda: agrad.zeros(3, dtype="uint8").random_(300), RuntimeError, "out of bounds for agrad.uint8"),
])
def test_bad_input_is_named(call, error, match):
    with pytest.raises(error, match=match):
        call()


# ----------------------------------------------------------------------------------------------------- ends of ranges


@pytest.mark.parametrize("weight", [1e308, 5e-324])
@pytest.mark.parametrize("replacement", [True, False])
def test_weights_of_any_size_are_relative(weight, replacement):
    agrad.manual_seed(0)
    weights = agrad.tensor([[weight, 0.0, weight, weight]] * 200)
    found = values(agrad.multinomial(weights, 3, replacement=replacement))
    counts = np.bincount(found[:, 0], minlength=4)
    assert counts[1] == 0
    assert counts[[0, 2, 3]].min() > 40


@pytest.mark.parametrize("ends", [(0, float("inf")), (0, float("nan")), (float("nan"), 1), (-1e308, 1e308), (0, 1e39)])
def test_uniform_needs_a_range_that_the_dtype_holds(ends):
    t = agrad.zeros(3, dtype=agrad.float32)
    with pytest.raises(RuntimeError, match="out of bounds"):
        t.uniform_(*ends)
    assert values(t).tolist() == [0, 0, 0]


@pytest.mark.parametrize("draw", [
    agrad.bernoulli, agrad.poisson, agrad.rand_like, lambda t: agrad.multinomial(t, 1),
    lambda t: agrad.randint_like(t, 3),
])
def test_what_is_no_tensor_is_named(draw):
    with pytest.raises(TypeError, match=r"\(\): argument 'input' must be Tensor, not float"):
        draw(0.5)
