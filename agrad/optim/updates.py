"""The updates of the optimizers, each as one formula for an element: the specification.

A formula takes arrays and gives the new values of the parameter and of its buffers, in the same order. It is written
against the Array API standard with nothing that knows an array's shape, so that it holds for any block of a parameter;
compiled loops of a backend are tested against it. It must know no optimizer, no tensor and no backend.

`xp` is the namespace of the arrays, `p` the parameter, `g` its gradient, `state` the buffers, and `c` the coefficients:
numbers that are the same for all elements. Compiled loops take them by position.
"""

from typing import Any, NamedTuple


def descent(p: Any, g: Any, maximize: float, weight_decay: float) -> Any:
    """Where the loss grows: the gradient, reversed for maximisation, and that of the penalty weight_decay/2 * p**2."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g


def towards(average: Any, value: Any, weight: float) -> Any:
    """A running average moved towards a value."""
    return average + weight * (value - average)


# ---- descent with momentum -------------------------------------------------------------------------------------------


class SGD(NamedTuple):
    """Coefficients of `sgd`; `intake` is the weight of a new gradient in the momentum."""

    maximize: bool
    weight_decay: float
    lr: float
    momentum: float
    intake: float
    nesterov: bool


def sgd(xp: Any, p: Any, g: Any, state: Any, c: SGD) -> tuple[Any, ...]:
    """Stochastic gradient descent; Nesterov's form of momentum after Sutskever et al., 2013."""
    g = descent(p, g, c.maximize, c.weight_decay)
    if not state:
        return (p - c.lr * g,)
    velocity = c.momentum * state[0] + c.intake * g
    return p - c.lr * (g + c.momentum * velocity if c.nesterov else velocity), velocity


# ---- scaled by the size of past gradients ----------------------------------------------------------------------------


class Adagrad(NamedTuple):
    """Coefficients of `adagrad`."""

    maximize: bool
    weight_decay: float
    lr: float
    eps: float


def adagrad(xp: Any, p: Any, g: Any, state: Any, c: Adagrad) -> tuple[Any, ...]:
    """Duchi, Hazan and Singer, 2011."""
    g = descent(p, g, c.maximize, c.weight_decay)
    total = state[0] + g * g
    return p - c.lr * (g / (xp.sqrt(total) + c.eps)), total


class RMSprop(NamedTuple):
    """Coefficients of `rmsprop`; `intake` is the weight of a new gradient in the averages."""

    maximize: bool
    weight_decay: float
    lr: float
    alpha: float
    intake: float
    eps: float
    momentum: float
    centered: bool


def rmsprop(xp: Any, p: Any, g: Any, state: Any, c: RMSprop) -> tuple[Any, ...]:
    """Tieleman and Hinton, 2012; `centered` after Graves, 2013. Buffers: square_avg, [grad_avg], [momentum_buffer]."""
    square, *others = state
    g = descent(p, g, c.maximize, c.weight_decay)
    square = c.alpha * square + c.intake * (g * g)
    variance, new = square, [square]
    if c.centered:
        mean = towards(others[0], g, c.intake)
        variance = square - mean * mean
        new.append(mean)
    move = g / (xp.sqrt(variance) + c.eps)
    if c.momentum:
        move = c.momentum * others[-1] + move
        new.append(move)
    return p - c.lr * move, *new


class Adadelta(NamedTuple):
    """Coefficients of `adadelta`; `intake` is the weight of a new value in the averages."""

    maximize: bool
    weight_decay: float
    lr: float
    rho: float
    intake: float
    eps: float


def adadelta(xp: Any, p: Any, g: Any, state: Any, c: Adadelta) -> tuple[Any, ...]:
    """Zeiler, 2012."""
    square, moves = state
    g = descent(p, g, c.maximize, c.weight_decay)
    square = c.rho * square + c.intake * (g * g)
    move = xp.sqrt(moves + c.eps) / xp.sqrt(square + c.eps) * g
    return p - c.lr * move, square, c.rho * moves + c.intake * (move * move)


# ---- Adam and its relatives ------------------------------------------------------------------------------------------


class Adam(NamedTuple):
    """Coefficients of `adam`: `keep` is what decoupled weight decay leaves of a parameter; the bias correction of the
    mean is in `lr`, the root of the other one is `root`.
    """

    maximize: bool
    weight_decay: float
    keep: float
    lr: float
    intake1: float
    beta2: float
    intake2: float
    root: float
    eps: float


def adam(xp: Any, p: Any, g: Any, state: Any, c: Adam) -> tuple[Any, ...]:
    """Kingma and Ba, 2015; with a third buffer AMSGrad (Reddi et al., 2018), with `keep` AdamW (Loshchilov, 2019)."""
    mean, square, *largest = state
    g = descent(p, g, c.maximize, c.weight_decay)
    mean = towards(mean, g, c.intake1)
    square = c.beta2 * square + c.intake2 * (g * g)
    if largest:
        largest = [xp.maximum(largest[0], square)]
    size = xp.sqrt(largest[0] if largest else square) / c.root + c.eps
    return c.keep * p - c.lr * (mean / size), mean, square, *largest


class Adamax(NamedTuple):
    """Coefficients of `adamax`; the bias correction is in `lr`."""

    maximize: bool
    weight_decay: float
    lr: float
    intake1: float
    beta2: float
    eps: float


def adamax(xp: Any, p: Any, g: Any, state: Any, c: Adamax) -> tuple[Any, ...]:
    """Kingma and Ba, 2015, section 7.1: Adam with the largest gradient in the place of the mean square."""
    mean, largest = state
    g = descent(p, g, c.maximize, c.weight_decay)
    mean = towards(mean, g, c.intake1)
    largest = xp.maximum(c.beta2 * largest, xp.abs(g) + c.eps)
    return p - c.lr * (mean / largest), mean, largest


class NAdam(NamedTuple):
    """Coefficients of `nadam`: a step is `lr_gradient` times the gradient and `lr_mean` times its mean, both scaled."""

    maximize: bool
    weight_decay: float
    keep: float
    lr_gradient: float
    lr_mean: float
    intake1: float
    beta2: float
    intake2: float
    correction: float
    eps: float


def nadam(xp: Any, p: Any, g: Any, state: Any, c: NAdam) -> tuple[Any, ...]:
    """Dozat, 2016: Adam with Nesterov's momentum."""
    mean, square = state
    g = descent(p, g, c.maximize, c.weight_decay)
    mean = towards(mean, g, c.intake1)
    square = c.beta2 * square + c.intake2 * (g * g)
    size = xp.sqrt(square / c.correction) + c.eps
    return c.keep * p - c.lr_gradient * (g / size) - c.lr_mean * (mean / size), mean, square


class RAdam(NamedTuple):
    """Coefficients of `radam`; all corrections are in `lr`. Not `adaptive`: too early to know the gradients' size."""

    maximize: bool
    weight_decay: float
    keep: float
    lr: float
    intake1: float
    beta2: float
    intake2: float
    eps: float
    adaptive: bool


def radam(xp: Any, p: Any, g: Any, state: Any, c: RAdam) -> tuple[Any, ...]:
    """Liu et al., 2020: Adam whose variance is rectified."""
    mean, square = state
    g = descent(p, g, c.maximize, c.weight_decay)
    mean = towards(mean, g, c.intake1)
    square = c.beta2 * square + c.intake2 * (g * g)
    move = mean / (xp.sqrt(square) + c.eps) if c.adaptive else mean
    return c.keep * p - c.lr * move, mean, square
