# Plan and walk. The plan is made in C memory and runs no Python, so nothing can change the graph or an index while it is made;
# the walk then reads like: take the gradient, run the hooks, call the rule, make it fit, accumulate. Note: docs/architecture.md, "The plan".

cdef struct Step:           # one node of the plan
    PyObject* node          # borrowed: Walk.held keeps the graph alive
    uint64_t sequence
    int32_t first_slot      # one slot per output
    int32_t first_edge      # position of its edges in Walk.edges
    int32_t closing         # first leaf that is complete after this step, or -1
    uint8_t needed          # its rule must run
    uint8_t captured        # one of its outputs was asked for

cdef struct Leaf:
    PyObject* tensor        # borrowed
    int32_t slot
    int32_t last            # last step that feeds it, or -1
    int32_t next            # next leaf that closes after the same step, or -1
    uint8_t wanted


cdef int by_sequence(const void* a, const void* b) noexcept nogil:
    cdef uint64_t x = (<Step*>a).sequence, y = (<Step*>b).sequence
    return (x < y) - (x > y)


@cython.final
cdef class Walk:
    """One traversal: its plan, its slots, and what was asked for."""
    cdef Step* steps
    cdef Leaf* leaves
    cdef Slot* slots
    cdef int32_t* edges             # slot that each edge feeds, or -1
    cdef int n_steps, n_leaves, n_slots, n_edges
    cdef int room_steps, room_leaves, room_stack
    cdef PyObject** stack           # nodes found but not yet in the plan, borrowed
    cdef bint retain, create_graph, accumulate
    cdef bint tensors               # rules run in the Tensor world: the walk is recorded, or there are values inside transforms
    cdef bint others                # there are leaves that are not among the inputs
    cdef bint keeps_zeros           # a cotangent of zero stays zero where it meets an infinity
    cdef int first_scratch          # in anomaly mode: where a node's edges send to
    cdef int closing_first          # leaves that are roots themselves
    cdef int32_t* root_slots        # slots of the roots, then of the inputs
    cdef dict captured              # slot -> gradient
    cdef tuple held                 # nodes of the roots: a hook may give a root another history
    cdef object __weakref__

    def __dealloc__(self):
        cdef int i
        if self.slots != NULL:
            for i in range(self.n_slots):
                drop(&self.slots[i])
        PyMem_Free(self.steps)
        PyMem_Free(self.leaves)
        PyMem_Free(self.slots)
        PyMem_Free(self.edges)
        PyMem_Free(self.root_slots)
        PyMem_Free(self.stack)

    # ---- the plan

    cdef int plan(self, tuple roots, tuple inputs) except -1:
        """Everything that uses `index`: allocates no Python object, so that no other walk can start meanwhile."""
        cdef Tensor t
        cdef int i, n = len(roots)
        for i in range(n):
            t = <Tensor>roots[i]
            if t.node is not None:
                self.collect(t.node)
            elif not self.has_leaf(t):
                self.add_leaf(t)
        self.order()
        self.lay_out()
        if inputs is not None:
            self.prune(inputs)
        self.note_closings()
        self.root_slots = <int32_t*>PyMem_Malloc((n + (0 if inputs is None else len(inputs)) + 1) * sizeof(int32_t))
        if self.root_slots == NULL:
            raise MemoryError()
        for i in range(n):
            self.root_slots[i] = self.slot_of(<Tensor>roots[i])
        if inputs is not None:
            for i in range(len(inputs)):
                self.root_slots[n + i] = self.slot_of(<Tensor>inputs[i])
        return 0

    cdef inline bint has_node(self, Node node):
        return node.index < <uint32_t>self.n_steps and self.steps[node.index].node == <PyObject*>node

    cdef inline bint has_leaf(self, Tensor leaf):
        return leaf.index < <uint32_t>self.n_leaves and self.leaves[leaf.index].tensor == <PyObject*>leaf

    cdef int add_node(self, Node node) except -1:
        if self.n_steps == self.room_steps:
            self.room_steps = 2 * self.room_steps + 64
            grown = PyMem_Realloc(self.steps, self.room_steps * sizeof(Step))
            if grown == NULL:
                raise MemoryError()
            self.steps = <Step*>grown
        cdef Step* step = &self.steps[self.n_steps]
        memset(step, 0, sizeof(Step))
        step.node, step.sequence, step.closing = <PyObject*>node, node.sequence, -1
        node.index = self.n_steps
        self.n_steps += 1
        self.n_edges += node.n_edges
        return 0

    cdef int add_leaf(self, Tensor leaf) except -1:
        if self.n_leaves == self.room_leaves:
            self.room_leaves = 2 * self.room_leaves + 16
            grown = PyMem_Realloc(self.leaves, self.room_leaves * sizeof(Leaf))
            if grown == NULL:
                raise MemoryError()
            self.leaves = <Leaf*>grown
        cdef Leaf* entry = &self.leaves[self.n_leaves]
        entry.tensor, entry.last, entry.next, entry.wanted = <PyObject*>leaf, -1, -1, 1
        leaf.index = self.n_leaves
        self.n_leaves += 1
        return 0

    cdef int collect(self, Node root) except -1:
        """Add every node and leaf under a root, depth first, last operand first: most programs are then in order already."""
        cdef int i, depth = 1
        cdef Node node
        cdef object edge
        self.make_room(1)
        self.stack[0] = <PyObject*>root
        while depth:
            depth -= 1
            node = <Node>self.stack[depth]
            if self.has_node(node):
                continue
            self.add_node(node)
            self.make_room(depth + node.n_edges)
            for i in range(node.n_edges):
                edge = edge_of(node, i)
                if edge is None:
                    continue
                if type(edge) is Node:
                    if not self.has_node(<Node>edge):
                        self.stack[depth] = <PyObject*>edge
                        depth += 1
                elif (<Tensor>edge).flags & TRACKED and not self.has_leaf(<Tensor>edge):
                    self.add_leaf(<Tensor>edge)
        return 0

    cdef inline int make_room(self, int n) except -1:
        if n > self.room_stack:
            self.room_stack = 2 * n + 64
            grown = PyMem_Realloc(self.stack, self.room_stack * sizeof(PyObject*))
            if grown == NULL:
                raise MemoryError()
            self.stack = <PyObject**>grown
        return 0

    cdef int order(self) except -1:
        """Sort the steps by creation, latest first; chains are found in that order."""
        cdef int i
        for i in range(1, self.n_steps):
            if self.steps[i - 1].sequence < self.steps[i].sequence:
                qsort(self.steps, self.n_steps, sizeof(Step), by_sequence)
                break
        for i in range(self.n_steps):
            (<Node>self.steps[i].node).index = i
        return 0

    cdef int lay_out(self) except -1:
        """Give every output and leaf a slot, and every edge the number of the slot that it feeds."""
        cdef int i, k, n = 0
        cdef Node node
        cdef Step* step
        cdef object edge
        for i in range(self.n_steps):
            node = <Node>self.steps[i].node
            self.steps[i].first_slot = self.n_slots
            self.n_slots += 1 if node.details is None else node.details.n_outputs
        for i in range(self.n_leaves):
            self.leaves[i].slot = self.n_slots + i
        self.n_slots += self.n_leaves
        self.slots = <Slot*>PyMem_Malloc((self.n_slots + 1) * sizeof(Slot))
        self.edges = <int32_t*>PyMem_Malloc((self.n_edges + 1) * sizeof(int32_t))
        if self.slots == NULL or self.edges == NULL:
            self.n_slots = 0
            raise MemoryError()
        memset(self.slots, 0, (self.n_slots + 1) * sizeof(Slot))
        for i in range(self.n_steps):
            step = &self.steps[i]
            step.first_edge, step.needed = n, 1
            node = <Node>step.node
            for k in range(node.n_edges):
                edge = edge_of(node, k)
                self.edges[n] = -1
                if edge is None:
                    pass
                elif type(edge) is Node:
                    self.edges[n] = self.steps[(<Node>edge).index].first_slot + number_of(node, k)
                elif (<Tensor>edge).flags & TRACKED and self.has_leaf(<Tensor>edge):
                    self.edges[n] = self.leaves[(<Tensor>edge).index].slot
                    self.leaves[(<Tensor>edge).index].last = i
                n += 1
        return 0

    cdef int slot_of(self, Tensor t) except -2:
        """The slot of a tensor's gradient, -1 if the roots do not depend on it."""
        if t.node is not None:
            return self.steps[t.node.index].first_slot + t.number if self.has_node(t.node) else -1
        return self.leaves[t.index].slot if self.has_leaf(t) else -1

    cdef int prune(self, tuple inputs) except -1:
        """Keep only what leads to the inputs."""
        cdef int i, k
        cdef Tensor t
        cdef Node node
        cdef Step* step
        cdef object edge
        for i in range(self.n_leaves):
            self.leaves[i].wanted = 0
        for i in range(len(inputs)):
            t = <Tensor>inputs[i]
            if t.node is None:
                if self.has_leaf(t):
                    self.leaves[t.index].wanted = 1
            elif self.has_node(t.node):
                self.steps[t.node.index].captured = 1
                self.slots[self.slot_of(t)].captured = 1
        for i in range(self.n_leaves):
            self.others |= not self.leaves[i].wanted and (<Tensor>self.leaves[i].tensor).flags & TRACKED
        for i in range(self.n_steps - 1, -1, -1):
            step = &self.steps[i]
            node = <Node>step.node
            step.needed = 0
            for k in range(node.n_edges):
                edge = edge_of(node, k)
                if self.edges[step.first_edge + k] < 0:
                    continue
                if (self.steps[(<Node>edge).index].needed or self.slots[self.edges[step.first_edge + k]].captured if type(edge) is Node
                        else self.leaves[(<Tensor>edge).index].wanted):
                    step.needed = 1
                else:
                    self.edges[step.first_edge + k] = -1
        return 0

    cdef bint meets_code(self):
        """Whether hooks will run, which may bring in any tracked tensor, or users' functions that keep one."""
        cdef int i
        cdef Node node
        for i in range(self.n_steps):
            node = <Node>self.steps[i].node
            if node.flags & (HOOKED | WATCHED) or node.flags & CUSTOM and keeps_tracked(node):
                return True
        for i in range(self.n_leaves):
            if self.leaves[i].wanted and (<Tensor>self.leaves[i].tensor).state is not None and (<Tensor>self.leaves[i].tensor).state.hooks:
                return True
        return False

    cdef int note_closings(self) except -1:
        """List, for every step, the leaves that are complete after it."""
        cdef int i
        cdef Leaf* leaf
        self.closing_first = -1
        for i in range(self.n_leaves - 1, -1, -1):
            leaf = &self.leaves[i]
            if leaf.last < 0:
                leaf.next, self.closing_first = self.closing_first, i
            else:
                leaf.next, self.steps[leaf.last].closing = self.steps[leaf.last].closing, i
        return 0

    # ---- the walk

    cdef int run(self) except -1:
        """Latest node first; a leaf is complete right after the last node that feeds it."""
        cdef int i
        self.close_leaves(self.closing_first)
        mode = current_mode()
        if mode.anomaly is not None:
            self.add_scratch_slots()
        for i in range(self.n_steps):
            if self.steps[i].needed or self.steps[i].captured:
                if mode.profiling is None:
                    self.watch_or_run(&self.steps[i], mode)
                else:
                    time_step(self, &self.steps[i], mode)
            if self.steps[i].closing >= 0:
                self.close_leaves(self.steps[i].closing)
            if i & 1023 == 1023:
                PyErr_CheckSignals()
        return 0

    cdef inline int watch_or_run(self, Step* step, Mode mode) except -1:
        return self.run_step(step) if mode.anomaly is None else self.watch_step(step, mode)

    cdef int add_scratch_slots(self) except -1:
        """Make a slot for each edge of any node: in anomaly mode what a node sends is looked at before it is added to what is there."""
        cdef int i, n = 0
        for i in range(self.n_steps):
            n = max(n, (<Node>self.steps[i].node).n_edges)
        grown = PyMem_Realloc(self.slots, (self.n_slots + n + 1) * sizeof(Slot))
        if grown == NULL:
            raise MemoryError()
        self.slots = <Slot*>grown
        memset(&self.slots[self.n_slots], 0, (n + 1) * sizeof(Slot))
        self.first_scratch, self.n_slots = self.n_slots, self.n_slots + n
        return 0

    cdef int watch_step(self, Step* step, Mode mode) except -1:
        """A step in anomaly mode."""
        cdef int k
        cdef Node node = <Node>step.node
        targets = [self.edges[step.first_edge + k] for k in range(node.n_edges)]
        for k in range(node.n_edges):
            if self.edges[step.first_edge + k] >= 0:
                self.edges[step.first_edge + k] = self.first_scratch + k
        set_mode(mode.replace(anomaly=Anomaly((<Anomaly>mode.anomaly).check_nan, node)))
        try:
            self.run_step(step)
            for k in range(node.n_edges):
                if targets[k] >= 0 and (<Anomaly>mode.anomaly).check_nan:
                    check_nan(node, k, &self.slots[self.first_scratch + k])
        except Exception:
            report_failure(node)
            raise
        finally:
            set_mode(mode)
        for k in range(node.n_edges):
            if targets[k] >= 0:
                pour(&self.slots[self.first_scratch + k], &self.slots[<int>targets[k]], backend_of_edge(node, k))
        return 0

    cdef int run_step(self, Step* step) except -1:
        cdef Node node = <Node>step.node
        cdef bint owned = False
        cdef object g
        if node.details is not None and node.details.several:
            g = self.take_outputs(node, step)
        else:
            g = take(&self.slots[step.first_slot], node.backend, &owned)
            if g is not None and (node.flags & HOOKED or step.captured):
                g, owned = self.show(node, 0, step.first_slot, g), False
        if not step.needed or (g is None and not node.flags & CUSTOM):
            return 0
        if self.create_graph:
            track_node(node)        # the gradient's graph leads back to this node: a cycle, once .grad holds it
        if node.details is not None and node.details.guards is not None:
            check_guards(node)
        if node.flags & WATCHED:
            send_watched(self, node, step, g)
        else:
            self.send_any(node, step, g, owned)
        if not self.retain:
            release(node)
        return 0

    cdef object take_outputs(self, Node node, Step* step):
        """The gradients of several outputs, None for those that nobody sent; None if there are none at all."""
        cdef int k
        cdef bint owned = False
        cdef list gs = []
        for k in range(node.details.n_outputs):
            g = take(&self.slots[step.first_slot + k], node.backend, &owned)
            if g is not None and (node.flags & HOOKED or step.captured):
                g = self.show(node, k, step.first_slot + k, g)
            gs.append(g)
        return tuple(gs) if any([g is not None for g in gs]) else None

    cdef object show(self, Node node, int number, int slot, object g):
        """Hooks, `.grad` of tensors that retain it, and captures see a complete gradient."""
        if node.details is not None:
            if node.details.hooks is not None and node.details.hooks.get(number):
                g = run_hooks(node.backend, node.details.hooks[number], g)
            if node.details.retained is not None and number in node.details.retained:
                retain_gradient(<GradState>node.details.retained[number], node.backend, g)
        if self.slots[slot].captured:
            self.captured[slot] = g
        return g

    cdef inline int send_any(self, Node node, Step* step, object g, bint owned) except -1:
        if node.rule.joint is not None:
            return self.send_joint(node, step, g)
        return self.send(node, step, g, owned)

    cdef int send(self, Node node, Step* step, object g, bint owned) except -1:
        """One formula per operand that needs its gradient."""
        cdef Rule rule = node.rule
        cdef int k, slot
        cdef bint tensors, several, spare, new
        cdef object r
        tensors = self.tensors
        several = type(g) is tuple
        for k in range(node.n_edges):
            slot = self.edges[step.first_edge + k]
            if slot < 0:
                continue
            if rule.partial:
                spare = owned and Py_REFCNT(<PyObject*>g) == 1 and self.is_last(node, step, k) and not self.keeps_zeros
                r = partial_product(node, <Formula>rule.formulas[k], g, tensors, spare)
                if self.keeps_zeros and (<Formula>rule.formulas[k]).constant_sign == 0:
                    r = keep_zeros(node.backend.facade if tensors else node.backend.xp, g, r)
                new = owned and node.backend.counts_references if r is g else True
            elif (<Formula>rule.formulas[k]).kind == SCATTER:
                add_entry(&self.slots[slot], scatter_entry(node, &self.slots[slot], g, tensors))
                continue
            else:
                r = call_formula(node, <Formula>rule.formulas[k], g, tensors, None)
                if self.keeps_zeros:
                    r = keep_all_zeros(node.backend, g, r, tensors)
                new = False
            self.deliver(node, k, slot, r, None if several else g, tensors, new)
        return 0

    cdef inline bint is_last(self, Node node, Step* step, int k):
        """Whether no later operand needs the cotangent."""
        cdef int j
        for j in range(k + 1, node.n_edges):
            if self.edges[step.first_edge + j] >= 0:
                return False
        return True

    cdef int send_joint(self, Node node, Step* step, object g) except -1:
        """One formula for all operands."""
        cdef int k, slot
        cdef bint tensors = self.tensors
        if node.flags & CUSTOM:
            return self.send_custom(node, step, g)
        needs = tuple([self.edges[step.first_edge + k] >= 0 for k in range(node.n_edges)])
        results = call_formula(node, node.rule.joint, g, tensors, needs)
        if type(results) not in (tuple, list):
            results = (results,)
        if len(results) != node.n_edges:
            raise RuntimeError(f"{label_of(node, 0)} returned an incorrect number of gradients (expected {node.n_edges}, got {len(results)})")
        for k in range(node.n_edges):
            slot = self.edges[step.first_edge + k]
            if slot >= 0:
                r = keep_all_zeros(node.backend, g, results[k], tensors) if self.keeps_zeros else results[k]
                self.deliver(node, k, slot, r, g if type(g) is not tuple else None, tensors, False)
        return 0

    cdef int send_custom(self, Node node, Step* step, object gs) except -1:
        """A user's backward: it sees Tensors in either world."""
        cdef int k, slot
        cdef Tensor r
        results = custom_gradients(node, gs)
        for k in range(node.n_edges):
            slot = self.edges[step.first_edge + k]
            r = <Tensor>results[k]
            if slot >= 0 and r is not None:
                sent = r if self.tensors else r.raw
                if self.keeps_zeros and gs is not None:
                    sent = keep_all_zeros(r.backend, gs, sent, self.tensors)
                add_to_slot(&self.slots[slot], r.backend, sent, False)
        return 0

    cdef int deliver(self, Node node, int k, int slot, object r, object g, bint tensors, bint new) except -1:
        """Check a formula's result, make it fit, and add it to its slot."""
        if r is None:
            return 0
        if type(r) is Entry:
            return add_entry(&self.slots[slot], <Entry>r)
        if type(r) is Product:
            return self.deliver_product(node, k, slot, <Product>r, g, tensors)
        if node.rule.crosses:
            return add_to_slot(&self.slots[slot], backend_of_edge(node, k), r, False)
        if not tensors and not new and r is not g:
            new = node.backend.speed.fresh(<PyObject*>r) if node.backend.speed.fresh != NULL else node.backend.is_fresh(r)
        fitted = fit(node, k, r, g, tensors)
        return add_to_slot(&self.slots[slot], node.backend, fitted, new or (fitted is not r and not tensors))

    cdef int deliver_product(self, Node node, int k, int slot, Product product, object g, bint tensors) except -1:
        """A function of its own: assigning to the parameter of `deliver` would count as a reference to every array that goes through it."""
        made = add_product(&self.slots[slot], node.backend, product)
        return 0 if made is None else add_to_slot(&self.slots[slot], node.backend, fit(node, k, made, g, tensors), True)

    cdef list results(self, tuple inputs, int first, dict known):
        """The gradients of the inputs; where one array is given out twice (or was given in), the Tensors share its cell."""
        cdef int i
        found = []
        for i in range(0 if inputs is None else len(inputs)):
            g = self.captured.get(self.root_slots[first + i])
            if isinstance(g, Tensor) and not self.create_graph:
                g = wrap((<Tensor>g).backend, (<Tensor>g).raw)
            elif g is not None and not isinstance(g, Tensor):
                if id(g) in known:
                    g = (<Tensor>known[id(g)]).detach()
                else:
                    raw, g = g, wrap((<Tensor>inputs[i]).backend, g)
                    known[id(raw)] = g
            found.append(g)
        return found

    cdef int close_leaves(self, int i) except -1:
        while i >= 0:
            if self.leaves[i].wanted:
                self.close_leaf(<Tensor>self.leaves[i].tensor, self.leaves[i].slot)
            i = self.leaves[i].next
        return 0

    cdef int close_leaf(self, Tensor leaf, int slot) except -1:
        """All of a leaf's gradient is there: hooks, then `.grad` or the caller."""
        cdef bint owned = False
        g = take(&self.slots[slot], leaf.backend, &owned)
        if g is None:
            return 0
        state = grad_state(leaf)
        if state.hooks:
            g, owned = run_hooks(leaf.backend, state.hooks, g), False
        if not self.accumulate:
            self.captured[slot] = g
        elif state.accumulator is not None or state.post_hooks is not None:
            store_watched(leaf, state, g, owned)
        else:
            store_gradient(leaf, state, g, owned)
        return 0


