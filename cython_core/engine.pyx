"""The engine: tensors, their graph, recording and walking it.

It knows arrays through `Backend`, operations and derivatives through `Op` and `Rule`, which upper layers fill in.
It must not know any array library, any differentiation rule, any plugin. engine.pxd lists every type and field;
the included files read in order: what a thing is, how an operation is recorded, how the graph is walked.
"""
cimport cython
from cpython.contextvars cimport PyContextVar_New, PyContextVar_Set
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport UINT32_MAX, int32_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport qsort
from libc.string cimport memset

import functools
import itertools
import operator
import re
import sys
import types
import warnings
import weakref

include "python_api.pxi"    # the few C functions of CPython that Cython does not declare
include "mode.pxi"          # scoped state
include "backend.pxi"       # what a backend is to the engine
include "op.pxi"            # operations, formulas, rules
include "storage.pxi"       # cells, likes, grad states: what tensors share
include "tensor.pxi"        # the tensor
include "profiling.pxi"     # who measures operations
include "tracing.pxi"       # who watches operations; what a graph holds
include "install.pxi"       # handles of hooks, methods from above
include "node.pxi"          # what a recorded operation is to Python
include "record.pxi"        # kernel call, wrapping, recording
include "arguments.pxi"     # arguments as kernels take them
include "packed.pxi"        # saved values that hooks have packed
include "functions.pxi"     # binding of arguments; public functions and methods
include "layers.pxi"        # values inside transforms
include "layer_kernels.pxi" # and what computes with them
include "inplace.pxi"       # writes, versions, views
include "accumulate.pxi"    # gradient slots and leaves
include "formula.pxi"       # calling a formula in either world
include "custom.pxi"        # functions that users write: their ctx, forward and backward
include "anomaly.pxi"       # anomaly mode
include "walk.pxi"          # plan and walk
include "hooks.pxi"         # hooks of nodes and leaves
include "introspection.pxi" # what a node saved, by name
