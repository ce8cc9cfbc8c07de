# Levels. Inside a forward-mode or vmap transform the raw value of a tensor is a Layered, "an array of another library": its kernels peel one
# level off the operands, run the same op on what is inside, and wrap the result. So recording, walks, views and writes know nothing of levels.
# How an op maps tangents and batches is found above (install_transforms); the frequent elementwise cases are computed here.

cdef object find_forward = None         # installed: op -> tangents(values, tangents, out)
cdef object find_batch = None           # installed: op -> batched(size, values, batched)
cdef object make_namespace = None       # installed: backend -> names on raw values
cdef Rule lift_rule = None              # installed: the derivative of lifting into a level that stays connected


def install_transforms(forward_finder, batch_finder, namespace_maker, Rule rule not None):
    """Tell the engine how ops map tangents and batches, and how a namespace is made; called once by agrad.layers."""
    global find_forward, find_batch, make_namespace, lift_rule
    find_forward, find_batch, make_namespace, lift_rule = forward_finder, batch_finder, namespace_maker, rule
    rule.crosses = True


@cython.final
cdef class Level:
    """One running transform.

    Parameters
    ----------
    kind : str
        "dual" or "batch".
    depth : int
        How many transforms run, this one included.
    size : int, optional
        Length of the batch.
    randomness : str
        "error", "different" or "same".
    records : bool
        Whether tracked tensors stay connected to what is computed from them at this level: `forward_ad`.
    """

    def __init__(self, str kind, int depth, *, size=None, str randomness="error", bint records=False):
        self.kind, self.depth, self.size, self.randomness, self.records = kind, depth, size, randomness, records
        self.batch, self.alive = kind == "batch", True

    def __repr__(self):
        return f"<{'' if self.alive else 'finished '}{self.kind} level {self.depth}>"


@cython.final
cdef class Layered:
    """A value inside a transform: a tensor of an outer level, with its tangent, or whose first axis is a batch."""

    def __init__(self):
        raise TypeError("made by the engine")

    def __repr__(self):
        return f"<value of {self.level}>" if self.level is not None else "<constant>"


cdef inline Layered new_layered(Level level, Tensor value, Tensor tangent):
    cdef Layered new = Layered.__new__(Layered)
    synchronise(value)
    new.level, new.value, new.tangent = level, value, tangent
    new.seen = value.cell.version if value.cell is not None else 0
    return new


cdef inline bint is_batched(Layered layered):
    return layered.level is not None and layered.level.batch


cdef inline tuple layered_shape(Layered layered):
    if layered.shape is None:
        shape = shape_of(layered.value.backend, layered.value.raw)
        layered.shape = shape[1:] if is_batched(layered) else shape
    return <tuple>layered.shape


cdef inline object layered_dtype(Layered layered):
    return layered.value.backend.dtype_of(layered.value.raw)


cdef int same_layered(PyObject* a, PyObject* b) noexcept:
    """Whether two raw values of a level have the same shape and dtype."""
    if type(<object>a) is not Layered or type(<object>b) is not Layered:
        return 0
    return layered_dtype(<Layered>a) == layered_dtype(<Layered>b) and same_shape(layered_shape(<Layered>a), layered_shape(<Layered>b))


cdef Tensor value_of(Layered layered):
    """What is inside; an error if it was written to since."""
    cdef Tensor value = layered.value
    if value.cell is not None and value.cell.version != layered.seen:
        raise RuntimeError("a tensor that a transform (vmap, jvp, ...) is computing with has been modified by an inplace operation from outside; "
                           "give the transform a clone()")
    if is_batched(layered) and not layered.level.alive:
        raise RuntimeError("a tensor of a vmap that is finished cannot be used: it escaped from the function that was mapped. Return it instead.")
    return value