cdef int check_guards(Node node) except -1:
    """Index tensors are read from `args`; a write to one since then is found here."""
    cdef Saved guard
    for guard in node.details.guards:
        check_version(node, guard.cell, guard.version, guard.raw, None, 0)
    return 0


cdef int retain_gradient(GradState state, Backend backend, object g) except -1:
    """`.grad` of a result: a new object at every walk."""
    cdef Tensor held = <Tensor>state.grad
    if isinstance(g, Tensor):
        state.grad = g if held is None else binary(op_add, held, g)
        track_graph(<Tensor>state.grad)
    else:
        state.grad = wrap(backend, backend.copy(g) if held is None else add_raw(backend, held.raw, g))
    return 0


cdef int release(Node node) except -1:
    """Drop the saved values of a node that has run."""
    if node.saved_mask:
        node.saved_mask = 0
        node.flags |= FREED
        node.saved0 = node.saved1 = None
        node.cell0 = node.cell1 = None
        if node.details is not None:
            node.details.saved = node.details.packed = None
    return 0


def history_beyond(tuple roots not None, tuple inputs not None):
    """Whether tensors depend on something tracked besides `inputs`: another leaf, or a tensor outside of the transforms they are in."""
    cdef Walk walk = Walk.__new__(Walk)
    for root in roots:
        synchronise(<Tensor>root)
    walk.held = tuple([(<Tensor>root).node for root in roots])
    walk.plan(roots, inputs)
    return walk.others or any([tracked_inside((<Tensor>root).raw) for root in roots])


