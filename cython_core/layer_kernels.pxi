# Kernels on values inside transforms: peel one level off the operands, run the op on what is inside, wrap the result. How an op maps tangents and
# batches is found above (install_transforms); elementwise ops of one or two arrays are computed here.

cdef object layered_kernel(Op op):
    """What computes an op on raw values of a level."""
    if op.layered_kernel_ is None:
        op.layered_kernel_ = new_builtin(op, op.name.rpartition(".")[2], "", <void*>call_layered)
    return op.layered_kernel_


cdef Level find_level(Level level, object raw):
    """The level of an op's operands: the one that still runs, if there are remains of another."""
    cdef Level other
    if type(raw) is not Layered:
        return level
    other = (<Layered>raw).level
    if other is None or other is level:
        return level
    if level is not None and level.alive and other.alive:
        raise RuntimeError("tensors of two transforms (vmap, jvp, ...) meet of which neither runs inside the other: a thread that a transform starts "
                           "knows nothing of it. Run the inner transform in a copy of the context: contextvars.copy_context().run(...)")
    return other if level is None or not level.alive else level


cdef object call_layered(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names):
    """The kernel of an op on a LayeredBackend."""
    cdef Op op = <Op>self
    cdef Level level = None
    cdef Py_ssize_t i, n_names = 0
    if names == NULL and nargs == op.operators:
        level = find_level(find_level(None, <object>args[0]), <object>args[nargs - 1])
        if level is not None and level.alive:
            result = dual_elementwise(op, level, <object>args[0], <object>args[1] if nargs == 2 else None) if not level.batch else (
                batch_elementwise(op, level, <object>args[0], <object>args[1] if nargs == 2 else None))
            if result is not None:
                return result
    values = list(op.defaults)
    given = [False] * op.n_params
    if op.spread >= 0:
        for i in range(op.spread):
            values[i], given[i] = <object>args[i], True
        values[op.spread], given[op.spread] = tuple([<object>args[i] for i in range(op.spread, nargs)]), True
    else:
        for i in range(nargs):
            values[i], given[i] = <object>args[i], True
    if names != NULL:
        n_names = PyTuple_GET_SIZE(<object>names)
    for i in range(n_names):
        k = position_of(op, PyTuple_GET_ITEM(<object>names, i))
        values[k], given[k] = <object>args[nargs + i], True
    level = None
    for i in range(op.n_params):
        kind = op.kinds[i]
        if kind == ARRAY or kind == ARRAY_OR_NONE or kind == INDEX:
            level = find_level(level, values[i])
        elif kind == ARRAYS or kind == KEY:
            for part in values[i] if type(values[i]) is tuple else (values[i],):
                level = find_level(level, part)
    if level is not None and level.batch:
        return run_batched(op, level, values)
    return run_dual(op, level, values, given)


cdef object peeled(object raw):
    """What is inside a raw operand; others as they are."""
    return value_of(<Layered>raw) if type(raw) is Layered else raw


cdef object run_inner(Op op, list values, list given):
    """The op on what is inside."""
    cdef PyObject* argv[MAX_PARAMS]
    cdef int i
    for i in range(op.n_params):
        argv[i] = <PyObject*>values[i] if given is None and values[i] is not REQUIRED or given is not None and given[i] else NULL
    if op is op_getitem and isinstance(values[0], Tensor):
        return get_item(<Tensor>values[0], values[1])
    return apply(op, argv)


cdef object run_dual(Op op, Level level, list values, list given):
    """A kernel at a forward-mode level, or on constants."""
    cdef int i
    cdef bint some = False
    cdef Layered part
    tangents = [None] * op.n_params
    for i in range(op.n_params):
        value = values[i]
        if type(value) is Layered:
            part = <Layered>value
            values[i] = value_of(part)
            if part.level is not None and part.level is level and op.kinds[i] in (ARRAY, ARRAY_OR_NONE):
                tangents[i] = part.tangent
                some = some or part.tangent is not None
        elif op.kinds[i] == ARRAYS:
            if level is not None:
                tangents[i] = tuple([(<Layered>v).tangent if type(v) is Layered and (<Layered>v).level is level else None for v in value])
                some = some or any([t is not None for t in tangents[i]])
            values[i] = tuple([peeled(v) for v in value])
        elif op.kinds[i] == KEY and type(value) is tuple:
            values[i] = tuple([peeled(v) for v in value])
    out = run_inner(op, values, given)
    if not some or not level.alive:
        return relayered(None, out, None)
    if current_mode().overrides is not None:
        forward = find_forward(op)
    else:
        if op.forward is None:
            op.forward = find_forward(op)
        forward = op.forward
    return relayered(level, out, forward(tuple(values), tuple(tangents), out))


