# Operations, formulas and rules as the engine sees them; agrad.rules makes them from what rule sets declare.

cdef enum:
    STATIC = 0
    ARRAY = 1
    ARRAY_OR_NONE = 2
    ARRAYS = 3
    INDEX = 4
    KEY = 5
    SHAPE = 6
    DTYPE = 7
    DEVICE = 8
    MAX_PARAMS = 12

cdef enum:      # what a formula does
    CALL = 0
    CONSTANT = 1
    VALUE = 2       # is one of its saved values: `lambda x2: x2`
    SCATTER = 3     # is `scatter` itself: the cotangent goes where the op was indexed

cdef enum:      # where an argument of a formula comes from
    OF_G = 0
    OF_OUT = 1
    OF_XP = 2
    OF_NEEDS = 3
    OF_SAVED = 4
    OF_STATIC = 5
    OF_LIKE = 6

cdef dict KINDS = {
    "static": STATIC, "axis": STATIC, "axes": STATIC, "array": ARRAY, "array?": ARRAY_OR_NONE, "array*": ARRAYS, "index": INDEX,
    "index?": INDEX, "key": KEY, "shape": SHAPE, "dtype": DTYPE, "device": DEVICE,
}


class Required:
    """Marks a parameter without default."""
    def __repr__(self):
        return "required"


cdef object REQUIRED = Required()

cdef dict operators_by_name = {}    # name -> Op
cdef object load_rule = None        # installed: called with an Op that is used for the first time
cdef object find_kernel = None      # installed: (op, backend) -> callable
cdef object find_plugin = None      # installed: called with the first part of an unknown name; True if a plugin owns it (and is now loaded)


def install_loaders(rule_loader, kernel_finder, plugin_finder):
    """Tell the engine how rules, kernels and plugins are found; called once by agrad.rules."""
    global load_rule, find_kernel, find_plugin
    load_rule, find_kernel, find_plugin = rule_loader, kernel_finder, plugin_finder


cdef class Op:
    """One operation: its parameters, and, once resolved, its rule and kernels."""

    def __init__(self, str name, signature, required):
        """`signature`: parsed line of the table; `required`: what it uses as default where there is none."""
        cdef int i
        parameters = signature.parameters
        if len(parameters) > MAX_PARAMS:
            raise ValueError(f"{name} has more than {MAX_PARAMS} parameters")
        self.name, self.signature = name, signature
        self.parameters = tuple([sys.intern(p.name) for p in parameters])
        self.defaults = tuple([REQUIRED if p.default is required else p.default for p in parameters])
        self.kinds = bytes([KINDS[p.kind] for p in parameters])
        self.n_params = len(parameters)
        self.n_by_position = signature.n_by_position
        self.n_positional = sum([p.role != "keyword_only" for p in parameters])
        self.explicit = signature.chapter == name.partition(".")[0]
        self.spread = -1
        for i in range(self.n_params):
            if parameters[i].role == "var_positional":
                self.spread = i
        arrays = [kind for kind in self.kinds if kind in (ARRAY, ARRAY_OR_NONE)]
        self.n_arrays = -1 if ARRAYS in self.kinds else len(arrays)
        self.operators = len(arrays) if len(arrays) == len(parameters) and len(arrays) <= 2 and ARRAY_OR_NONE not in self.kinds else 0
        self.gather = -1
        for i in range(self.n_positional):
            if parameters[i].kind in ("shape", "axes"):
                self.gather = i
        self.kernels = []
        operators_by_name[name] = self

    def __repr__(self):
        return f"<op {self.name}{self.signature.text}>"

    def __reduce__(self):
        return find_op, (self.name,)

    def __getattr__(self, name):
        # the public function pickles as an attribute of its op, under its own name
        if name == self.name.rpartition(".")[2] and self.function is not None:
            return self.function
        raise AttributeError(name)

    def set_rule(self, Rule rule, record, int view, int code):
        """Complete the op with its rule (None: none), its record, whether it may return a view (2: the argument itself), its short cut."""
        self.rule_, self.record, self.view, self.code, self.resolved = rule, record, view, code, True

    @property
    def n_positional_only(self):
        """How many parameters a kernel takes by position."""
        return self.n_positional

    @property
    def rule(self):
        if not self.resolved:
            resolve(self)
        return self.rule_


def find_op(str name):
    """The op of that name; LookupError if nobody declares it."""
    op = operators_by_name.get(name)
    if op is None and owns_prefix(name.partition(".")[0]):
        op = operators_by_name.get(name)
    if op is None:
        raise LookupError(f"there is no op named {name!r}: neither the standard nor an installed plugin declares it")
    return op


def owns_prefix(str prefix):
    """Whether a plugin owns the names under a prefix; it is loaded then."""
    return find_plugin is not None and find_plugin(prefix)


def raw_kernel(Op op not None, Backend backend not None):
    """The raw function that computes an op on a backend."""
    return kernel_of(op, backend)


def all_ops():
    """All ops known by now, by name."""
    return dict(operators_by_name)


cdef int resolve(Op op) except -1:
    """Load the plugin that owns an op."""
    load_rule(op)
    if not op.resolved:
        op.resolved = True
    return 0


cdef class Formula:
    """One derivative as the engine calls it: a function, and where each of its arguments comes from."""

    def __cinit__(self, *args, **kwargs):
        self.what = NULL
        self.which = NULL

    def __dealloc__(self):
        PyMem_Free(self.what)
        PyMem_Free(self.which)

    def __init__(self, function, str label, list arguments, int n_params, value_of=None):
        """`arguments`: pairs (source, position); `value_of`: the saved value that the formula simply returns."""
        cdef int i
        self.function, self.label = function, label
        if not callable(function):
            self.kind, self.constant = CONSTANT, function
            self.constant_sign = 1 if function == 1 else -1 if function == -1 else 0
            return
        self.kind = SCATTER if function is scatter else CALL if value_of is None else VALUE
        self.n_args = len(arguments)
        if self.n_args > MAX_PARAMS:
            raise ValueError(f"{label} asks for more than {MAX_PARAMS} values")
        self.what = <int*>PyMem_Malloc(max(1, self.n_args) * sizeof(int))
        self.which = <int*>PyMem_Malloc(max(1, self.n_args) * sizeof(int))
        if self.what == NULL or self.which == NULL:
            raise MemoryError()
        for i, (source, position) in enumerate(arguments):
            self.what[i], self.which[i] = source, position
            if source == OF_SAVED:
                self.saves |= <uint32_t>1 << <uint32_t>position
            elif source == OF_OUT:
                self.saves |= <uint32_t>1 << <uint32_t>n_params
            elif source == OF_LIKE:
                self.likes |= <uint32_t>1 << <uint32_t>position

    @property
    def reads(self):
        """(bit mask of saved parameters, the output last; bit mask of parameters whose shape is read)"""
        return self.saves, self.likes


cdef class Rule:
    """The derivative of one op, as the engine runs it."""

    def __init__(self, Op op, str family, tuple formulas, Formula joint=None, *, jvp=None, str source="", node_name=None, bint partial=False,
                 bint scalars=False):
        self.op, self.family, self.formulas, self.joint, self.jvp, self.source = op, family, formulas, joint, jvp, source
        self.node_name, self.partial, self.scalars = node_name, partial, scalars
        for formula in (*formulas, joint):
            if formula is not None:
                self.differentiable = True
                self.saves_any |= (<Formula>formula).saves
                self.likes_any |= (<Formula>formula).likes

    def __repr__(self):
        return f"<rule {self.op.name} ({self.family}) of {self.source}>"
