# The profiler's seam: who is told of every kernel, and of every step of a walk, that ran.

from time import perf_counter_ns

cdef int live_profilings = 0    # while there are none, operations ask for no Mode on their account


@cython.final
cdef class Profiling:
    """Someone who measures: `ran(what, start, end, new)` is called after every kernel, with its Op, and every step of a walk, with its Node.

    `start` and `end` are `time.perf_counter_ns()`, `new` the Tensors whose memory was made in between.
    """
    cdef readonly object ran

    def __cinit__(self, ran):
        global live_profilings
        self.ran = ran
        live_profilings += 1

    def __dealloc__(self):
        global live_profilings
        live_profilings -= 1


@cython.final
cdef class TimedKernel:
    """A kernel that tells the one who measures."""
    cdef Op op
    cdef Backend backend
    cdef object kernel

    def __call__(self, *args, **kwargs):
        cdef Mode mode = current_mode()
        start = perf_counter_ns()
        out = self.kernel(*args, **kwargs)
        tell_ran(mode, self.op, start, perf_counter_ns(), new_arrays(self.backend, out, args))
        return out


cdef object timed_kernel(Op op, Backend backend):
    """The kernel of an op; timed if somebody measures here."""
    cdef TimedKernel timed
    kernel = kernel_of(op, backend)
    if backend.layered or current_mode().profiling is None:     # inside transforms the kernels on what is inside are timed
        return kernel
    timed = TimedKernel.__new__(TimedKernel)
    timed.op, timed.backend, timed.kernel = op, backend, kernel
    return timed


cdef int tell_ran(Mode mode, object what, object start, object end, tuple new) except -1:
    set_mode(mode.replace(profiling=None))
    try:
        (<Profiling>mode.profiling).ran(what, start, end, new)
    finally:
        set_mode(mode)
    return 0


cdef tuple new_arrays(Backend backend, object out, tuple args):
    """What a kernel returned that shares no memory with what it was given; arrays that cannot be written may as well be copies."""
    results = out if isinstance(out, (tuple, list)) else (out,)
    given = [arg for arg in args if is_array(backend, arg)]
    return tuple([wrap(backend, raw) for raw in results
                  if is_array(backend, raw) and not any([raw is arg or in_same_memory(backend, raw, arg) for arg in given])])


cdef int time_step(Walk walk, Step* step, Mode mode) except -1:
    """A step of a walk, measured; what it newly put into slots is what it made."""
    cdef Node node = <Node>step.node
    cdef Slot* slot
    incoming = [<uintptr_t>walk.slots[step.first_slot + k].g for k in range(n_slots(node))]
    empty = {walk.edges[step.first_edge + k]: k for k in range(node.n_edges)
             if walk.edges[step.first_edge + k] >= 0 and walk.slots[walk.edges[step.first_edge + k]].g == NULL}
    start = perf_counter_ns()
    set_mode(mode.replace(profiling=None))      # what a rule computes counts as the rule's
    try:
        walk.watch_or_run(step, current_mode())
    finally:
        set_mode(mode)
    end = perf_counter_ns()
    new = {}
    for number in empty:
        slot = &walk.slots[<int>number]
        if slot.g != NULL and <uintptr_t>slot.g not in incoming:
            sent = <object>slot.g
            new[<uintptr_t>slot.g] = sent if isinstance(sent, Tensor) else wrap(backend_of_edge(node, empty[number]), sent)
    return tell_ran(mode, node, start, end, tuple(new.values()))


cdef inline int n_slots(Node node):
    return node.details.n_outputs if node.details is not None and node.details.several else 1
