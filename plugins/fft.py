"""Rules of the chapter "fft": all are linear, and a transform's transpose is another transform.
Must not know any array library.

Of the discrete Fourier transform with lengths n the conjugate transpose is n times the inverse: `fft` and `ifft` carry
each other's cotangents, with the norms "backward" and "forward" exchanged. A transform first cuts its axes to n
elements or fills them up with zeros; its transpose does the opposite last.

Half a spectrum, n // 2 + 1 complex numbers for n real ones, leaves out the frequencies that are mirror images. An
inner frequency (all but the first and, for even n, the last) counts twice in the real numbers. So where the transpose
reads half a spectrum it halves the inner frequencies before, and where it makes one it doubles them after."""

from agrad.plugins import batches
from agrad.plugins.axes import normalise
from agrad.rules import RuleSet, case

rules = RuleSet("fft")

DUAL = {"backward": "forward", "ortho": "ortho", "forward": "backward", None: "forward"}


# ------------------------------------------------------------------------------------------------ lengths and weights


def transform_lengths(n, axes, x_like, from_half):
    """How many numbers each axis has in real space; `from_half`: the last axis of x holds half a spectrum."""
    lengths = [x_like.shape[axis] for axis in axes]
    if from_half:
        lengths[-1] = 2 * (lengths[-1] - 1)
    return lengths if n is None else [own if m == -1 else m for own, m in zip(lengths, n, strict=True)]


