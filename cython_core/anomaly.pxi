# Anomaly mode: every node remembers where the user's program made it, and a walk says which node failed or returned NaN.

@cython.final
cdef class Anomaly:
    """Anomaly mode in force: whether NaN is looked for, and whose rule makes the nodes that are made now."""
    cdef readonly bint check_nan
    cdef readonly Node parent

    def __cinit__(self, bint check_nan, Node parent=None):
        global live_anomalies
        self.check_nan, self.parent = check_nan, parent
        live_anomalies += 1

    def __dealloc__(self):
        global live_anomalies
        live_anomalies -= 1


cdef object user_stack = None           # installed: () -> the user's stack, as a list of lines
cdef object report_failure = None       # installed: (node) -> warn where a node that failed was made


def install_anomaly(stack, report):
    """Tell the engine how a stack is read and a failure reported; called once by agrad.autograd."""
    global user_stack, report_failure
    user_stack, report_failure = stack, report


cdef int note_origin(Node node) except -1:
    """Write into a new node's metadata where it was made."""
    anomaly = current_mode().anomaly
    if anomaly is None:
        return 0
    details = details_of(node)
    details.metadata = {"traceback_": user_stack()}
    if (<Anomaly>anomaly).parent is not None:
        details.metadata["parent_"] = (<Anomaly>anomaly).parent
    track_node(node)
    return 0


cdef inline Backend backend_of_edge(Node node, int k):
    """Where the gradient of an operand lives."""
    edge = edge_of(node, k)
    return node.backend if edge is None else (<Tensor>edge).backend if isinstance(edge, Tensor) else (<Node>edge).backend


cdef int check_nan(Node node, int k, Slot* slot) except -1:
    """Raise if what a node sent to its operand k is not a number."""
    cdef Backend backend = backend_of_edge(node, k)
    sent = [] if slot.g == NULL else [<object>slot.g]
    if slot.entries != NULL:
        sent.extend([(<Entry>waiting).g for waiting in <list>slot.entries])
    for g in sent:
        if has_nan((<Tensor>g).backend if isinstance(g, Tensor) else backend, (<Tensor>g).raw if isinstance(g, Tensor) else g):
            raise RuntimeError(f"Function '{name_of(node)}' returned nan values in its {k}th output.")
    return 0


cdef int pour(Slot* source, Slot* target, Backend backend) except -1:
    """Move what is in one slot to another."""
    cdef list entries
    if source.g != NULL:
        add_to_slot(target, backend, <object>source.g, False)
    if source.entries != NULL:
        entries = <list>source.entries
        for waiting in entries:
            add_entry(target, <Entry>waiting)
    return drop(source)


cdef bint has_nan(Backend backend, object raw) except -1:
    cdef Tensor inside
    while type(raw) is Layered:
        inside = (<Layered>raw).value
        backend, raw = inside.backend, inside.raw
    if agrad_is_scalar(<PyObject*>raw):
        return raw != raw
    if not backend.is_differentiable(raw):
        return False
    if not backend.lazy:
        return bool(backend.xp.any(backend.xp.isnan(raw)))
    try:
        return bool(backend.xp.any(backend.xp.isnan(raw)))
    except Exception:       # a value that is not known while the program runs
        return False
