"""More positions or fewer: interpolation between them, and channels that become positions. Must not know any array
library nor any module.

Interpolation is separable: on one axis after the other each element of the output is a sum of few elements of the input
with fixed weights. A mode is the table of these, `TAPS`."""

from collections.abc import Callable, Sequence
from functools import reduce
from math import floor
from operator import add
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.geometry import per_axis
from agrad.nn.functional.pooling import adaptive_avg_pool

Taps = list[tuple[list[int], list[float] | None]]       # positions in the input, and their weights; None for one


# --------------------------------------------------------------------------------------------------------------- modes


def nearest(n: int, m: int, scale: float, align_corners: bool) -> Taps:
    return [([min(floor(i * scale), n - 1) for i in range(m)], None)]


def nearest_exact(n: int, m: int, scale: float, align_corners: bool) -> Taps:
    return [([min(floor((i + 0.5) * scale), n - 1) for i in range(m)], None)]


def linear(n: int, m: int, scale: float, align_corners: bool) -> Taps:
    places = [max(place, 0.0) for place in sources(n, m, scale, align_corners)]
    lower = [min(floor(place), n - 1) for place in places]
    upper = [min(i + 1, n - 1) for i in lower]
    along = [place - i for place, i in zip(places, lower, strict=True)]
    return [(lower, [1 - t for t in along]), (upper, along)]


def cubic(n: int, m: int, scale: float, align_corners: bool) -> Taps:
    """Convolution with cubic pieces (Keys 1981), with -3/4 for the slope that is free."""
    places = sources(n, m, scale, align_corners)
    taps: Taps = []
    for offset in (-1, 0, 1, 2):
        near = [floor(place) + offset for place in places]
        weights = [kernel(abs(place - i)) for place, i in zip(places, near, strict=True)]
        taps.append(([min(max(i, 0), n - 1) for i in near], weights))
    return taps


def kernel(x: float, a: float = -0.75) -> float:
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def sources(n: int, m: int, scale: float, align_corners: bool) -> list[float]:
    """Where in n positions the centres of m lie; with `align_corners` the first and last ones are the same."""
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
        return [step * i for i in range(m)]
    return [scale * (i + 0.5) - 0.5 for i in range(m)]


