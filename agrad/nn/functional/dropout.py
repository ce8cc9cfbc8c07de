"""Elements, channels or features that are left out at random, as functions.

The numbers come from `agrad.random`: right in checkpoints, and as `randomness=` says inside vmap. Must know no backend,
no rule and no Module.
"""

import warnings
from math import sqrt

import agrad
from agrad.cython_core.engine import Tensor
from agrad.draws import keeps

# What a SELU's outputs tend to: -scale * alpha of Klambauer et al. 2017.
SATURATION = 1.7580993408473766


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeros with probability p, the others divided by 1 - p; while not training, the input itself.

    Raises
    ------
    ValueError
        If p is no probability.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> x = agrad.ones(1000)
    >>> sorted(set(F.dropout(x, 0.5).tolist()))
    [0.0, 2.0]
    >>> F.dropout(x, training=False) is x
    True
    """
    _check("dropout", p)
    return _dropped(input, None, p, training, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Channels that are zero with probability p, the others divided by 1 - p: (N, C, L) or (C, L).

    Raises
    ------
    ValueError
        If p is no probability.
    RuntimeError
        For an input with other axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> sorted(set(F.dropout1d(agrad.ones((64, 4))).sum(dim=1).tolist()))
    [0.0, 8.0]
    """
    _check("dropout1d", p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input: {input.shape}")
    return _dropped(input, input.ndim - 1, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Channels that are zero with probability p, the others divided by 1 - p: (N, C, H, W).

    Three axes are (N, C, L), as in PyTorch, with no form for one sample.

    Raises
    ------
    ValueError
        If p is no probability.

    Warns
    -----
    UserWarning
        For other than four axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> sorted(set(F.dropout2d(agrad.ones((8, 8, 2, 2))).sum(dim=(2, 3)).ravel().tolist()))
    [0.0, 8.0]
    """
    _check("dropout2d", p)
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
            "that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial dimensions, a channel "
            "dimension, and an optional batch dimension (i.e. 3D or 4D inputs).",
            UserWarning,
            stacklevel=2,
        )
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            UserWarning,
            stacklevel=2,
        )
    _check_features("dropout2d", input)
    return _dropped(input, 2, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Channels that are zero with probability p, the others divided by 1 - p: (N, C, D, H, W) or (C, D, H, W).

    Raises
    ------
    ValueError
        If p is no probability.

    Warns
    -----
    UserWarning
        For other than four or five axes.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> sorted(set(F.dropout3d(agrad.ones((64, 1, 2, 2))).sum(dim=(1, 2, 3)).tolist()))
    [0.0, 8.0]
    """
    _check("dropout3d", p)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
            "that dropout3d exists to provide channel-wise dropout on inputs with 3 spatial dimensions, a channel "
            "dimension, and an optional batch dimension (i.e. 4D or 5D inputs).",
            UserWarning,
            stacklevel=2,
        )
    _check_features("dropout3d", input)
    return _dropped(input, 1 if input.ndim == 4 else 2, p, training, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Elements at the value where `selu` saturates, with probability p, then mean and variance as before.

    Raises
    ------
    ValueError
        If p is no probability.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> len(set(F.alpha_dropout(agrad.ones(1000), training=True).tolist()))
    2
    """
    _check("alpha_dropout", p)
    return _saturated(input, None, p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels, which are axis 1.

    Raises
    ------
    ValueError
        If p is no probability.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> F.feature_alpha_dropout(agrad.ones((2, 3, 4)), training=True).shape
    (2, 3, 4)
    """
    _check("feature_alpha_dropout", p)
    _check_features("feature_alpha_dropout", input)
    return _saturated(input, 2, p, training, inplace)


# ------------------------------------------------------------------------------------------------------------- the work


def _check(name: str, p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: dropout probability has to be between 0 and 1, but got {p}")


def _check_features(name: str, input: Tensor) -> None:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: Feature dropout requires at least 2 dimensions in the input, got {input.ndim}")


def _kept(input: Tensor, lead: int | None, p: float) -> Tensor:
    """One for what stays and zero for the rest: for each element, or for each position on the lead axes."""
    with agrad.no_grad():
        pattern = input if lead is None else input[(slice(None),) * lead + (slice(0, 1),) * (input.ndim - lead)]
        return keeps(pattern, 1 - p).to(dtype=input.dtype)


def _dropped(input: Tensor, lead: int | None, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0 or input.size == 0:
        return input
    scale = _kept(input, lead, p) * (1 / (1 - p)) if p < 1 else 0.0
    return input.multiply_(scale) if inplace else input * scale


def _saturated(input: Tensor, lead: int | None, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p in (0, 1) or input.size == 0:
        return _dropped(input, lead, p, training, inplace)
    a = 1 / sqrt((SATURATION**2 * p + 1) * (1 - p))
    kept = _kept(input, lead, p)
    scale, shift = kept * a, (kept - (1 - p)) * (SATURATION * a)
    return input.multiply_(scale).add_(shift) if inplace else input * scale + shift
