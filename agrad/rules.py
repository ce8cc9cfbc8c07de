"""How a differentiation rule is declared. This header is the whole specification of the form.

A **rule set** is one module-level `RuleSet`, named by an entry point of the group ``agrad.plugins``; the entry point's
name is the chapter of the standard, or the prefix (``physics`` for ``physics.*``), that the set owns. It is loaded when
one of its names is first used.

**One record per op** says everything about it: derivative, samples, special points, tolerances. The families:

    rules.elementwise("sin", x=lambda x, xp: xp.cos(x))       the holomorphic partial d; the engine forms g * conj(d)
    rules.select("maximum", x1=lambda x1, x2: x1 >= x2, ...)  a mask per input; where(mask, g, 0), ties shared equally
    rules.linear("permute_dims", x=lambda g, axes, xp: ...)   the transpose, per parameter; forward mode: the op itself
    rules.bilinear("matmul", x1=..., x2=...)                  a transpose per input
    rules.reduction("sum", x=...)                             a cotangent per input; axes go
    rules.general("linalg.det", vjp={"x": ...}, jvp=...)      a cotangent per input, or one function: a tuple of all
    rules.flat("floor", "round")                              tracked, gradient zero
    rules.not_differentiable("argmax", "equal")               results are not tracked
    rules.op("physics.lj(r: array, eps=1.0)")                 a new op, which the families then name; see `NewOp.kernel`

Every ``array`` parameter of the op must be given a formula, a number (a constant partial), or an explicit None (no
derivative).

**A formula's parameters say what it needs**, by name, and only that is saved:

    g            the cotangent of the result (a tuple with None for outputs that nobody used, if there are several)
    t            the tangent (in ``jvp`` only, where there is no g); in one function for several arrays a tuple of
                 theirs, None for those that do not move
    out          the result, a tuple if there are several; out0, out1, ...: one of several, when the others may be
                 overwritten
    NAME         any parameter of the op; arrays are saved because they are named, static ones cost nothing
    NAME_like    an array parameter without its memory: .shape .dtype .device .ndim .size .zeros() .ones() .full(v)
    xp           the namespace: the standard's names and every op under its public name
    needs        which array parameters want their gradient, a tuple of bool (for functions that return all)

It runs in two worlds: with the backend's arrays, or with Tensors when the walk itself is recorded. So it uses `xp`,
operators and `NAME_like` only, never branches on values, never reads ``.shape`` of an array that was saved, never
writes in place. The engine sums broadcast axes, casts to the parameter's dtype and takes the real part for real
parameters. A Python scalar operand arrives as a 0-d array of the result's dtype (``scalars=True``: as the number). A
variadic parameter (``array*``) arrives as a tuple; its formula returns one gradient per element. Indexing ops return
`scatter(x_like, key, g)`; where the gradient of a matrix is left^T right, `product(x_like, left, right)` adds it to
other uses of the matrix without making it first.

Formulas that are not holomorphic (abs, real, imag, conj) are linear or general, never elementwise.

**Forward mode follows from the family**: partial times tangent, the op itself on tangents, and so on. An op that is
affine says what it does with a tangent, ``linear_part=``, and a reduction that is linear says ``linear_part=True``.
Other reductions and general ops give ``jvp=``, a function of the tangent, or one for each array parameter in a
dictionary, whose results add up; of an op with several results it returns a tuple, None for integers. Results are
broadcast and cast as the op's result is. Forward mode is the transpose of reverse mode also where that goes by a
convention. Without a ``jvp`` the vjp is transposed, which takes several walks; ``once=True`` says that it cannot be,
because it is not made of differentiable ops.

**Batches (vmap) follow from the line**: elementwise and select ops broadcast, ``core=`` says which axes an op acts on,
axes and shapes of the one array that an op takes are counted from behind the batch. Where that is not enough, a record
has ``batch=``: "elementwise", or a function of any of the op's parameters, `xp`, `size` (how many samples) and
`batched` (a dict of the parameters that are batched: True, or for `array*` and `key` a bool for each part). The batch
is the first axis of what is batched, and must be that of every result. Other ops run once for each sample, with a
warning.

Further fields of a record: ``node`` (PyTorch's name of the graph node, or a function of (args, scalars)), ``view`` (the
result may share memory with the first argument; "itself": it is either that argument or new), ``complex`` (False: real
input only), ``domain``, ``samples``, ``special``, ``tol``, ``second`` (False: second order is not checked), ``note``.
Made with: `case`, `ints`, `mask`, `distinct`, `values`, `point`.

The parts: `agrad.records` (what is said of one op), `agrad.formulas` (compiling), `agrad.rule_set` (the families),
`agrad.loading` (entry points, owners, overrides). None of them may know a backend or a single rule.
"""

from agrad.cython_core.engine import product, scatter
from agrad.loading import PluginInfo, find, ops, override, plugins
from agrad.records import (
    Case,
    Point,
    Record,
    RuleError,
    case,
    definite,
    distinct,
    hermitian,
    ints,
    mask,
    point,
    regular,
    spread,
    values,
)
from agrad.rule_set import NewOp, RuleSet

__all__ = [
    "Case",
    "NewOp",
    "PluginInfo",
    "Point",
    "Record",
    "RuleError",
    "RuleSet",
    "case",
    "definite",
    "distinct",
    "find",
    "hermitian",
    "ints",
    "mask",
    "ops",
    "override",
    "plugins",
    "point",
    "product",
    "regular",
    "scatter",
    "spread",
    "values",
]