cdef object relayered(Level level, object out, object tangents):
    """Results as raw values of a level."""
    if isinstance(out, Tensor):
        if tangents is None:
            return new_layered(level if level is not None and level.batch else None, <Tensor>out, None)
        return new_layered(level, <Tensor>out, <Tensor?>tangents)
    if isinstance(out, tuple) and out and isinstance(out[0], Tensor):
        parts = [relayered(level, out[i], tangents[i] if tangents is not None else None) for i in range(len(out))]
        return type(out)._make(parts) if hasattr(type(out), "_make") else tuple(parts)
    return out


cdef object run_batched(Op op, Level level, list values):
    """A kernel at a vmap level."""
    cdef int i
    batched = [False] * op.n_params
    for i in range(op.n_params):
        value = values[i]
        if type(value) is Layered:
            values[i], batched[i] = value_of(<Layered>value), is_batched(<Layered>value)
            if op.kinds[i] == KEY:
                values[i], batched[i] = (values[i],), (batched[i],)
        elif op.kinds[i] == ARRAYS or op.kinds[i] == KEY:
            parts = value if type(value) is tuple else (value,)
            batched[i] = tuple([type(v) is Layered and is_batched(<Layered>v) for v in parts])
            values[i] = tuple([peeled(v) for v in parts])
        elif value is REQUIRED:
            values[i] = None
    if op.batch is None:
        op.batch = find_batch(op)
    return relayered(level, op.batch(level.size, tuple(values), tuple(batched)), None)


cdef inline Py_ssize_t rank_inside(object raw):
    """Axes of an operand, the batch included; scalars have none."""
    return len(shape_of((<Layered>raw).value.backend, (<Layered>raw).value.raw)) if type(raw) is Layered else 0


cdef object batch_elementwise(Op op, Level level, object a, object b):
    """An elementwise op whose operands broadcast as they are; None for other cases."""
    cdef Py_ssize_t na, nb
    if op.signature.chapter != "elementwise":
        return None
    if b is None:
        out = unary(op, value_of(<Layered>a))
    else:
        na, nb = rank_inside(a), rank_inside(b)
        if not (na == nb if (type(a) is Layered and is_batched(<Layered>a)) == (type(b) is Layered and is_batched(<Layered>b))
                else na > nb if type(a) is Layered and is_batched(<Layered>a) else nb > na):
            return None
        out = binary(op, peeled(a), peeled(b))
    return new_layered(level, <Tensor?>out, None)


# ---- forward mode of elementwise ops

cdef object dual_elementwise(Op op, Level level, object a, object b):
    """Value and tangent of an op whose rule gives partial derivatives; None for other cases."""
    cdef Rule rule
    cdef Tensor ta = None, tb = None, tangent
    cdef object out
    mode = current_mode()
    if not op.resolved:
        resolve(op)
    rule = <Rule>(op.rule_ if mode.overrides is None else find_override(op, mode.overrides))
    if rule is None or not rule.partial:
        return None
    if type(a) is Layered and (<Layered>a).level is level:
        ta = (<Layered>a).tangent
    if b is not None and type(b) is Layered and (<Layered>b).level is level:
        tb = (<Layered>b).tangent
    a = peeled(a)
    if b is None:
        values = (a,)
        out = unary(op, <Tensor>a)
    else:
        b = peeled(b)
        values = (a, b)
        out = binary(op, a, b)
    tangent = None
    if ta is not None and rule.formulas[0] is not None:
        tangent = tangent_part(rule, <Formula>rule.formulas[0], values, ta, <Tensor>out)
    if tb is not None and rule.formulas[1] is not None:
        second = tangent_part(rule, <Formula>rule.formulas[1], values, tb, <Tensor>out)
        tangent = second if tangent is None else binary(op_add, tangent, second)
    if tangent is None:
        return new_layered(None, <Tensor>out, None)
    return new_layered(level, <Tensor>out, like_result(tangent, <Tensor>out))


