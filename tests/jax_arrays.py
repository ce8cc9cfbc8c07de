"""What the tests of the JAX backend share: JAX itself, 64-bit numbers, arrays, and programs that compile fast."""

from functools import cache
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install 'agrad[jax]'")
jnp = jax.numpy
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

# Compiling is what these tests wait for; programs that run once need no fast code.
UNOPTIMISED = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


@cache
def compiler_options() -> dict[str, Any] | None:
    """Options under which programs compile several times faster; None where JAX knows others by now."""
    try:
        jax.jit(lambda x: x, compiler_options=UNOPTIMISED)(0.0)
    except Exception:
        return None
    return UNOPTIMISED


def jit(function: Any) -> Any:
    """`jax.jit`, quick to compile."""
    return jax.jit(function, compiler_options=compiler_options())


def raw(data: Any) -> Any:
    """A jax array."""
    return jnp.asarray(np.asarray(data))


def same(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    """Raise unless the arrays of two sequences agree."""
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=rtol, atol=1e-14)