class LayeredBackend(Backend):
    """Tensors of a base backend inside `depth` transforms; immutable, and made into its own wherever it meets tensors of outer levels."""

    def __init__(self, base, int depth):
        self._set_types(base.name, Layered)
        self.base, self.depth = base, depth
        self.mutable, self.lazy, self.adopts = False, base.lazy, depth + 1
        self.facade, self.xp = base.facade, make_namespace(self)
        (<Backend>self).layered, (<Backend>self).devices = True, (<Backend>base).devices
        (<Backend>self).inner, (<Backend>self).speed.same = base, same_layered

    def __getattr__(self, name):
        return getattr(self.base, name)

    def shape_of(self, raw):
        return layered_shape(raw)

    def dtype_of(self, raw):
        return layered_dtype(raw)

    def device_of(self, raw):
        value = (<Layered?>raw).value
        return value.backend.device_of(value.raw)

    def to_dtype(self, dtype):
        return self.base.to_dtype(dtype)

    def to_device(self, device):
        return self.base.to_device(device)

    def neutral_dtype(self, raw):
        value = (<Layered?>raw).value
        return value.backend.neutral_dtype(value.raw)

    def is_differentiable(self, raw):
        value = (<Layered?>raw).value
        return value.backend.is_differentiable(value.raw)

    def is_complex(self, raw):
        value = (<Layered?>raw).value
        return value.backend.is_complex(value.raw)

    def is_complex_dtype(self, dtype):
        return self.base.is_complex_dtype(dtype)

    def scalar(self, value, dtype, device):
        return new_layered(None, wrap(self.base, self.base.scalar(value, dtype, device)), None)

    def zeros(self, shape, dtype, device):
        return new_layered(None, wrap(self.base, self.base.zeros(shape, dtype, device)), None)

    def full(self, shape, value, dtype, device):
        return new_layered(None, wrap(self.base, self.base.full(shape, value, dtype, device)), None)

    def copy(self, raw):
        return raw      # immutable

    def add_into(self, raw, value):
        return call_binary(op_add, self, raw, value)

    def scatter_add(self, raw, key, value):
        return kernel_of(number_ops["scatter_add"], self)(raw, key, value)

    def operand(self, value):
        if not is_array(self.base, value):
            value = self.base.operand(value)
            if value is NotImplemented or agrad_is_scalar(<PyObject*>value):
                return value
        self.base.reject_tracked(value)
        return new_layered(None, wrap(self.base, value), None)

    def key(self, value):
        return value if type(value) is Layered else self.base.key(value)

    def is_length(self, value):
        return self.base.is_length(value)

    def as_array(self, raw):
        value = value_of(raw)
        if is_batched(raw):
            raise RuntimeError(
                "inside vmap a tensor has a value for every sample, and none that Python could read: item(), bool(), numpy() and their like are not "
                "possible. Choose between results with where(condition, x, y), or leave the computation out of the function that is mapped.")
        return value.array

    def quiet(self):
        return self.base.quiet()

    def summary(self, raw):
        layered = <Layered?>raw
        if is_batched(layered):
            return f"batch of {layered.level.size}: {layered.value!r}"
        return self.base.summary(layered.value.raw) if type(layered.value.raw) is not Layered else repr(layered.value)

    def __reduce__(self):
        raise TypeError("a tensor inside a transform cannot be pickled or copied deeply")


cdef dict layered_backends = {}     # (number of the base backend, depth) -> LayeredBackend


cdef Backend layered_backend(Backend base, int depth):
    """The backend of tensors at a depth."""
    found = layered_backends.get((base.number, depth))
    if found is None:
        found = layered_backends.setdefault((base.number, depth), LayeredBackend(base, depth))
    return <Backend>found


cdef inline Backend base_of(Backend backend):
    return <Backend>backend.inner if backend.layered else backend


# ---- into a level and out of it

def wrap_level(Level level not None, Tensor value not None, Tensor tangent=None):
    """A tensor of a level: `value` with its tangent, or with the batch as first axis."""
    cdef Backend backend = layered_backend(base_of(value.backend), level.depth)
    cdef Tensor out
    synchronise(value)
    if tangent is not None:
        synchronise(tangent)
    out = wrap(backend, new_layered(level, value, tangent))
    return connected(out, value) if level.records else out


def unwrap_level(Level level not None, Tensor t not None):
    """(value, tangent) of a tensor of that level, None for one that is constant there."""
    cdef Layered layered
    synchronise(t)
    if type(t.raw) is not Layered or (<Layered>t.raw).level is not level:
        return None
    layered = <Layered>t.raw
    return value_of(layered), layered.tangent


