"""The length and the friction of a pendulum, found from noisy measurements of its angle, through an ODE solver.

The solver, Runge and Kutta's method of fourth order, is a dozen lines of ordinary code. What it computes is compared
with the measurements, and SciPy's trust-region Newton method minimises the mean square; value, gradient, and the
products of the Hessian with vectors that it asks for, come through all steps of the solver. The Hessian at the end also
says how certain the answer is.

It prints the parameters at each iteration, at the end with their standard errors, and takes about 1 s on NumPy.

    python examples/pendulum.py [--backend torch] [--steps 120] [--seed 0]
"""

import math
import time
from typing import NamedTuple

from training import options

import agrad

GRAVITY = 9.81                                  # m/s^2
TRUTH = {"length": 1.30, "friction": 0.25}      # m, 1/s
GUESS = {"length": 1.00, "friction": 0.05}
SECONDS, ANGLE, NOISE = 6.0, 1.2, 0.05          # of the measurement; of the pendulum at the start, in radians


def motion(state, parameters):
    """The derivative of angle and velocity by time."""
    angle, velocity = state
    force = -GRAVITY / parameters["length"] * agrad.sin(angle) - parameters["friction"] * velocity
    return velocity, force


def moved(state, slope, step):
    return tuple(x + step * dx for x, dx in zip(state, slope, strict=True))


def swing(parameters, steps):
    """The angles at equal times, from rest: Runge and Kutta's method."""
    h = SECONDS / steps
    state = agrad.tensor(ANGLE), agrad.tensor(0.0)
    angles = []
    for _ in range(steps):
        k1 = motion(state, parameters)
        k2 = motion(moved(state, k1, h / 2), parameters)
        k3 = motion(moved(state, k2, h / 2), parameters)
        k4 = motion(moved(state, k3, h), parameters)
        slope = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        state = moved(state, slope, h)
        angles.append(state[0])
    return agrad.stack(angles)


class Report(NamedTuple):
    found: dict[str, float]
    errors: dict[str, float]        # standard errors
    misfits: list[float]            # root mean squares, of each iteration
    iterations: int


def standard_errors(loss, parameters, n):
    """From the curvature of half a mean square, in units of the noise, where it is smallest."""
    names = list(parameters)

    def of_vector(vector):
        return loss(dict(zip(names, vector, strict=True)))

    point = agrad.stack([parameters[name] for name in names])
    covariance = agrad.linalg.inv(n * agrad.func.hessian(of_vector)(point))
    return dict(zip(names, agrad.sqrt(agrad.linalg.diagonal(covariance)).tolist(), strict=True))


def recover(measured):
    steps, misfits, start = len(measured), [], time.perf_counter()

    def loss(parameters):
        return 0.5 * agrad.mean(((swing(parameters, steps) - measured) / NOISE) ** 2)

    def tell(parameters):
        misfits.append(NOISE * math.sqrt(2 * loss(parameters).item()))
        values = "  ".join(f"{name} {value.item():.4f}" for name, value in parameters.items())
        print(f"iteration {len(misfits):2}  {values}  misfit {misfits[-1]:.4f}  {time.perf_counter() - start:4.1f} s")

    guess = {name: agrad.tensor(value) for name, value in GUESS.items()}
    found = agrad.optimize.minimize(loss, guess, method="trust-ncg", callback=tell)
    errors = standard_errors(loss, found.x, steps)
    return Report({name: value.item() for name, value in found.x.items()}, errors, misfits, found.nit)


def main(arguments=None):
    given = options(__doc__, arguments, steps=120)
    with agrad.use_backend(given.backend):
        truth = {name: agrad.tensor(value) for name, value in TRUTH.items()}
        angles = swing(truth, given.steps)
        report = recover(angles + NOISE * agrad.randn_like(angles))
        for name, value in report.found.items():
            print(f"{name:8} {value:.4f} +- {report.errors[name]:.4f}, and was {TRUTH[name]:.4f}")
        return report


if __name__ == "__main__":
    main()
