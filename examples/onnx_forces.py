"""A molecular potential with its forces, written as one ONNX file that any program can run.

The potential is written once, on Tensors. `agrad.autograd.grad` inside the exported function becomes part of the model,
so the file computes forces for any number of atoms and bonds, and who runs it needs ONNX Runtime and no automatic
differentiation. Here it is compared with agrad on NumPy at four sizes, and then drives a simulation on its own.

    python examples/onnx_forces.py [file]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime

import agrad

SPRING, LENGTH = 40.0, 1.12     # of a bond, in units of the Lennard-Jones well


class Forces(NamedTuple):
    """The names of the fields are those of the model's outputs."""

    energy: agrad.Tensor
    forces: agrad.Tensor


def potential(positions, bonds):
    """Lennard-Jones between all atoms, and a spring along each bond."""
    apart = agrad.expand_dims(positions, axis=1) - agrad.expand_dims(positions, axis=0)     # (atoms, atoms, 3)
    oneself = agrad.eye(positions.shape[0]) > 0
    inverse6 = agrad.where(oneself, 1.0, agrad.sum(apart * apart, axis=-1)) ** -3
    pairs = agrad.where(oneself, 0.0, 4 * (inverse6 * inverse6 - inverse6))
    along = positions[bonds[:, 0]] - positions[bonds[:, 1]]                                 # (bonds, 3)
    stretch = agrad.sqrt(agrad.sum(along * along, axis=-1)) - LENGTH
    return 0.5 * agrad.sum(pairs) + 0.5 * SPRING * agrad.sum(stretch * stretch)


def energy_and_forces(positions, bonds):
    energy = potential(positions, bonds)
    (slope,) = agrad.autograd.grad(energy, positions)
    return Forces(energy, -slope)


def chain(atoms, seed=0):
    """Atoms along a helix, each bonded to the next."""
    turn = np.arange(atoms) * 0.9
    helix = np.stack([np.cos(turn), np.sin(turn), 0.55 * turn], axis=1) * 1.15
    noise = np.random.default_rng(seed).normal(scale=0.03, size=helix.shape)
    return helix + noise, np.stack([np.arange(atoms - 1), np.arange(1, atoms)], axis=1)


def export(path):
    positions, bonds = chain(5)     # gives dtypes and numbers of axes; the lengths are open
    return agrad.export.onnx(
        energy_and_forces, (agrad.tensor(positions, requires_grad=True), bonds), path,
        dynamic_axes={"positions": {0: "atoms"}, "bonds": {0: "pairs"}},
    )


def milliseconds(function, repetitions=20):
    start = time.perf_counter()
    for _ in range(repetitions):
        function()
    return (time.perf_counter() - start) / repetitions * 1e3


def compare(session, atoms):
    """One line of the table, and the largest difference between the model and agrad."""
    positions, bonds = chain(atoms)
    leaf = agrad.tensor(positions, requires_grad=True)
    eager = energy_and_forces(leaf, bonds)
    energy, forces = session.run(None, {"positions": positions, "bonds": bonds})
    expected = eager.forces.numpy()
    error = max(abs(energy - eager.energy.item()) / max(1.0, abs(energy)), np.abs(forces - expected).max())
    of_agrad = milliseconds(lambda: energy_and_forces(leaf, bonds))
    of_model = milliseconds(lambda: session.run(None, {"positions": positions, "bonds": bonds}))
    print(f"{atoms:6} {eager.energy.item():14.8f} {energy:14.8f} {error:12.1e} {of_agrad:9.2f} {of_model:9.2f}")
    return error


def simulate(session, atoms=13, steps=2000, step=0.002):
    """Velocity Verlet with the forces of the file alone; returns how far the total energy drifted."""
    positions, bonds = chain(atoms)
    velocities = np.random.default_rng(1).normal(scale=0.2, size=positions.shape)
    potential_energy, forces = session.run(None, {"positions": positions, "bonds": bonds})
    first = last = potential_energy + 0.5 * np.sum(velocities**2)
    for n in range(steps):
        velocities = velocities + 0.5 * step * forces
        positions = positions + step * velocities
        potential_energy, forces = session.run(None, {"positions": positions, "bonds": bonds})
        velocities = velocities + 0.5 * step * forces
        last = potential_energy + 0.5 * np.sum(velocities**2)
        if (n + 1) % (steps // 4) == 0:
            print(f"    t = {(n + 1) * step:4.1f}   potential {potential_energy:9.5f}   total {last:9.5f}")
    return abs(last - first)


def main(path):
    model = export(path)
    operators = len(model.graph.node)
    print(f"{Path(path).name}: {operators} operators, {Path(path).stat().st_size} bytes")
    session = onnxruntime.InferenceSession(path)
    for kind, values in (("takes", session.get_inputs()), ("gives", session.get_outputs())):
        print(f"    {kind} " + ", ".join(f"{value.name} {value.shape}" for value in values))
    print("\n atoms  energy, agrad  energy, model   difference  agrad/ms  model/ms")
    worst = max(compare(session, atoms) for atoms in (2, 3, 13, 100))
    assert worst < 1e-6, worst
    print("\n13 atoms, moved by the file alone:")
    drift = simulate(session)
    print(f"    the total energy drifted by {drift:.1e}")
    assert drift < 1e-2, drift


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(tempfile.mkdtemp(), "forces.onnx")))
