"""A first program: learn to read handwritten digits, with nothing but tensors and their gradients.

Every line of mathematics here runs on any backend. NumPy only supplies what is not differentiated: the data, as
scikit-learn brings it, and the random numbers, which are therefore the same on every backend.
"""

import sys
import time
from statistics import median
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from tqdm import trange

import agrad
from agrad import Tensor

STEPS = 600
SEED = 0
HIDDEN = 64
CLASSES = 10
BATCH = 64
LEARNING_RATE = 0.1
MOMENTUM = 0.9

# ---- the model -------------------------------------------------------------------------------------------------------


def initial_parameters(features: int, rng: np.random.Generator) -> list[Tensor]:
    """Return the weights and biases of two layers, all of which require grad."""
    dtype = agrad.get_default_dtype()

    def weights(rows: int, columns: int) -> Tensor:
        return agrad.tensor(rng.normal(size=(rows, columns)) / rows**0.5, dtype=dtype, requires_grad=True)

    def biases(columns: int) -> Tensor:
        return agrad.zeros(columns, dtype=dtype, requires_grad=True)

    return [weights(features, HIDDEN), biases(HIDDEN), weights(HIDDEN, CLASSES), biases(CLASSES)]


def predict(parameters: list[Tensor], images: Tensor) -> Tensor:
    """Return a score for each image and class."""
    w1, b1, w2, b2 = parameters
    return agrad.tanh(images @ w1 + b1) @ w2 + b2


def cross_entropy(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean surprise at the wanted classes, which ``wanted`` marks with a one in each row."""
    largest = agrad.max(scores, axis=1, keepdims=True).detach()  # so that no exp() overflows
    total = largest + agrad.log(agrad.sum(agrad.exp(scores - largest), axis=1, keepdims=True))
    return -agrad.mean(agrad.sum(wanted * (scores - total), axis=1))


# ---- the program -----------------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """What a run of the demo found out."""

    accuracy: float  # on images that training never saw
    seconds_per_step: float  # the median
    gradient_error: float


def run(steps: int = STEPS, seed: int = SEED) -> Report:
    """Train, test and check a small classifier on the default backend.

    Examples
    --------
    >>> from agrad import demo
    >>> report = demo.run(steps=600, seed=0)  # doctest: +SKIP
    """
    rng = np.random.default_rng(seed)
    dtype = agrad.get_default_dtype()
    pixels, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    training, held_back = np.split(order, [len(digits) * 4 // 5])

    images = agrad.tensor(pixels[training] / 16, dtype=dtype)
    wanted = agrad.tensor(np.eye(CLASSES)[digits[training]], dtype=dtype)
    device = images.backend_.device_name(images.device)
    print(f"backend         {agrad.get_default_backend()}, {images.dtype} on {device}")
    print(f"images          {len(training)} to learn from, {len(held_back)} to test", flush=True)

    parameters = initial_parameters(images.shape[1], rng)
    seconds = train(parameters, images, wanted, steps, rng)

    test_images = agrad.tensor(pixels[held_back] / 16, dtype=dtype)
    test_digits = agrad.tensor(digits[held_back])
    return Report(
        accuracy(parameters, test_images, test_digits),
        median(seconds),
        gradient_error(parameters, images, wanted, rng),
    )


def train(
    parameters: list[Tensor], images: Tensor, wanted: Tensor, steps: int, rng: np.random.Generator
) -> list[float]:
    """Improve the parameters in place, a random batch at a time, and return the seconds that each step took."""
    velocities = [agrad.zeros_like(parameter) for parameter in parameters]
    seconds = []
    progress = trange(steps, desc="training", unit="step")
    for _ in progress:
        start = time.perf_counter()
        batch = agrad.tensor(rng.choice(images.shape[0], BATCH, replace=False))
        loss = cross_entropy(predict(parameters, agrad.take(images, batch, axis=0)), agrad.take(wanted, batch, axis=0))
        loss.backward()
        with agrad.no_grad():
            for parameter, velocity in zip(parameters, velocities, strict=True):
                velocity *= MOMENTUM
                velocity += parameter.grad
                parameter -= LEARNING_RATE * velocity
                parameter.grad = None
        progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
        seconds.append(time.perf_counter() - start)
    return seconds


def accuracy(parameters: list[Tensor], images: Tensor, digits: Tensor) -> float:
    """Return the share of images whose highest score is that of the right digit."""
    with agrad.no_grad():
        guesses = agrad.argmax(predict(parameters, images), axis=1)
    return float(agrad.count_nonzero(guesses == digits).item() / digits.shape[0])


# ---- the gradient, checked -------------------------------------------------------------------------------------------


def gradient_error(
    parameters: list[Tensor],
    images: Tensor,
    wanted: Tensor,
    rng: np.random.Generator,
    directions: int = 5,
    width: float = 2e-6,
) -> float:
    """Return how far ``backward()`` is from central differences, in float64, relative to the largest slope.

    Along a random direction v the slope of the loss is the inner product of its gradient with v. Moving all parameters
    by ``width`` times v, forth and back, measures that slope without any derivative.
    """
    images, wanted = images.to(dtype=agrad.float64), wanted.to(dtype=agrad.float64)
    parameters = [p.detach().to(dtype=agrad.float64).requires_grad_() for p in parameters]
    cross_entropy(predict(parameters, images), wanted).backward()

    def loss_at(distance: float, direction: list[Tensor]) -> float:
        moved = [p + distance * v for p, v in zip(parameters, direction, strict=True)]
        return float(cross_entropy(predict(moved, images), wanted).item())

    computed: list[float] = []
    measured: list[float] = []
    with agrad.no_grad():
        for _ in range(directions):
            direction = [agrad.tensor(rng.normal(size=tuple(p.shape)), dtype=agrad.float64) for p in parameters]
            computed.append(sum(agrad.sum(p.grad * v).item() for p, v in zip(parameters, direction, strict=True)))
            measured.append((loss_at(width, direction) - loss_at(-width, direction)) / (2 * width))
    differences = [abs(c - m) for c, m in zip(computed, measured, strict=True)]
    return max(differences) / max(map(abs, measured))


# ---- the command -----------------------------------------------------------------------------------------------------

ENOUGH_ACCURACY = 0.95
ALLOWED_GRADIENT_ERROR = 1e-6


def main(steps: int = STEPS, seed: int = SEED) -> int:
    """Run the demo, print what it found, and return 1 where that is not what it should be, else 0."""
    report = run(steps, seed)
    print(f"test accuracy   {report.accuracy:.3f}")
    print(f"time per step   {report.seconds_per_step * 1e3:.3f} ms (median of {steps})")
    print(f"gradient check  {report.gradient_error:.1e} (largest relative error against central differences)")
    complaints = []
    if (steps, seed) == (STEPS, SEED) and not report.accuracy >= ENOUGH_ACCURACY:
        complaints.append(f"the accuracy should be at least {ENOUGH_ACCURACY}")
    if not report.gradient_error < ALLOWED_GRADIENT_ERROR:
        complaints.append(f"the gradient's error should be below {ALLOWED_GRADIENT_ERROR:.0e}")
    for complaint in complaints:
        print(f"agrad demo: {complaint}", file=sys.stderr)
    return 1 if complaints else 0
