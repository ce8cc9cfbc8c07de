"""Kernels for NumPy arrays, imported when the first of them is needed."""

import numpy as np


def lennard_jones(positions, epsilon, sigma):
    """The generic kernel, without its (n, n, d) array and with its (n, n) arrays written in place."""
    inverse = np.zeros((*positions.shape[:-1], positions.shape[-2]), dtype=np.result_type(positions, 0.0))
    for x in np.moveaxis(positions, -1, 0):
        apart = x[..., :, None] - x[..., None, :]
        inverse += np.multiply(apart, apart, out=apart)
    np.einsum("...ii->...i", inverse)[...] = np.inf  # a view of the diagonal: nobody is a pair with itself
    np.reciprocal(inverse, out=inverse)
    ratio = np.multiply(inverse, sigma * sigma)
    sixth = ratio * ratio
    sixth *= ratio
    terms = sixth - 1
    terms *= sixth
    if np.ndim(epsilon) == 0:
        return 2 * epsilon * np.sum(terms, axis=(-2, -1))
    return 2 * np.sum(terms * epsilon, axis=(-2, -1))