def weigh_inner(spectrum, weight, n, axis, x_like, xp):
    """Half a spectrum of n real numbers along an axis, its inner frequencies multiplied by a weight."""
    if n <= 2:
        return spectrum
    k = xp.arange(n // 2 + 1, device=x_like.device)
    inner = xp.reshape((k > 0) & (2 * k < n), (-1,) + (1,) * (x_like.ndim - 1 - axis))
    return xp.where(inner, weight * spectrum, spectrum)


def fit_axes(g, lengths, axes, x_like, xp):
    """Cut the axes of g, or fill them up with zeros, to the lengths that x had."""
    cut, fill = [slice(None)] * x_like.ndim, [(0, 0)] * x_like.ndim
    for axis, n in zip(axes, lengths, strict=True):
        cut[axis], fill[axis] = slice(None, x_like.shape[axis]), (0, max(0, x_like.shape[axis] - n))
    if any(n > x_like.shape[axis] for axis, n in zip(axes, lengths, strict=True)):
        g = xp.getitem(g, tuple(cut))
    return xp.pad(g, tuple(fill)) if any(after for _, after in fill) else g


# ---------------------------------------------------------------------------------------------------------- transposes


def transpose(back, g, n, axes, norm, x_like, xp, halves=False, doubles=False):
    """The cotangent of a transform whose transpose is `back`, but for lengths and weights."""
    axes = normalise(axes, x_like.ndim)
    lengths = transform_lengths(n, axes, x_like, doubles)
    if halves:
        g = weigh_inner(g, 0.5, lengths[-1], axes[-1], x_like, xp)
    if back.endswith("n"):
        g = getattr(xp.fft, back)(g, s=tuple(lengths), axes=axes, norm=DUAL[norm])
    else:
        g = getattr(xp.fft, back)(g, n=lengths[0], axis=axes[0], norm=DUAL[norm])
    if doubles:
        g = weigh_inner(g, 2.0, lengths[-1], axes[-1], x_like, xp)
        lengths[-1] = lengths[-1] // 2 + 1
    return fit_axes(g, lengths, axes, x_like, xp)


def along_axis(back, **weights):
    """The formula of a transform along one axis."""
    def formula(g, n, axis, norm, x_like, xp):
        return transpose(back, g, None if n is None else (n,), axis, norm, x_like, xp, **weights)

    return formula


def along_axes(back, **weights):
    """The formula of a transform along several axes."""
    def formula(g, s, axes, norm, x_like, xp):
        if axes is None and s is not None:
            axes = tuple(range(-len(s), 0))
        return transpose(back, g, s, axes, norm, x_like, xp, **weights)

    return formula


# ------------------------------------------------------------------------------------------------------------- samples

NORMS = [case((4,), norm=norm) for norm in ("ortho", "forward")] + [case((5,), norm="ortho", n=3)]
LINES = [
    case((5,)), case((4,)), case((2, 3)), case((2, 3), axis=0), case((3, 2, 2), axis=-2), case((0, 3)),
    case((3,), n=5), case((6,), n=4), case((2, 3), n=2, axis=0), case((2, 3), n=1), case((3,), n=2),
    case((5, 2), n=3, axis=0, norm="forward"), *NORMS,
]
SPACES = [
    case((4,)), case((2, 3)), case((3, 2, 2)), case((2, 0, 3), axes=(0, 2)), case((2, 3), axes=(-1, 0)),
    case((2, 3), axes=1), case((3, 2, 4), axes=(2, 0), norm="ortho"), case((2, 3), norm="forward"),
    case((2, 4), s=(3, 2), axes=(0, 1)), case((2, 3, 3), s=(2, 5)),
    case((3, 4), s=(-1, 3), axes=(1, 0)), case((3, 4), s=(3, -1)),
    case((3, 4), s=(5, 1), axes=(0, 1), norm="forward"), case((2, 3), s=(4,), axes=(0,)),
]
ONE = [case((1,)), case((2, 1))]


def node(real, other):
    """PyTorch's names differ for real and complex numbers."""
    return lambda args, scalars: other if "complex" in str(args[0].dtype) else real


# ---------------------------------------------------------------------------------------------------------- transforms

rules.linear(
    "fft.fft", x=along_axis("ifft"),
    node=node("FftR2CBackward0", "FftC2CBackward0"), samples=LINES + ONE,
)
rules.linear(
    "fft.ifft", x=along_axis("fft"),
    node=node("ConjBackward0", "FftC2CBackward0"), samples=LINES + ONE,
)
rules.linear(
    "fft.fftn", x=along_axes("ifftn"), batch=batches.fftn("fftn"), node="FftC2CBackward0", samples=SPACES,
)
rules.linear(
    "fft.ifftn", x=along_axes("fftn"), batch=batches.fftn("ifftn"), node="FftC2CBackward0", samples=SPACES,
)

rules.linear(
    "fft.rfft", x=along_axis("irfft", halves=True), complex=False,
    node="FftR2CBackward0", samples=LINES + ONE,
)
rules.linear(
    "fft.irfft", x=along_axis("rfft", doubles=True),
    node="FftC2RBackward0", samples=[*LINES, case((1,), n=1), case((3,), n=3), case((2, 2), n=3, axis=0)],
)
rules.linear(
    "fft.rfftn", x=along_axes("irfftn", halves=True), complex=False, batch=batches.fftn("rfftn"),
    node="FftR2CBackward0", samples=SPACES,
)
rules.linear(
    "fft.irfftn", x=along_axes("rfftn", doubles=True), batch=batches.fftn("irfftn"), node="FftC2RBackward0",
    samples=SPACES,
)
rules.linear(
    "fft.hfft", x=along_axis("ihfft", doubles=True),
    node="FftC2RBackward0", samples=[*LINES, case((1,), n=1), case((3,), n=3), case((2, 2), n=3, axis=0)],
)
rules.linear(
    "fft.ihfft", x=along_axis("hfft", halves=True), complex=False,
    node="ConjBackward0", samples=LINES + ONE,
)


# ----------------------------------------------------------------------------------------------- shifts and frequencies

SHIFTS = [
    case(()), case((5,)), case((4,)), case((2, 3)), case((3, 2), axes=0), case((2, 3, 5), axes=(-1, 0)), case((0, 3)),
]

rules.linear(
    "fft.fftshift", x=lambda g, axes, xp: xp.fft.ifftshift(g, axes=axes), node="RollBackward0", samples=SHIFTS,
)
rules.linear(
    "fft.ifftshift", x=lambda g, axes, xp: xp.fft.fftshift(g, axes=axes), node="RollBackward0", samples=SHIFTS,
)
rules.not_differentiable("fft.fftfreq", "fft.rfftfreq")
