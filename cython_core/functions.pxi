# Binding of arguments; public functions and methods. They are builtin functions bound to their Op: no Python frame, a real signature.

cdef int bind(Op op, PyObject* const* args, Py_ssize_t nargs, PyObject* names, PyObject** argv, list held) except -1:
    """Put arguments at the positions of their parameters: 1 done, 0 if the call is not of the signature's form.

    `held` keeps alive what is made here. Keyword-only parameters may be given by position too, as NumPy and torch allow.
    """
    cdef Py_ssize_t i, j, n_names = 0
    memset(argv, 0, MAX_PARAMS * sizeof(PyObject*))
    if op.spread >= 0:
        for i in range(min(op.spread, nargs)):
            argv[i] = args[i]
        arrays = tuple([<object>args[i] for i in range(op.spread, nargs)])
        if len(arrays) == 1 and type(arrays[0]) in (list, tuple):
            arrays = tuple(arrays[0])
        held.append(arrays)
        argv[op.spread] = <PyObject*>arrays
    elif nargs > op.gather + 1 and op.gather >= 0 and type(<object>args[op.gather]) is int and type(<object>args[op.gather + 1]) is int:
        shape = tuple([<object>args[i] for i in range(op.gather, nargs)])    # x.reshape(2, 3)
        held.append(shape)
        for i in range(op.gather):
            argv[i] = args[i]
        argv[op.gather] = <PyObject*>shape
    else:
        if nargs > op.n_by_position:
            return 0
        for i in range(nargs):
            argv[i] = args[i]
    if names != NULL:
        n_names = PyTuple_GET_SIZE(<object>names)
    for j in range(n_names):
        i = position_of(op, PyTuple_GET_ITEM(<object>names, j))
        if i < 0:
            return 0
        if argv[i] != NULL:
            raise TypeError(f"{op.name}() got multiple values for argument {op.parameters[i]!r}")
        argv[i] = args[nargs + j]
    if op.n_arrays < 0:
        gather_arrays(op, argv, held)
    return 1


cdef int gather_arrays(Op op, PyObject** argv, list held) except -1:
    """A variadic parameter becomes a tuple once: it may be given as a generator."""
    cdef int i
    for i in range(op.n_params):
        if op.kinds[i] == ARRAYS and argv[i] != NULL and type(<object>argv[i]) is not tuple:
            try:
                arrays = tuple(<object>argv[i])
            except TypeError:
                raise TypeError(f"{op.name}() expects a sequence of tensors for {op.parameters[i]!r}, "
                                f"but got {type(<object>argv[i]).__name__}") from None
            held.append(arrays)
            argv[i] = <PyObject*>arrays
    return 0


cdef inline int position_of(Op op, PyObject* name):
    cdef int i
    for i in range(op.n_params):
        if PyTuple_GET_ITEM(op.parameters, i) == name:
            return i
    for i in range(op.n_params):
        if op.parameters[i] == <object>name:
            return i
    return -1


cdef object call_foreign(Op op, PyObject* const* args, Py_ssize_t nargs, PyObject* names, str suffix):
    """A call that is not of the signature's form: torch's spelling of it, or an error."""
    positional = tuple([<object>args[i] for i in range(nargs)])
    keywords = {} if names == NULL else {(<tuple>names)[i]: <object>args[nargs + i] for i in range(len(<tuple>names))}
    if op.foreign is not None:
        result = op.foreign(suffix, positional, keywords)
        if result is not NotImplemented:
            return result
    unknown = [name for name in keywords if name not in op.parameters]
    if unknown:
        raise TypeError(f"{op.name}{suffix}() got an unexpected keyword argument {unknown[0]!r}; its signature is {op.name}{op.signature.text}")
    raise TypeError(f"{op.name}{suffix}() takes at most {op.n_by_position} arguments by position ({nargs} given); "
                    f"its signature is {op.name}{op.signature.text}")


