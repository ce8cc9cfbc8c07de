# Table of contents of the engine: every compiled type with its fields, one comment per field.
# The engine knows backends only through Backend, rules only through Op and Rule; it names no array library.
cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t


# What a compiled companion of a backend may supply; NULL means: the generic way.
ctypedef struct Speed:
    int (*same)(PyObject* a, PyObject* b) noexcept              # 1: shape and dtype equal, 0: not
    PyObject* (*multiply)(PyObject* a, PyObject* b, int spare)  # a*b; spare & 1: a may be overwritten, & 2: b; NULL without error: not handled
    int (*add_into)(PyObject* a, PyObject* b) except -1         # a += b; 1: done, 0: not handled
    int (*fresh)(PyObject* a) noexcept                          # 1: owns its memory, writable, nobody else holds it
    int (*add_product)(PyObject* a, PyObject* left, PyObject* right) except -1     # a += left^T right, few rows; 1: done, 0: not handled
    int (*put)(PyObject* a, PyObject* key, PyObject* g) except -1   # a[key] += g for one element; 1: done, 0: not handled
    PyObject* (*sum_leading)(PyObject* a, int n)                # sum over the first n axes; NULL without error: not handled
    int (*writeable)(PyObject* a) noexcept                      # 1: an array may be written
    int (*shares)(PyObject* a, PyObject* b) noexcept            # 1: the two arrays may share memory
    PyObject* (*forward)(int code, PyObject* a, PyObject* b)    # a (op) b for small arrays, codes below; NULL without error: not handled


@cython.final
cdef class SavedHooks:
    cdef readonly object pack           # Tensor -> anything
    cdef readonly object unpack         # and back
    cdef readonly object refusal        # a message: no hooks may be set here; then there are no functions


@cython.final
cdef class Mode:
    cdef readonly bint grad             # operations on tracked tensors are recorded
    cdef readonly bint inference        # inside inference_mode
    cdef readonly bint deriving         # inside a user's forward: results that depend on tracked tensors are marked
    cdef readonly bint special          # one of the last two
    cdef readonly object anomaly        # Anomaly in anomaly mode, else None
    cdef readonly object backend        # name of the scoped default backend, or None
    cdef readonly object device         # scoped default device, or None
    cdef readonly object on_saved_write     # "raise", "copy" or None (then the configuration decides)
    cdef readonly object zero_stays_zero    # True, False or None (then the configuration decides)
    cdef readonly SavedHooks saved_hooks    # what saved values are packed with, or None
    cdef readonly object levels         # the transforms that run, outermost first: a tuple of Level, or None
    cdef readonly object tracing        # who watches what operations do, or None
    cdef readonly object profiling      # who measures operations, or None
    cdef readonly list callbacks        # inside a walk: what is called at its end
    cdef readonly object walk           # and the walk itself
    cdef readonly object overrides      # rule sets that act before the usual ones, or None


cdef class Backend:
    cdef readonly str name              # "numpy"
    cdef readonly int number            # position of this backend's kernel in Op.kernels
    cdef object array_type              # the one exact type of nearly all its arrays
    cdef object scalar_type             # the exact type of most of its scalars, or the array type again
    cdef tuple other_types              # further types that count as its arrays (NumPy scalars)
    cdef public bint mutable            # arrays can be written in place
    cdef public bint lazy               # values are not known while a program runs
    cdef public int adopts              # of two backends that meet, tensors become constants of the one with the higher number; 0: never
    cdef bint layered                   # values inside transforms, see layers.pxi
    cdef Backend inner                  # of a layered backend: that of the base tensors
    cdef public bint plain              # shape and dtype are the arrays' own attributes, shape a tuple of int
    cdef public bint devices            # arrays live on one of several devices
    cdef public bint counts_references  # a reference count of one proves that nobody shares the memory
    cdef public object xp               # kernel namespace: the standard's names on raw arrays
    cdef public object facade           # the same names on Tensors
    cdef Speed speed                    # compiled short cuts


