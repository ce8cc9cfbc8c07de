"""Layers of products: `Linear` and `Bilinear`. What they compute stands in `nn.functional.linear`."""

from math import sqrt
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import functional as F
from agrad.nn import init
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter


class Linear(Module):
    """x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
        The lengths of the last axis, before and behind.
    bias : bool
        Whether there is a b.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight : Parameter
        (out_features, in_features), uniform within 1 / sqrt(in_features).
    bias : Parameter or None
        (out_features,), likewise.

    Raises
    ------
    RuntimeError
        When called with another number of features.

    Examples
    --------
    >>> import agrad
    >>> layer = agrad.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(agrad.ones((4, 3))).shape
    (4, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(agrad.empty((out_features, in_features), device=device, dtype=dtype))
        own = Parameter(agrad.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", own)
        self.reset_parameters()

    bias: Parameter | None

    def reset_parameters(self) -> None:
        """New random weights."""
        init.kaiming_uniform_(self.weight, a=sqrt(5))   # within 1 / sqrt(in_features)
        if self.bias is not None:
            bound = 1 / sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1^T W_k x2 + b_k for each of the outputs.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
        The lengths of the last axis, of both inputs and the output.
    bias : bool
        Whether there is a b.
    device, dtype : optional
        Of the parameters.

    Attributes
    ----------
    weight : Parameter
        (out_features, in1_features, in2_features), uniform within 1 / sqrt(in1_features).
    bias : Parameter or None
        (out_features,), likewise.

    Raises
    ------
    ValueError
        If there are no features of the first input.
    RuntimeError
        When called with other numbers of features.

    Examples
    --------
    >>> import agrad
    >>> layer = agrad.nn.Bilinear(3, 4, 2)
    >>> layer(agrad.ones((5, 3)), agrad.ones((5, 4))).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be > 0, but got {in1_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(agrad.empty(shape, device=device, dtype=dtype))
        own = Parameter(agrad.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.register_parameter("bias", own)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New random weights."""
        bound = 1 / sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
