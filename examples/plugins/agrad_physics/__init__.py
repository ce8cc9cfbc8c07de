"""The ops `physics.*`: pair energies of particles, and occupations of states.

Formulas and generic kernels are written with the standard's functions only, so they run on every array library, and on
Tensors, which is what makes them differentiable again. This file must import no array library.
"""

from agrad.rules import RuleSet, case, values

rules = RuleSet("physics")


# ------------------------------------------------------------------------------------------------- occupation of states


def fermi(x, xp):
    """Occupation 1 / (exp(x) + 1) of a state at the energy x, in units of temperature, above the Fermi level."""
    return 0.5 - 0.5 * xp.tanh(0.5 * x)  # exp(x) would overflow


rules.op("physics.fermi(x: array, /)").kernel("*", fermi)
rules.elementwise("physics.fermi", x=lambda out: out * (out - 1))


# ------------------------------------------------------------------------------------------------------- pair energies


def lennard_jones(positions, epsilon, sigma, xp):
    """Lennard-Jones energy of n particles: 4 epsilon ((sigma/r)^12 - (sigma/r)^6), summed over all pairs.

    Parameters
    ----------
    positions : array, shape (..., n, d)
        One configuration, or several.
    epsilon, sigma : float or array
        Depth of the well and the distance of zero energy; numbers, or symmetric (..., n, n) arrays, one value per pair.

    Returns
    -------
    array, shape (...)
    """
    _, squared, distinct = pairs(positions, positions, xp)
    sixth = (sigma * sigma / squared) ** 3
    return xp.sum(2 * epsilon * distinct * (sixth * sixth - sixth), axis=(-2, -1))  # each pair is there twice


def pairs(positions, like, xp):
    """Vectors between all particles, their squared lengths (one on the diagonal), and which are between two of them."""
    apart = xp.expand_dims(positions, axis=-2) - xp.expand_dims(positions, axis=-3)
    itself = xp.eye(like.shape[-2], dtype=like.dtype, device=like.device)
    return apart, xp.sum(apart * apart, axis=-1) + itself, 1 - itself


def lennard_jones_vjp(g, positions, positions_like, epsilon, sigma, xp, needs):
    """All three cotangents share the pairs. Those of epsilon and sigma are per pair; agrad sums what was broadcast."""
    apart, squared, distinct = pairs(positions, positions_like, xp)
    sixth = (sigma * sigma / squared) ** 3
    g = 2 * distinct * xp.expand_dims(g, axis=(-2, -1))
    slope = g * epsilon * (12 * sixth * sixth - 6 * sixth)  # sigma times the derivative by sigma

    def to_positions():
        pull = -slope / squared  # a step along `apart` changes log(r) by apart/r^2
        return xp.sum(xp.expand_dims(pull + xp.matrix_transpose(pull), axis=-1) * apart, axis=-2)

    return (
        to_positions() if needs[0] else None,
        g * (sixth * sixth - sixth) if needs[1] else None,
        slope / sigma if needs[2] else None,
    )


op = rules.op("physics.lennard_jones(positions: array, epsilon: array, sigma: array)")
op.kernel("*", lennard_jones)
op.kernel("numpy", "agrad_physics.numpy_kernels:lennard_jones")

TRIANGLE = values([[0.0, 0.0, 0.0], [1.1, 0.0, 0.1], [0.3, 1.2, 0.0]])
SQUARE = values([[0.0, 0.0], [1.1, 0.1], [0.0, 1.2], [1.3, 1.3]])  # in the plane
TWO_PAIRS = values([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.5, 0.0]]])

rules.general(
    "physics.lennard_jones",
    vjp=lennard_jones_vjp,
    complex=False,
    domain={"epsilon": (0.5, 1.5), "sigma": (0.9, 1.1)},
    samples=[
        case(TRIANGLE, 1.0, 1.0), case(TRIANGLE, (), 1.0), case(TRIANGLE, (), ()), case(TRIANGLE, (3, 3), (3, 3)),
        case(SQUARE, 1.0, (4, 4)), case(TWO_PAIRS, (), 1.0), case(TWO_PAIRS, (2, 1, 1), (2, 2)),
        case((1, 3), (), ()), case((0, 3), (), ()),
    ],
    note="Allen and Tildesley, Computer Simulation of Liquids, section 1.3",
)  # fmt: skip
