"""SciPy's optimisers with derivatives from agrad, for parameters in any nest of containers and on any backend.

Must know no backend and no rule.
"""

from agrad.optimize.solvers import least_squares, minimize, root

__all__ = ["least_squares", "minimize", "root"]
