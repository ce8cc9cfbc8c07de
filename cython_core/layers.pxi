# Levels. Inside a forward-mode or vmap transform the raw value of a tensor is a Layered, "an array of another library": its kernels peel one
# level off the operands, run the same op on what is inside, and wrap the result. So recording, walks, views and writes need no rules of their
# own for levels.

cdef object find_forward = None         # installed: op -> tangents(values, tangents, out)
cdef object find_batch = None           # installed: op -> batched(size, values, batched)
cdef object make_namespace = None       # installed: backend -> names on raw values
cdef Rule lift_rule = None              # installed: the derivative of lifting into a level that stays connected


def install_transforms(forward_finder, batch_finder, namespace_maker, Rule rule not None):
    """Tell the engine how ops map tangents and batches, and how a namespace is made; called once by agrad.levels."""
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


cdef bint same_layered(object a, object b) except -1:
    """Whether two raw values of a level have the same shape and dtype."""
    if type(a) is not Layered or type(b) is not Layered:
        return False
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
        (<Backend>self).inner = base

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
        out.view_ = untracked_view(t.view_)
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


cdef int deepen(Op op, Tensor t, Backend backend, bint tracks) except -1:
    """A tensor that a value of a deeper level is about to be written into becomes one of that level."""
    cdef Tensor before, after, base
    cdef Mode mode = current_mode()
    base = t.view_.base if t.view_ is not None else t
    check_writable(t, mode, tracks)
    if base.flags & TRACKED and base.node is None:
        raise RuntimeError("a value inside a transform (vmap, jvp, ...) is written into a leaf that requires grad; write into a clone() of it")
    if t.view_ is not None and not t.view_.detached and Py_REFCNT(<PyObject*>t.cell) == 2:     # the base's and this view's, nobody else's
        base = t.view_.base
        base.cell, base.seen, t.cell = None, 0, None
        deepen(op, base, backend, tracks)
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


cdef int deepen_for(Op op, Tensor t, PyObject** argv, bint tracks) except -1:
    """`deepen` where an operand of an in-place operation asks for it."""
    cdef int i
    for i in range(1, op.n_params):
        if argv[i] != NULL and isinstance(<object>argv[i], Tensor) and (<Tensor><object>argv[i]).backend.adopts > t.backend.adopts:
            deepen(op, t, (<Tensor><object>argv[i]).backend, tracks)
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