def queue_callback(callback):
    """Call a function at the end of the walk that is under way."""
    callbacks = current_mode().callbacks
    if callbacks is None:
        raise RuntimeError("Final callbacks can only be installed during backward pass.")
    callbacks.append(callback)


def run_backward(tuple roots not None, tuple grads not None, bint retain_graph, create_graph, inputs, bint accumulate):
    """Walk the graph under `roots` once.

    Parameters
    ----------
    roots, grads : tuple of Tensor
        Where to start, and with which cotangents.
    retain_graph : bool
        Keep saved values.
    create_graph : bool or None
        Record the walk itself. None: if there are leaves that are not among `inputs`, or if inside transforms the gradients depend on
        tensors of outer levels that are tracked.
    inputs : tuple of Tensor or None
        Restrict the walk to what leads to these.
    accumulate : bool
        Store gradients of leaves in `.grad`; otherwise return those of `inputs`.

    Returns
    -------
    list of Tensor or None
        Gradients of `inputs`, None where the roots do not depend on one. Empty without inputs.
    """
    cdef Walk walk = Walk.__new__(Walk)
    cdef Tensor root, t
    cdef Mode before = current_mode()
    cdef int i, slot
    walk.accumulate, walk.captured = accumulate, {}
    walk.keeps_zeros = zeros_stay(before)
    for root in roots:
        synchronise(root)
    for t in inputs or ():
        synchronise(t)
    walk.held = tuple([(<Tensor>root).node for root in roots])
    walk.plan(roots, inputs)
    meets_code = create_graph is None and walk.meets_code()
    walk.create_graph = walk.others or meets_code or any([(<Tensor>g).flags & TRACKED for g in grads]) if create_graph is None else create_graph
    walk.retain = retain_graph or create_graph is None and walk.create_graph
    walk.tensors = walk.create_graph
    for i in range(len(roots)):
        walk.tensors |= (<Tensor>roots[i]).backend.layered or (<Tensor>grads[i]).backend.layered
    records = walk.create_graph or create_graph is None and any([tracked_inside((<Tensor>t).raw) for t in (*roots, *grads)])
    for i in range(len(roots)):
        root = <Tensor>roots[i]
        slot = walk.root_slots[i]
        if slot >= 0:
            add_to_slot(&walk.slots[slot], root.backend, grads[i] if walk.tensors else (<Tensor>grads[i]).raw, False)
    quiet = (<Tensor>roots[0]).backend.quiet() if roots else None
    callbacks = []
    set_mode(before.replace(grad=records, inference=False, callbacks=callbacks, walk=walk))
    try:
        if quiet is None:
            walk.run()
        else:
            with quiet:
                walk.run()
        for callback in callbacks:
            callback()
    finally:
        set_mode(before)
    results = walk.results(inputs, len(roots), {} if walk.tensors else {id((<Tensor>g).raw): g for g in grads})
    if meets_code and not history_beyond(tuple([t for t in results if t is not None]), inputs):
        results = [None if t is None else wrap((<Tensor>t).backend, (<Tensor>t).raw) for t in results]
    return results
