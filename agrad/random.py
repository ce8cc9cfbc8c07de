"""Random tensors: PyTorch's functions, on every backend.

All backends get the same numbers from the same seed and dtype: NumPy draws them. Inside `vmap`, its `randomness`
decides what is drawn; a checkpoint draws the same numbers again. Must know no single backend and no rule.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from agrad import dtypes
from agrad.autograd.grad_mode import no_grad
from agrad.creation import call, convert
from agrad.cython_core import engine
from agrad.cython_core.engine import Tensor, is_grad_enabled
from agrad.defaults import default_backend
from agrad.draws import (
    ANY,
    INTEGERS,
    below,
    check_held,
    check_probability,
    check_std,
    check_tensor,
    drawn,
    drawn_like,
    integers,
    known_values,
    sampled,
    standard_normal,
    uniform,
)
from agrad.generator import Generator, default_generator

__all__ = [
    "Generator", "bernoulli", "default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
    "randperm", "seed", "set_rng_state",
]

# ------------------------------------------------------------------------------------------------ the default generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator again from a seed; it is returned.

    Examples
    --------
    >>> import agrad
    >>> agrad.manual_seed(0)
    <agrad.Generator seed=0>
    >>> a = agrad.rand(2)
    >>> g = agrad.manual_seed(0)
    >>> agrad.allclose(a, agrad.rand(2))
    True
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start the default generator again from a seed that nobody can foresee, and return it."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started from."""
    return default_generator.initial_seed()


def get_rng_state() -> dict[str, Any]:
    """Where the default generator is, for `set_rng_state`: a dict of names and integers, which `agrad.save` takes.

    Examples
    --------
    >>> import agrad
    >>> state = agrad.random.get_rng_state()
    >>> a = agrad.rand(2)
    >>> agrad.random.set_rng_state(state)
    >>> agrad.allclose(a, agrad.rand(2))
    True
    """
    return default_generator.get_state()


def set_rng_state(new_state: dict[str, Any]) -> None:
    """Let the default generator go on from a state that `get_rng_state` returned.

    Raises
    ------
    TypeError, ValueError
        If it is no state.
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Draw in the block from where the default generator is, and go on from there after it.

    Parameters
    ----------
    devices : object
        For programs of PyTorch: there is one generator for all devices.
    enabled : bool
        False: do nothing.

    Examples
    --------
    >>> import agrad
    >>> with agrad.random.fork_rng():
    ...     a = agrad.rand(2)
    >>> agrad.allclose(a, agrad.rand(2))
    True
    """
    before = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if before is not None:
            set_rng_state(before)


# ----------------------------------------------------------------------------------------------------- floating numbers


def rand(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None,
    **names: Any,
) -> Tensor:
    """Uniform numbers from [0, 1).

    Parameters
    ----------
    *size : int or tuple of int
        The shape; also `size=`.
    dtype, device
        Default: the default dtype and device.
    generator : Generator, optional
        Default: the default generator.

    Examples
    --------
    >>> import agrad
    >>> agrad.rand(2, 3).shape
    (2, 3)
    """
    shape = _shape("rand", size, names)
    return drawn("rand", uniform, shape, dtype=dtype, device=device, generator=generator, requires_grad=requires_grad)


def randn(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None,
    **names: Any,
) -> Tensor:
    """Standard normal numbers; of complex ones, both parts have variance 1/2.

    Parameters
    ----------
    *size, dtype, device, requires_grad, generator
        As for `rand`.

    Examples
    --------
    >>> import agrad
    >>> agrad.randn(2, 3, requires_grad=True).requires_grad
    True
    """
    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn("randn", standard_normal, _shape("randn", size, names), **given)


def rand_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """`rand` in the shape, dtype and place of a tensor."""
    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn_like("rand_like", uniform, input, **given)