def constant_of_level(Level level not None, Tensor t not None):
    """What a tensor that is constant at a level is outside of it: of an outer level, or a base tensor."""
    synchronise(t)
    while type(t.raw) is Layered and (<Layered>t.raw).level is None:
        t = (<Layered>t.raw).value
        synchronise(t)
    return t


def level_of(Tensor t not None):
    """The innermost level that a tensor depends on, None for base tensors."""
    synchronise(t)
    while type(t.raw) is Layered:
        if (<Layered>t.raw).level is not None:
            return (<Layered>t.raw).level
        t = (<Layered>t.raw).value
    return None


cdef Tensor connected(Tensor out, Tensor source):
    """`out`, recorded as computed from a tensor of an outer level, if that is tracked."""
    if current_mode().grad and source.flags & TRACKED:
        out.node = node_over(lift_rule, out.backend, source)
        out.flags |= TRACKED
    return out


cdef Tensor lifted(Op op, Backend backend, Tensor t):
    """A tensor of an outer level as a constant of a deeper one."""
    cdef Level level
    cdef int depth = 0
    cdef Tensor out
    if base_of(t.backend) is not base_of(backend):
        if t.backend.layered:
            raise mixed_backends(op, base_of(backend), base_of(t.backend))
        t = adopted(op, base_of(backend), t)
    synchronise(t)
    out = wrap(backend, new_layered(None, t, None))
    if t.flags & TRACKED:
        depth = t.backend.adopts - 1 if t.backend.layered else 0
        for level in current_mode().levels or ():
            if level.records and depth < level.depth < backend.adopts:
                return connected(out, t)
    return out


def lift(Tensor t not None):
    """A tensor as one of the innermost level that runs: constant there, unless it belongs to it."""
    cdef Level innermost
    levels = current_mode().levels
    if levels is None:
        return t
    innermost = <Level>levels[-1]
    return t if t.backend.adopts > innermost.depth else lifted(op_copy, layered_backend(base_of(t.backend), innermost.depth), t)


def alias(Tensor t not None):
    """The same value as another tensor: recorded if `t` is tracked, else free of history; shares the storage."""
    cdef Tensor out
    synchronise(t)
    out = wrap(t.backend, t.raw)
    if current_mode().grad and t.flags & TRACKED:
        out.node = node_over(<Rule>op_copy.rule, t.backend, t)
        out.flags |= TRACKED
    out.cell, out.seen = cell_of(t), t.seen
    if t.view_ is not None:
        out.flags |= PINNED
    return out


cdef Backend backend_of_key(Backend backend, object key):
    """The deepest backend of an array and the tensors in its key."""
    for part in key if type(key) is tuple else (key,):
        if isinstance(part, Tensor) and (backend is None or (<Tensor>part).backend.adopts > backend.adopts):
            backend = (<Tensor>part).backend
    return backend


cdef object for_key(Tensor t, object key):
    """A tensor that is about to be indexed, as deep as the tensors in the key."""
    backend = backend_of_key(t.backend, key)
    return t if backend is t.backend else adopted(op_getitem, backend, t)


cdef int deepen(Op op, Tensor t, Backend backend) except -1:
    """A tensor that a value of a deeper level is about to be written into becomes one of that level."""
    cdef Tensor before, after, base
    if t.view_ is not None and not t.view_.detached and Py_REFCNT(<PyObject*>t.cell) == 2:     # the base's and this view's: nobody else sees the write
        base = t.view_.base
        base.cell, base.seen, t.cell = None, 0, None
        deepen(op, base, backend)
        t.backend, t.cell, t.seen = backend, cell_of(base), UINT32_MAX
        t.node, t.number, t.flags = None, 0, t.flags & <uint8_t>~TRACKED
        return synchronise(t)
    if t.view_ is not None or (t.cell is not None and Py_REFCNT(<PyObject*>t.cell) > 1):
        raise RuntimeError("a value inside a transform (vmap, jvp, ...) is written into a tensor from outside that shares its memory with others; "
                           "write into a clone() of it")
    before = wrap(t.backend, t.raw)
    before.node, before.number, before.flags = t.node, t.number, t.flags
    after = adopted(op, backend, before)
    t.backend, t.raw, t.cell, t.seen = backend, after.raw, None, 0
    t.node, t.number, t.flags = after.node, after.number, after.flags
    return 0