@cython.final
cdef class Op:
    cdef readonly str name              # public name, "linalg.det"
    cdef readonly object signature      # its line in the table of the standard, parsed
    cdef readonly tuple parameters      # names
    cdef readonly tuple defaults        # values, REQUIRED where there is none
    cdef bytes kinds                    # one code per parameter
    cdef int n_params                   # number of parameters
    cdef int n_positional               # parameters that a kernel takes by position
    cdef int n_arrays                   # array parameters; -1 where one of them is variadic
    cdef int n_by_position              # how many arguments may be given by position
    cdef int gather                     # position of a shape that may be spread over several ints, or -1
    cdef bint explicit                  # kernels are given the line's defaults: ops that plugins add
    cdef int spread                     # position of the arrays that are given as the rest of the positional arguments, or -1
    cdef int operators                  # 1, 2: all parameters are arrays (unary, binary); else 0
    cdef int code                       # code of the compiled short cut, or 0
    cdef public object rule_            # Rule once resolved, None before
    cdef bint resolved                  # the plugin that owns the op is loaded
    cdef int view                       # the result may share memory with the first argument (1), or be the argument itself (2)
    cdef list kernels                   # callable per Backend.number, None until resolved
    cdef public object record           # what the rule set says about the op
    cdef public object foreign          # called with arguments that the signature does not know (torch's spellings)
    cdef public object function         # the public function
    cdef object layered_kernel_         # the kernel on values inside transforms
    cdef public object forward          # how it maps tangents, and
    cdef public object batch            # batches: found when first needed


@cython.final
cdef class Formula:
    cdef readonly object function       # what the rule set wrote
    cdef readonly str label             # "sin.vjp[x]"
    cdef int kind                       # CALL, CONSTANT, VALUE, SCATTER
    cdef object constant                # of a constant formula
    cdef int constant_sign              # 1 or -1 where the constant is that, else 0
    cdef int n_args                     # arguments of the function
    cdef int* what                      # where each argument comes from
    cdef int* which                     # and which one of those
    cdef uint32_t saves                 # array parameters it reads, bit n_params: the output
    cdef uint32_t likes                 # array parameters of which it reads shape and dtype


@cython.final
cdef class Rule:
    cdef readonly Op op                 # the op that it differentiates
    cdef readonly str family            # "elementwise", ...
    cdef readonly tuple formulas        # one Formula or None per array parameter
    cdef readonly Formula joint         # one formula for all, or None
    cdef readonly object jvp            # forward rule as declared
    cdef readonly str source            # plugin, distribution and version, for messages
    cdef public object node_name        # PyTorch's name of the node, or a function of the call
    cdef readonly bint differentiable   # results of the op are tracked
    cdef bint partial                   # formulas give partial derivatives, not cotangents
    cdef bint scalars                   # Python scalars reach formulas as they are
    cdef public bint crosses            # the operand lives on another backend than the result
    cdef uint32_t saves_any             # union of saves
    cdef uint32_t likes_any             # union of likes


@cython.final
cdef class Cell:
    cdef object array                   # the storage's current array
    cdef uint32_t version               # writes so far
    cdef uint32_t saved_version         # 1 + the last version that was saved; 0: never
    cdef set moves                      # versions at which the storage moved on and left its array intact
    cdef Op writer                      # the op that wrote last


@cython.final
cdef class Like:
    cdef readonly tuple shape           # integers (and symbols on lazy backends)
    cdef readonly object dtype          # the backend's dtype
    cdef readonly object device         # the backend's device
    cdef Backend backend                # whose arrays
    cdef bint tensors                   # makes Tensors, not raw arrays


@cython.final
cdef class Saved:
    cdef object raw                     # array or Python scalar
    cdef Cell cell                      # storage to check, or None
    cdef uint32_t version               # version that was saved


@cython.final
cdef class Packed:
    cdef object value                   # what the pack hook gave
    cdef object unpack                  # the hook that makes a Tensor of it again
    cdef Cell cell                      # storage to check, where the hook gave the saved tensor itself or a twin of it
    cdef uint32_t version               # version that was saved
    cdef readonly int ndim              # axes of what was packed
    cdef int derivatives                # how many tangents and histories it has inside transforms
    cdef bint keeps                     # its node is running: what was unpacked is kept,
    cdef Tensor unpacked                # here


@cython.final
cdef class PackedKey:
    cdef object key                     # an index with Packed in the place of arrays


