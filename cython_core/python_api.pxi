# The few C functions of CPython that Cython does not declare.

cdef extern from "Python.h":
    ctypedef PyObject* (*binaryfunc)(PyObject*, PyObject*)
    ctypedef PyObject* (*unaryfunc)(PyObject*)
    ctypedef struct PyMethodDef:
        const char* ml_name
        void* ml_meth
        int ml_flags
        const char* ml_doc
    int METH_FASTCALL
    int METH_KEYWORDS
    object PyCFunction_NewEx(PyMethodDef*, object, object)
    object PyInstanceMethod_New(object)
    int PyObject_GenericSetAttr(object, object, object) except -1
    object PyObject_GenericGetAttr(object, object)
    object PyObject_Vectorcall(object function, PyObject* const* args, size_t n, PyObject* names)
    int PyContextVar_Get(object var, PyObject* default, PyObject** value) except -1
    void PyObject_GC_Track(PyObject*)
    void PyObject_GC_UnTrack(PyObject*)
    int PyObject_GC_IsTracked(PyObject*)
    Py_ssize_t Py_REFCNT(PyObject*)
    PyObject* PyErr_Occurred()
    void PyType_Modified(type)
    const char* PyUnicode_AsUTF8(object) except NULL
    PyObject* PyTuple_GET_ITEM(object, Py_ssize_t)
    PyObject* PyList_GET_ITEM(object, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(object)
    binaryfunc PyNumber_Add, PyNumber_Subtract, PyNumber_Multiply, PyNumber_TrueDivide
    binaryfunc PyNumber_InPlaceAdd


cdef extern from *:
    """
    static CYTHON_INLINE PyObject* agrad_type_dict(PyTypeObject* t) { return t->tp_dict; }
    static CYTHON_INLINE int agrad_is_scalar(PyObject* x) {   /* exactly one of Python's own numbers */
        PyTypeObject* t = Py_TYPE(x);
        return t == &PyFloat_Type || t == &PyLong_Type || t == &PyComplex_Type || t == &PyBool_Type;
    }
    """
    PyObject* agrad_type_dict(type)
    bint agrad_is_scalar(PyObject*)
