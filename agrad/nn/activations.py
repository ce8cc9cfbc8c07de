"""Activations as modules; what they compute stands in `nn.functional.activations`."""

from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import functional as F
from agrad.nn import init
from agrad.nn.function_module import FunctionModule
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter

# A class that only names its function takes the function's settings, and is documented there.


class ReLU(FunctionModule, function=F.relu):
    """The larger of the input and zero: `nn.functional.relu`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.ReLU()(agrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """


class ReLU6(FunctionModule, function=F.relu6):
    """The input between 0 and 6: `nn.functional.relu6`."""


class LeakyReLU(FunctionModule, function=F.leaky_relu):
    """Negative numbers times a small slope: `nn.functional.leaky_relu`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.LeakyReLU(0.1)
    LeakyReLU(negative_slope=0.1)
    """


class RReLU(FunctionModule, function=F.rrelu):
    """Negative numbers times a slope that is random while training: `nn.functional.rrelu`."""


class ELU(FunctionModule, function=F.elu):
    """An exponential below zero: `nn.functional.elu`."""


class CELU(FunctionModule, function=F.celu):
    """An exponential below zero, with a slope that does not jump: `nn.functional.celu`."""


class SELU(FunctionModule, function=F.selu):
    """The ELU whose layers keep mean and variance: `nn.functional.selu`."""


class GELU(FunctionModule, function=F.gelu):
    """The input times the probability that a normal number is smaller: `nn.functional.gelu`."""


class SiLU(FunctionModule, function=F.silu):
    """The input times its sigmoid: `nn.functional.silu`."""


class Mish(FunctionModule, function=F.mish):
    """The input times the tanh of its softplus: `nn.functional.mish`."""


class Sigmoid(FunctionModule, function=F.sigmoid):
    """1 / (1 + exp(-x)): `nn.functional.sigmoid`."""


class LogSigmoid(FunctionModule, function=F.logsigmoid):
    """The logarithm of the sigmoid: `nn.functional.logsigmoid`."""


class Softplus(FunctionModule, function=F.softplus):
    """log(1 + exp(x)): `nn.functional.softplus`."""


class Softsign(FunctionModule, function=F.softsign):
    """x / (1 + |x|): `nn.functional.softsign`."""


class Tanh(FunctionModule, function=F.tanh):
    """The hyperbolic tangent: `nn.functional.tanh`."""


class Tanhshrink(FunctionModule, function=F.tanhshrink):
    """The input less its tanh: `nn.functional.tanhshrink`."""


class Hardtanh(FunctionModule, function=F.hardtanh):
    """The input between two bounds: `nn.functional.hardtanh`."""


class Hardsigmoid(FunctionModule, function=F.hardsigmoid):
    """A line from 0 at -3 to 1 at 3: `nn.functional.hardsigmoid`."""


class Hardswish(FunctionModule, function=F.hardswish):
    """The input times `Hardsigmoid`: `nn.functional.hardswish`."""


class Hardshrink(FunctionModule, function=F.hardshrink):
    """Zero near zero: `nn.functional.hardshrink`."""

    lambd: float

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(FunctionModule, function=F.softshrink):
    """Moved towards zero: `nn.functional.softshrink`."""

    lambd: float

    def extra_repr(self) -> str:
        return str(self.lambd)


class Threshold(FunctionModule, function=F.threshold):
    """A value for what is not above a threshold: `nn.functional.threshold`."""


class GLU(FunctionModule, function=F.glu):
    """One half of an axis times the sigmoid of the other: `nn.functional.glu`."""


class Softmax(FunctionModule, function=F.softmax, without=("dtype",)):
    """Exponentials divided by their sum along an axis: `nn.functional.softmax`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.Softmax(dim=1)(agrad.zeros((1, 4)))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """


class LogSoftmax(FunctionModule, function=F.log_softmax, without=("dtype",)):
    """The logarithm of the softmax: `nn.functional.log_softmax`."""


class Softmin(FunctionModule, function=F.softmin, without=("dtype",)):
    """The softmax of the negative: `nn.functional.softmin`."""


class Softmax2d(Module):
    """The softmax over the channels of pictures: (N, C, H, W) or (C, H, W).

    Raises
    ------
    ValueError
        For an input with other axes.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, dim=-3)


class PReLU(Module):
    """A slope for negative numbers that is learned: `nn.functional.prelu`.

    Parameters
    ----------
    num_parameters : int
        1, or one for each channel (axis 1).
    init : float
        The slopes at the beginning.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.PReLU()(agrad.tensor([-1.0, 2.0])).detach()
    tensor([-0.2500,  2.0000])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(agrad.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All slopes as at the beginning."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"