cdef Tensor tangent_part(Rule rule, Formula formula, tuple values, Tensor t, Tensor out):
    """d * t for one operand."""
    if formula.constant_sign == 1:
        return t
    if formula.constant_sign == -1:
        return unary(op_negative, t)
    quiet = out.backend.quiet() if formula.kind == CALL else None
    if quiet is None:
        return binary(op_multiply, t, evaluate(formula, rule, values, None, out, None))
    with quiet:
        return binary(op_multiply, t, evaluate(formula, rule, values, None, out, None))


cdef Tensor like_result(Tensor t, Tensor out):
    """A tangent in its result's shape and dtype."""
    cdef Backend backend = t.backend
    if t.backend is out.backend and same_meta(backend, t.raw, out.raw):
        return t
    if backend.dtype_of(t.raw) != out.backend.dtype_of(out.raw):
        t = <Tensor>call_with(number_ops["astype"], (t, out.backend.dtype_of(out.raw)))
    if not same_shape(shape_of(t.backend, t.raw), shape_of(out.backend, out.raw)):
        t = <Tensor>call_with(number_ops["broadcast_to"], (t, out.shape))
    return t


def evaluate_formula(Formula formula not None, Rule rule not None, tuple values not None, g=None, out=None, needs=None):
    """The value of a formula on Tensors: `values` has one entry per parameter of the op.

    For rules of forward mode, which have no node to read saved values from. `g` may be a cotangent or a tangent.
    """
    return evaluate(formula, rule, values, g, out, needs)


cdef object evaluate(Formula formula, Rule rule, tuple values, object g, object out, object needs):
    cdef PyObject* argv[MAX_PARAMS]
    cdef int i, what
    if formula.kind == CONSTANT:
        return formula.constant
    like = out if isinstance(out, Tensor) else out[0] if isinstance(out, tuple) else g
    if formula.kind == VALUE:
        i = lowest_bit(formula.saves)
        return out if i == rule.op.n_params else operand_value(rule, values[i], like)
    held = []
    for i in range(formula.n_args):
        what = formula.what[i]
        if what == OF_G:
            value = g
        elif what == OF_OUT:
            value = out if formula.which[i] == 0 else out[formula.which[i] - 1]
        elif what == OF_SAVED:
            value = values[formula.which[i]]
            value = tuple([operand_value(rule, v, like) for v in value]) if type(value) is tuple else operand_value(rule, value, like)
        elif what == OF_STATIC:
            value = values[formula.which[i]]
        elif what == OF_LIKE:
            value = values[formula.which[i]]
            value = tuple([tensor_like(v, like) for v in value]) if type(value) is tuple else tensor_like(value, like)
        elif what == OF_XP:
            value = facade_of(values, like)
        else:
            value = needs
        held.append(value)
        argv[i] = <PyObject*>value
    return PyObject_Vectorcall(formula.function, argv, formula.n_args, NULL)


cdef object facade_of(tuple values, object like):
    for value in values:
        if isinstance(value, Tensor):
            return (<Tensor>value).backend.facade
    return (<Tensor>like).backend.facade


cdef object operand_value(Rule rule, object value, object like):
    """An operand as formulas read it: a Python scalar becomes a 0-d tensor of the result's dtype."""
    cdef Backend backend
    if not agrad_is_scalar(<PyObject*>value) or rule.scalars:
        return value
    backend = (<Tensor>like).backend
    return wrap(backend, backend.scalar(value, backend.dtype_of((<Tensor>like).raw), backend.device_of((<Tensor>like).raw)))


cdef object tensor_like(object value, object result):
    """Shape and dtype of an operand, making Tensors."""
    cdef Like like
    if value is None:
        return None
    if isinstance(value, Tensor):
        like = like_of((<Tensor>value).backend, (<Tensor>value).raw)
    else:
        like = like_of((<Tensor>result).backend, (<Tensor>result).raw)
        like.shape = ()
    like.tensors = True
    return like