cdef int deepen_for(Op op, Tensor t, PyObject** argv) except -1:
    """`deepen` where an operand of an in-place operation asks for it."""
    cdef int i
    for i in range(1, op.n_params):
        if argv[i] != NULL and isinstance(<object>argv[i], Tensor) and (<Tensor><object>argv[i]).backend.adopts > t.backend.adopts:
            deepen(op, t, (<Tensor><object>argv[i]).backend)
    return 0


cdef bint has_layers(object key):
    """Whether an index has a value inside a transform among its parts."""
    for part in key if type(key) is tuple else (key,):
        if type(part) is Layered or isinstance(part, Tensor) and (<Tensor>part).backend.layered:
            return True
    return False


cdef object with_tensors(Backend backend, object static):
    """A static argument as formulas read it: index arrays inside transforms become tensors."""
    if type(static) is Layered:
        return wrap(backend, static)
    if type(static) is tuple and has_layers(static):
        return tuple([with_tensors(backend, part) for part in static])
    return static


cdef object detached_raw(object raw):
    """A raw value without any derivative: neither tangents nor history at outer levels."""
    cdef Layered layered
    if type(raw) is not Layered:
        return raw
    layered = <Layered>raw
    return new_layered(layered.level if is_batched(layered) else None, layered.value.detach(), None)


cdef bint tracked_inside(object raw):
    """Whether a raw value depends on tensors of outer levels that are tracked."""
    cdef Layered layered
    if type(raw) is not Layered:
        return False
    layered = <Layered>raw
    if layered.value.flags & TRACKED or tracked_inside(layered.value.raw):
        return True
    return layered.tangent is not None and (layered.tangent.flags & TRACKED or tracked_inside(layered.tangent.raw))


def base_backend(Tensor t not None):
    """The adapter of the array library, inside transforms too."""
    return base_of(t.backend)


def tangent_of(Tensor t not None):
    """The tangent of a tensor at its own level, None if it has none."""
    synchronise(t)
    return (<Layered>t.raw).tangent if type(t.raw) is Layered and (<Layered>t.raw).level is not None and (<Layered>t.raw).level.alive else None


def map_inside(Tensor t not None, function):
    """The tensor of the same level with `function(tensor)` of what is inside in its place; untracked at its level."""
    cdef Layered old = <Layered?>t.raw
    cdef Tensor value = function(value_of(old))
    tangent = function(old.tangent) if old.tangent is not None else None
    return wrap(layered_backend(base_of(value.backend), t.backend.adopts - 1), new_layered(old.level, value, tangent))


def raw_value(Tensor t not None):
    """What a tensor keeps: the backend's array, a scalar that stands for one, or a value inside transforms."""
    synchronise(t)
    return t.raw


def tracks_inside(Tensor t not None):
    """Whether a tensor of a level depends on tracked tensors of outer levels."""
    return tracked_inside(t.raw)


cdef Tensor primal_at(Tensor t, Backend backend):
    """What a gradient that crossed into an outer level is there, without tangents."""
    while t.backend is not backend and type(t.raw) is Layered and not is_batched(<Layered>t.raw):
        t = value_of(<Layered>t.raw)
    return t


# ---- kernels

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
    return other if level is None or not level.alive else level


cdef object call_layered(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names):
    """The kernel of an op on a LayeredBackend."""
    cdef Op op = <Op>self
    cdef Level level = None
    cdef Layered a, b
    cdef Py_ssize_t i, n_names = 0
    cdef PyObject* inner[MAX_PARAMS]
    cdef Tensor out
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


cdef object peeled(Level level, object raw):
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
            values[i] = tuple([peeled(level, v) for v in value])
        elif op.kinds[i] == KEY and type(value) is tuple:
            values[i] = tuple([peeled(level, v) for v in value])
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
            values[i] = tuple([peeled(level, v) for v in parts])
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
        out = binary(op, peeled(level, a), peeled(level, b))
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
    a = peeled(level, a)
    if b is None:
        values = (a,)
        out = unary(op, <Tensor>a)
    else:
        b = peeled(level, b)
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
            value = out
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


def like_of_tensor(Tensor t not None):
    """Shape, dtype and device of a tensor, as rules get them under the name `x_like`."""
    return tensor_like(t, t)