def randn_like(
    input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """`randn` in the shape, dtype and place of a tensor."""
    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn_like("randn_like", standard_normal, input, **given)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """Normal numbers, each with its own mean and standard deviation.

    Parameters
    ----------
    mean, std : Tensor or float
        Broadcast against each other. A result of tracked tensors is tracked, with zero gradient: what was drawn is a
        constant. For a gradient write `mean + std * agrad.randn(...)`.
    size : tuple of int, optional
        The shape, where neither is a tensor.
    dtype, device, requires_grad
        Where neither is a tensor, as in `randn`.

    Raises
    ------
    RuntimeError
        If a standard deviation is negative.

    Examples
    --------
    >>> import agrad
    >>> agrad.normal(agrad.zeros(3), 2.0).shape
    (3,)
    """
    check_std(std)
    given = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not given:
        if size is None:
            raise TypeError("normal() of two numbers needs a size")
        given_as = {"dtype": dtype, "device": device, "generator": generator}
        made: Tensor = drawn("normal", standard_normal, size, **given_as) * std + mean
        return made.requires_grad_() if requires_grad else made
    if size is not None or dtype is not None or device is not None or requires_grad:
        raise TypeError("normal() takes size, dtype, device and requires_grad for two numbers; a tensor has its own")
    with no_grad():
        like = given[0] if len(given) == 1 else given[0] + given[1]
        found = drawn_like("normal", standard_normal, like, dtype=given[0].dtype, generator=generator) * std + mean
    return _with_zero_gradient(found, given)


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Ones with the probabilities that a tensor holds, and zeros; tracked, with zero gradient, if the tensor is.

    Parameters
    ----------
    input : Tensor
    p : float, optional
        The probability of all elements; then only the shape and the dtype of `input` count.
    generator : Generator, optional

    Raises
    ------
    RuntimeError
        If a probability is not between 0 and 1.

    Examples
    --------
    >>> import agrad
    >>> agrad.bernoulli(agrad.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    check_tensor("bernoulli", input)
    if p is not None:
        check_probability(p)
        found = drawn_like("bernoulli", below(p), input, generator=generator, kinds=ANY)
        return _with_zero_gradient(found, [input])
    if input.dtype.kind != "real":
        raise TypeError(f"bernoulli(): probabilities are floating, not {input.dtype}; or give one p for all elements")
    values = known_values(input)
    if values is not None and not bool(((values >= 0) & (values <= 1)).all()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false: not all are probabilities")
    with no_grad():
        found = convert(drawn_like("bernoulli", uniform, input, generator=generator) < input, dtype=input.dtype)
    return _with_zero_gradient(found, [input])


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers with the rates that a tensor holds; tracked, with zero gradient, if the tensor is.

    Raises
    ------
    RuntimeError
        If a rate is negative.

    Examples
    --------
    >>> import agrad
    >>> agrad.poisson(agrad.zeros(2))
    tensor([0., 0.])
    """
    check_tensor("poisson", input)
    if input.dtype.kind != "real":
        raise TypeError(f"poisson(): rates are floating, not {input.dtype}")

    def draw(stream: Any, rates: Any) -> Any:
        if not bool((rates >= 0).all()):
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        return stream.poisson(rates.astype(np.float64)).astype(np.float64)

    return _with_zero_gradient(sampled(input, draw, generator), [input])


# ------------------------------------------------------------------------------------------------------------- integers


def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """Integers from `low` (0 if left out) up to, but without, `high`; int64 on most backends if no dtype is given.

    Parameters
    ----------
    low, high : int
        `randint(high, size)` and `randint(low, high, size)`.
    size : tuple of int
    dtype
        Also a floating one.
    generator, device, requires_grad
        As for `rand`.

    Raises
    ------
    RuntimeError
        If there is no integer in the range, or the dtype cannot hold them.

    Examples
    --------
    >>> import agrad
    >>> agrad.randint(1, 7, (2, 3)).shape
    (2, 3)
    """
    if isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if size is None:
        raise TypeError("randint() needs a size: randint(high, size) or randint(low, high, size)")
    dtype = default_backend().default_integer() if dtype is None else dtypes.of(dtype)
    draw = integers("randint", low, high, dtype)
    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn("randint", draw, size, kinds=INTEGERS, **given)


def randint_like(
    input: Tensor, low: int, high: int | None = None, *, generator: Generator | None = None, dtype: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """`randint` in the shape, dtype and place of a tensor: `randint_like(t, high)`, `randint_like(t, low, high)`."""
    check_tensor("randint_like", input)
    if high is None:
        low, high = 0, low
    draw = integers("randint_like", low, high, input.dtype if dtype is None else dtypes.of(dtype))
    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn_like("randint_like", draw, input, kinds=INTEGERS, **given)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The integers from 0 to n - 1 in random order; int64 on most backends if no dtype is given.

    Examples
    --------
    >>> import agrad
    >>> sorted(agrad.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    dtype = default_backend().default_integer() if dtype is None else dtypes.of(dtype)
    if isinstance(n, int) and n > 0:
        check_held("randperm", n - 1, dtype)

    def draw(stream: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        numbers = np.broadcast_to(np.arange(shape[-1]), shape)
        return stream.permuted(numbers, axis=-1) if len(shape) > 1 else stream.permutation(shape[-1])

    given = {"dtype": dtype, "device": device, "generator": generator, "requires_grad": requires_grad}
    return drawn("randperm", draw, (n,), kinds=INTEGERS, **given)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions in each row of weights, drawn with the weights as relative probabilities.

    Parameters
    ----------
    input : Tensor
        Weights, one row or a matrix of them; they need not add up to one.
    num_samples : int
        How many to draw per row.
    replacement : bool
        Whether a position may be drawn again.
    generator : Generator, optional

    Returns
    -------
    Tensor
        Integers, with `num_samples` in the place of the last axis.

    Raises
    ------
    RuntimeError
        If the weights are negative, not finite, or all zero, or there are fewer than samples.

    Examples
    --------
    >>> import agrad
    >>> agrad.multinomial(agrad.tensor([0.0, 1.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    check_tensor("multinomial", input)
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if input.dtype.kind != "real":
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    choose = _with_replacement if replacement else _without_replacement

    def draw(stream: Any, weights: Any) -> Any:
        weights = weights.astype(np.float64)
        if not bool(((weights >= 0) & (weights < np.inf)).all()):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        largest = weights.max(axis=-1, keepdims=True, initial=0.0)
        if not bool((largest > 0).all()):
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        return choose(stream, weights / largest, num_samples)     # so that sums and ratios are in range

    backend: Any = engine.base_backend(input)
    return sampled(input, draw, generator, backend.default_integer())


def _with_replacement(stream: Any, weights: Any, n: int) -> Any:
    """Each number finds its place among the sums of the weights; a weight of zero takes no room there."""
    rows = np.cumsum(weights, axis=-1).reshape(-1, weights.shape[-1])
    numbers = stream.random((len(rows), n)) * rows[:, -1:]
    found = np.empty((len(rows), n), np.int64)
    for i, row in enumerate(rows):
        found[i] = np.searchsorted(row, numbers[i], side="right")
    last = (rows < rows[:, -1:]).sum(axis=-1, keepdims=True)    # rounding must not lead beyond the last weight
    return np.minimum(found, last).reshape(*weights.shape[:-1], n)


def _without_replacement(stream: Any, weights: Any, n: int) -> Any:
    """The first arrivals of clocks that run at the rates of the weights (Efraimidis and Spirakis, 2006)."""
    with np.errstate(divide="ignore"):
        arrivals = stream.standard_exponential(weights.shape) / weights
    return np.argsort(arrivals, axis=-1, kind="stable")[..., :n].astype(np.int64)


# -------------------------------------------------------------------------------------------------------------- helpers


def _shape(name: str, size: tuple[Any, ...], names: dict[str, Any]) -> Any:
    """The shape of `rand(2, 3)`, `rand((2, 3))` and `rand(size=(2, 3))`."""
    if names:
        unknown = [key for key in names if key != "size"]
        if unknown or size:
            raise TypeError(f"{name}() got an unexpected keyword argument {(unknown or ['size'])[0]!r}")
        return names["size"]
    if not size:
        raise TypeError(f"{name}() needs a size; {name}(()) gives one number")
    return size[0] if len(size) == 1 else size


def _with_zero_gradient(found: Tensor, origins: list[Tensor]) -> Tensor:
    """Numbers that were drawn, on graphs of what they were drawn from: one that is never taken in a `where`."""
    for t in origins:
        if t.requires_grad and is_grad_enabled():
            found = call("where", call("not_equal", found, found) & False, t, found)
    return found
