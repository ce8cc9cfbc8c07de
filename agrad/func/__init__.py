"""Functions of functions: gradients, products with Jacobians, whole Jacobians, and mapping over a batch.

Each takes a function and gives a function, and they nest in any order. Must know no backend and no rule.
"""

from agrad.func.batching import vmap
from agrad.func.forward import jvp, linearize
from agrad.func.jacobians import hessian, jacfwd, jacrev
from agrad.func.modules import functional_call, stack_module_state
from agrad.func.reverse import grad, grad_and_value, vjp

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]