@cython.final
cdef class Details:
    """What few nodes have: more edges, more saved values, hooks."""
    cdef list edges                     # all edges, where there are more than two
    cdef list numbers                   # their output numbers
    cdef list saved                     # saved values beyond two
    cdef list guards                    # Saved of index arrays: checked for writes, read from args
    cdef int n_outputs                  # outputs of the op
    cdef bint several                   # the op returned a tuple, be it of one: so are g and out
    cdef uint32_t scalar_mask           # operands that were Python scalars
    cdef dict hooks                     # output number -> {handle number: tensor hook}
    cdef list packed                    # its Packed values, or None
    cdef object prehooks                # of the node: HookTable or None
    cdef object posthooks
    cdef dict retained                  # output number -> GradState to fill
    cdef dict metadata                  # user's dictionary
    cdef object needs                   # for joint formulas: one bool per array parameter
    cdef object variable                # AccumulateGrad: weak reference to the leaf
    cdef object context                 # of a user's function: Context


@cython.final
cdef class Node:
    cdef Rule rule                      # resolved when recorded
    cdef object edge0                   # Node, leaf Tensor or None
    cdef object edge1
    cdef object saved0                  # first saved value
    cdef object saved1
    cdef Cell cell0                     # its storage
    cdef Cell cell1
    cdef object args                    # static arguments, or None where all are defaults
    cdef object likes                   # Like, or tuple of Like and None, by array parameter; or None
    cdef Details details                # or None
    cdef Backend backend                # whose arrays
    cdef uint64_t sequence              # creation order
    cdef uint32_t version0              # version of cell0 when saved
    cdef uint32_t version1
    cdef uint32_t saved_mask            # which parameters (bit n_params: output) are saved
    cdef uint32_t index                 # position in the plan being made
    cdef uint32_t number0               # output number of edge0
    cdef uint32_t number1
    cdef int n_edges                    # edges, two of them direct
    cdef uint8_t flags                  # FREED, NODE_RICH, HOOKED, ALL_TRACKED, WATCHED, CUSTOM


@cython.final
cdef class GradState:
    """What a leaf or a tensor that retains its gradient has beyond a plain tensor."""
    cdef object grad                    # Tensor or None
    cdef object hooks                   # tensor hooks of a leaf: HookTable or None
    cdef object post_hooks              # called after accumulation: HookTable or None
    cdef object dtype                   # the backend's dtype that .grad shall have, None: that of the leaf
    cdef bint retains                   # a non-leaf that retains
    cdef Node accumulator               # the AccumulateGrad node, made when asked for
    cdef cython.pymutex lock            # held around read, add and store of grad


@cython.final
cdef class View:
    cdef Tensor base                    # the tensor that owns the storage
    cdef View parent                    # the view this one was taken from, or None
    cdef Op op                          # the view operation
    cdef object args                    # its static arguments by position
    cdef int output                     # which of several outputs, else -1
    cdef bint aliases                   # the tensor's raw array shares memory with the base's
    cdef bint recording                 # made while recording was on
    cdef bint detached                  # of a detached tensor: shares the storage, not the history
    cdef object function                # returned by a user's function: (its name, whether it returned several)
    cdef Node base_node                 # history of the base when the view was last made,
    cdef bint base_tracked              # and whether it was tracked


cdef class Tensor:
    cdef object raw                     # the backend's array (or a scalar that stands for a 0-d one)
    cdef Backend backend
    cdef Node node                      # grad_fn
    cdef Cell cell                      # storage; made when first saved, viewed, detached or written
    cdef View view_                     # or None
    cdef GradState state                # leaf or retained gradient, hooks
    cdef dict __dict__                  # the user's own attributes
    cdef object __weakref__
    cdef uint32_t seen                  # version of the cell that raw (and the history of a view) belongs to
    cdef uint32_t index                 # position among the leaves of the plan being made
    cdef uint32_t number                # output_nr
    cdef uint8_t flags                  # TRACKED, LEAF..., see tensor.pxi


@cython.final
cdef class Level:
    cdef readonly str kind              # "dual" or "batch"
    cdef bint batch                     # kind is "batch"
    cdef readonly int depth             # 1: the outermost
    cdef readonly object size           # length of the batch
    cdef readonly str randomness        # "error", "different" or "same"
    cdef readonly bint records          # tracked tensors of outer levels stay connected: forward_ad
    cdef public bint alive              # still runs


@cython.final
cdef class Layered:
    cdef readonly Level level           # None: constant here
    cdef readonly Tensor value          # of an outer level, or a base tensor; on a batch level its first axis is the batch
    cdef readonly Tensor tangent        # or None
    cdef object shape                   # without the batch; None until asked for
    cdef uint32_t seen                  # version of the value's storage