TAPS: dict[str, Callable[[int, int, float, bool], Taps]] = {
    "nearest": nearest, "nearest-exact": nearest_exact, "linear": linear, "bilinear": linear, "trilinear": linear,
    "bicubic": cubic,
}
AXES = {    # how many axes of positions an input may have
    **dict.fromkeys(("nearest", "nearest-exact", "area"), (1, 2, 3)),
    "linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample the axes of positions to another size.

    Parameters
    ----------
    input : Tensor
        Of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W).
    size : int or tuple of int, optional
        The lengths of the output's axes of positions.
    scale_factor : float or tuple of float, optional
        How many times longer they are, instead.
    mode : str
        "nearest", "nearest-exact" (which rounds symmetrically), "area" (means), "linear" for one axis, "bilinear" and
        "bicubic" for two, "trilinear" for three.
    align_corners : bool, optional
        Whether the first and last positions of input and output are the same points; otherwise their outer borders are.
        For linear and cubic modes only.
    recompute_scale_factor : bool, optional
        Whether the scale is that of the lengths, not the given one, which they are rounded from.
    antialias : bool
        Not offered: True is refused.

    Raises
    ------
    ValueError
        If the arguments do not fit together.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.interpolate(agrad.tensor([[[0.0, 1.0]]]), size=4, mode="linear").tolist()
    [[[0.0, 0.25, 0.75, 1.0]]]
    """
    n = input.ndim - 2
    check_mode(input, mode, align_corners, antialias)
    lengths = tuple(input.shape[2:])
    wanted, scales = resized(lengths, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return adaptive_avg_pool("interpolate", n, input, wanted)
    if 0 in lengths or min(wanted) < 1:
        raise ValueError(f"interpolate: input and output need positions, got {lengths} and {wanted}")
    for axis, (own, other, scale) in enumerate(zip(lengths, wanted, scales, strict=True), 2):
        if (own, scale) != (other, 1.0):
            input = resampled(input, axis, TAPS[mode](own, other, scale, bool(align_corners)))
    return input


def check_mode(input: Tensor, mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in AXES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(map(repr, AXES))}, got {mode!r}")
    if input.ndim - 2 not in AXES[mode]:
        axes = " or ".join(str(n + 2) for n in AXES[mode])
        raise ValueError(
            f"interpolate: mode {mode!r} takes an input with {axes} axes, (N, C, positions), got shape "
            f"{tuple(input.shape)}"
        )
    if align_corners is not None and AXES[mode] == (1, 2, 3):
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    if antialias:
        raise ValueError("interpolate: antialias is not offered")


def resized(
    lengths: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], list[float]]:
    """The lengths of the output, and how long a step of it is in the input, per axis."""
    n = len(lengths)
    if (size is None) == (scale_factor is None):
        which = "either" if size is None else "only one of"
        raise ValueError(f"{which} size or scale_factor should be defined")
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        wanted = per_axis("interpolate", "size", size, n)
        return wanted, [own / max(other, 1) for own, other in zip(lengths, wanted, strict=True)]
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * n
    if len(factors) != n:
        raise ValueError(f"interpolate: scale_factor must be a number or {n} of them, got {scale_factor!r}")
    wanted = tuple(floor(own * factor) for own, factor in zip(lengths, factors, strict=True))
    if recompute:
        return wanted, [own / max(other, 1) for own, other in zip(lengths, wanted, strict=True)]
    return wanted, [1 / factor for factor in factors]


def resampled(input: Tensor, axis: int, taps: Taps) -> Tensor:
    """The sum of the elements that the taps name on an axis."""
    xp, shape = input.__array_namespace__(), (-1,) + (1,) * (input.ndim - 1 - axis)

    def part(places: list[int], weights: list[float] | None) -> Tensor:
        taken: Tensor = agrad.take(input, xp.asarray(places, dtype=xp.int64), axis=axis)
        return taken if weights is None else taken * xp.reshape(xp.asarray(weights, dtype=input.dtype), shape)

    return reduce(add, (part(*tap) for tap in taps))


# --------------------------------------------------------------------------------------------- channels and positions


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels become positions: (..., C r r, H, W) becomes (..., C, H r, W r) (Shi et al. 2016).

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.pixel_shuffle(agrad.arange(4.0).reshape(4, 1, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: expected input of shape (..., C * {r * r}, H, W), got {tuple(input.shape)}")
    *lead, channels, high, wide = input.shape
    n = len(lead)
    parts = agrad.reshape(input, (*lead, channels // (r * r), r, r, high, wide))
    parts = agrad.permute_dims(parts, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return agrad.reshape(parts, (*lead, channels // (r * r), high * r, wide * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`: (..., C, H r, W r) becomes (..., C r r, H, W).

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.pixel_unshuffle(agrad.arange(4.0).reshape(1, 2, 2), 2).tolist()
    [[[0.0]], [[1.0]], [[2.0]], [[3.0]]]
    """
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        expected = f"(..., C, H * {r}, W * {r})"
        raise ValueError(f"pixel_unshuffle: expected input of shape {expected}, got {tuple(input.shape)}")
    *lead, channels, high, wide = input.shape
    n = len(lead)
    parts = agrad.reshape(input, (*lead, channels, high // r, r, wide // r, r))
    parts = agrad.permute_dims(parts, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return agrad.reshape(parts, (*lead, channels * r * r, high // r, wide // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of all groups in turn: of (N, g k, ...), seen as g rows of k channels, the transpose.

    Examples
    --------
    >>> import agrad
    >>> import agrad.nn.functional as F
    >>> F.channel_shuffle(agrad.arange(4.0).reshape(1, 4, 1), 2).tolist()
    [[[0.0], [2.0], [1.0], [3.0]]]
    """
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise ValueError(f"channel_shuffle: expected input of shape (N, C * {groups}, ...), got {tuple(input.shape)}")
    samples, channels, *positions = input.shape
    parts = agrad.reshape(input, (samples, groups, channels // groups, *positions))
    return agrad.reshape(agrad.moveaxis(parts, 1, 2), tuple(input.shape))
