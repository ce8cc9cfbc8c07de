# All scoped state is one immutable Mode in one context variable: right in threads and in asyncio tasks, one read per operation.

cdef object UNCHANGED = object()

cdef int live_saved_hooks = 0      # pairs of functions that some Mode may hold: while there are none, saving asks for no Mode

cdef class SavedHooks:
    """What saved values are packed and unpacked with: two functions, or a message that refuses them."""

    def __cinit__(self, pack=None, unpack=None, *, refusal=None):
        global live_saved_hooks
        self.pack, self.unpack, self.refusal = pack, unpack, refusal
        live_saved_hooks += 1

    def __dealloc__(self):
        global live_saved_hooks
        live_saved_hooks -= 1


cdef class Mode:
    """Scoped state of the engine; immutable, `replace` makes a changed copy."""

    def __cinit__(self):
        self.grad = True

    def replace(self, *, grad=UNCHANGED, inference=UNCHANGED, anomaly=UNCHANGED, backend=UNCHANGED, device=UNCHANGED,
                on_saved_write=UNCHANGED, saved_hooks=UNCHANGED, levels=UNCHANGED, overrides=UNCHANGED,
                callbacks=UNCHANGED, walk=UNCHANGED, tracing=UNCHANGED, profiling=UNCHANGED, zero_stays_zero=UNCHANGED,
                deriving=UNCHANGED):
        """A copy with some fields changed."""
        cdef Mode new = Mode.__new__(Mode)
        new.grad = self.grad if grad is UNCHANGED else grad
        new.inference = self.inference if inference is UNCHANGED else inference
        new.anomaly = self.anomaly if anomaly is UNCHANGED else anomaly
        new.backend = self.backend if backend is UNCHANGED else backend
        new.device = self.device if device is UNCHANGED else device
        new.on_saved_write = self.on_saved_write if on_saved_write is UNCHANGED else on_saved_write
        new.saved_hooks = self.saved_hooks if saved_hooks is UNCHANGED else saved_hooks
        new.levels = self.levels if levels is UNCHANGED else levels
        new.overrides = self.overrides if overrides is UNCHANGED else overrides
        new.callbacks = self.callbacks if callbacks is UNCHANGED else callbacks
        new.tracing = self.tracing if tracing is UNCHANGED else tracing
        new.profiling = self.profiling if profiling is UNCHANGED else profiling
        new.walk = self.walk if walk is UNCHANGED else walk
        new.zero_stays_zero = self.zero_stays_zero if zero_stays_zero is UNCHANGED else zero_stays_zero
        new.deriving = self.deriving if deriving is UNCHANGED else deriving
        new.special = new.inference or new.deriving
        return new


cdef object plain_mode = Mode.__new__(Mode)
cdef object mode_variable = PyContextVar_New("agrad_mode", <PyObject*>plain_mode)


cdef inline Mode current_mode():
    cdef PyObject* value = NULL
    PyContextVar_Get(mode_variable, NULL, &value)
    mode = <Mode>value
    Py_DECREF(mode)
    return mode


def get_mode():
    """The Mode in force here."""
    return current_mode()


def set_mode(Mode mode not None):
    """Put a Mode in force; callers put the previous object back themselves."""
    PyContextVar_Set(mode_variable, mode)


def is_grad_enabled():
    """Whether operations on tracked tensors are recorded.

    Examples
    --------
    >>> import agrad
    >>> agrad.is_grad_enabled()
    True
    """
    return current_mode().grad


def is_inference_mode_enabled():
    """Whether the program is inside `inference_mode`.

    Examples
    --------
    >>> import agrad
    >>> agrad.is_inference_mode_enabled()
    False
    """
    return current_mode().inference
