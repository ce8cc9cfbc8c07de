# What explains a graph: someone who watches every operation (`graph.explain`), and the contents of a graph (`graph.report`).

cdef int live_tracings = 0      # while there are none, operations ask for no Mode on their account


@cython.final
cdef class Tracing:
    """Someone who watches: `saw(what, mode, operands, results)` is called after every operation, with an Op or the name of a method."""
    cdef readonly object saw

    def __cinit__(self, saw):
        global live_tracings
        self.saw = saw
        live_tracings += 1

    def __dealloc__(self):
        global live_tracings
        live_tracings -= 1


cdef int trace(object what, tuple operands, tuple results) except -1:
    """Tell the one who watches, if there is one here."""
    cdef Mode mode = current_mode()
    if mode.tracing is None:
        return 0
    set_mode(mode.replace(tracing=None))
    try:
        (<Tracing>mode.tracing).saw(what, mode, operands, results)
    finally:
        set_mode(mode)
    return 0


def nodes_under(Tensor t not None):
    """(nodes, leaves) of the graph under a tensor."""
    cdef Node node
    synchronise(t)
    nodes, leaves, stack = {}, {}, [t.node if t.node is not None else t]
    while stack:
        found = stack.pop()
        if isinstance(found, Tensor):
            if (<Tensor>found).flags & TRACKED:
                leaves[id(found)] = found
        elif id(found) not in nodes:
            nodes[id(found)] = found
            node = <Node>found
            stack.extend([edge for edge in edges_of(node) if edge is not None])
    return list(nodes.values()), list(leaves.values())


def edges_of(Node node not None):
    """What a node sends gradients to: nodes, leaves, and None, one per array operand."""
    return tuple([edge_of(node, k) for k in range(node.n_edges)])


def likes_of(Node node not None):
    """Shape, dtype and device of each array operand that a node's edges lead to, None where they are the result's."""
    return tuple([like_of_edge(node, k) for k in range(node.n_edges)])


def rule_of_node(Node node not None):
    """The rule that a node runs."""
    return node.rule


def is_freed(Node node not None):
    """Whether a walk dropped what the node had saved."""
    return (node.flags & FREED) != 0


def has_hooks(Node node not None):
    """Whether a node has hooks, of its own or of its results."""
    cdef Details details = node.details
    return details is not None and bool(details.prehooks or details.posthooks or any((details.hooks or {}).values()))


def kept_arrays(Node node not None):
    """The arrays that a node keeps, as pairs (storage or array, Tensor). What hooks have packed is not known."""
    cdef Details details = node.details
    kept = []
    note_kept(node.backend, node.saved0, node.cell0, kept)
    note_kept(node.backend, node.saved1, node.cell1, kept)
    if details is not None:
        for saved in details.saved or ():
            if type(saved) is Saved:        # a user's function may save None, and packed values
                note_kept(node.backend, (<Saved>saved).raw, (<Saved>saved).cell, kept)
        for saved in details.guards or ():
            note_kept(node.backend, (<Saved>saved).raw, (<Saved>saved).cell, kept)
    return kept


cdef int note_kept(Backend backend, object raw, Cell cell, list kept) except -1:
    if type(raw) is tuple:
        for part in <tuple>raw:
            if type(part) is Saved:
                note_kept(backend, (<Saved>part).raw, (<Saved>part).cell, kept)
    elif raw is not None and type(raw) is not Packed and not agrad_is_scalar(<PyObject*>raw):
        kept.append((cell if cell is not None else raw, wrap(backend, raw)))
    return 0