cdef object call_op(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names):
    """The public function of an op."""
    cdef Op op = <Op>self
    cdef PyObject* argv[MAX_PARAMS]
    if names == NULL and nargs == op.operators:
        if nargs == 1 and isinstance(<object>args[0], Tensor):
            return unary(op, <Tensor>args[0])
        if nargs == 2:
            result = binary(op, <object>args[0], <object>args[1])
            if result is not NotImplemented:
                return result
    held = []
    if not bind(op, args, nargs, names, argv, held):
        return call_foreign(op, args, nargs, names, "")
    if op is op_getitem and argv[0] != NULL and argv[1] != NULL and isinstance(<object>argv[0], Tensor):
        return get_item(<Tensor>argv[0], <object>argv[1])
    return apply(op, argv)


cdef object call_inplace(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names):
    """The in-place method of an op: `x.add_(y)`."""
    cdef Op op = <Op>self
    cdef PyObject* argv[MAX_PARAMS]
    if nargs == 0 or not isinstance(<object>args[0], Tensor):
        raise TypeError(f"{op.name}_() is a method of tensors")
    held = []
    if not bind(op, args, nargs, names, argv, held):
        return call_foreign(op, args, nargs, names, "_")
    return inplace(op, <Tensor>args[0], argv)


cdef object new_builtin(Op op, str name, str doc, void* implementation):
    """A builtin function bound to an op; its text signature is what inspect reads."""
    text = f"{name}{op.signature.text}\n--\n\n{doc}".encode()
    name_bytes = name.encode()
    cdef PyMethodDef* definition = <PyMethodDef*>PyMem_Malloc(sizeof(PyMethodDef))     # functions live as long as the process
    if definition == NULL:
        raise MemoryError()
    immortal.append((text, name_bytes))
    definition.ml_name = name_bytes
    definition.ml_doc = text
    definition.ml_meth = implementation
    definition.ml_flags = METH_FASTCALL | METH_KEYWORDS
    return PyCFunction_NewEx(definition, op, "agrad")


cdef list immortal = []


def make_function(Op op not None, str doc=""):
    """The public function of an op; one object per op."""
    if op.function is None:
        op.function = new_builtin(op, op.name.rpartition(".")[2], doc, <void*>call_op)
    return op.function


def make_inplace(Op op not None, str name, str doc=""):
    """The in-place method of an op, named e.g. `add_`."""
    return new_builtin(op, name, doc, <void*>call_inplace)


def call_with(Op op not None, tuple args, dict keywords=None):
    """Call an op with arguments in containers; for upper layers that rearrange arguments."""
    return make_function(op)(*args, **(keywords or {}))


# ---- items

cdef inline bint is_basic(object key):
    """Whether a key selects a view: ints, slices, None, Ellipsis."""
    if type(key) is tuple:
        for part in <tuple>key:
            if not (part is None or part is Ellipsis or type(part) is int or type(part) is slice):
                return False
        return True
    return key is None or key is Ellipsis or type(key) is int or type(key) is slice


cdef object get_item(Tensor t, object key):
    """x[key]: the path of scalar reads, otherwise like any op."""
    cdef Mode mode = current_mode()
    cdef Rule rule
    cdef Node node = None
    cdef Tensor out
    cdef list guards = None
    cdef PyObject* args[2]
    cdef object raw
    synchronise(t)
    if type(key) is not int:
        t = <Tensor>for_key(t, key)
        guards = []
        key = raw_key(t.backend, key, guards)
    args[0], args[1] = <PyObject*>t.raw, <PyObject*>key
    raw = PyObject_Vectorcall(kernel_inline(op_getitem, t.backend), args, 2, NULL)
    out = wrap(t.backend, raw)
    if mode.grad and t.flags & TRACKED:
        rule = rule_of(op_getitem, mode)
        node = node_over(rule, t.backend, t)
        node.args = (None, key)
        if t.node is not None:
            node.likes = like_of(t.backend, t.raw)
        if guards:
            note_guards(node, guards)
        out.node = node
        out.flags |= TRACKED
    elif mode.special:
        mark_result(op_getitem, mode, out, may_derive(t))
    if is_basic(key):
        note_view(op_getitem, mode, t, out, node.args if node is not None else (None, key), -1)
    if live_tracings:
        trace(op_getitem, (t,), (out,))
    return out
