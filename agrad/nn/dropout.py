"""Dropout as modules: at work while training, the identity in evaluation. See `nn.functional.dropout`."""

from typing import Any

from agrad.nn import functional as F
from agrad.nn.function_module import FunctionModule


class _Dropout(FunctionModule):
    """What all share: a probability that is one."""

    p: float
    inplace: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0.0 <= self.p <= 1.0:
            raise ValueError(
                f"{type(self).__name__}: dropout probability has to be between 0 and 1, but got {self.p}"
            )

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout, function=F.dropout):
    """Elements are zero with probability p, the others divided by 1 - p: `nn.functional.dropout`.

    Examples
    --------
    >>> import agrad
    >>> dropout = agrad.nn.Dropout(0.5).eval()
    >>> dropout(agrad.ones(3))
    tensor([1., 1., 1.])
    """


class Dropout1d(_Dropout, function=F.dropout1d):
    """Whole channels of (N, C, L) or (C, L): `nn.functional.dropout1d`."""


class Dropout2d(_Dropout, function=F.dropout2d):
    """Whole channels of (N, C, H, W): `nn.functional.dropout2d`."""


class Dropout3d(_Dropout, function=F.dropout3d):
    """Whole channels of (N, C, D, H, W) or (C, D, H, W): `nn.functional.dropout3d`."""


class AlphaDropout(_Dropout, function=F.alpha_dropout):
    """For layers with `SELU`, whose mean and variance stay: `nn.functional.alpha_dropout`."""


class FeatureAlphaDropout(_Dropout, function=F.feature_alpha_dropout):
    """`AlphaDropout` of whole channels: `nn.functional.feature_alpha_dropout`."""
