"""Short cuts for NumPy arrays that its C API makes cheap; installed into a Backend's `speed`. Everything works without this file.

It must not know ops, rules, tensors or the graph. Small contiguous float arrays are computed by the loops here: a ufunc call costs more than
the arithmetic. Floating-point warnings: `forward` checks the processor's flags and leaves the work to NumPy if one would be due; products and
sums of gradients never warn.
"""
cimport numpy as cnp
from agrad.cython_core.engine cimport Backend
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

import numpy as np

cnp.import_array()

cdef extern from *:
    """
    #include <numpy/arrayobject.h>
    #include <numpy/arrayscalars.h>
    #include <math.h>
    #include <fenv.h>
    #define MAXDIMS 32
    #define LIMIT 4096   /* elements; beyond, NumPy's own loops win */

    #if defined(__x86_64__) && defined(__GNUC__)
    #include <xmmintrin.h>      /* the C library's functions also ask the x87 unit, which takes longer than the arithmetic */
    #define WARNABLE (_MM_EXCEPT_DIV_ZERO | _MM_EXCEPT_OVERFLOW | _MM_EXCEPT_INVALID)
    static void clear_flags(void) { unsigned s = _mm_getcsr(); if (s & WARNABLE) _mm_setcsr(s & ~WARNABLE); __asm__ volatile("" ::: "memory"); }
    static int raised_flags(void) { __asm__ volatile("" ::: "memory"); return (_mm_getcsr() & WARNABLE) != 0; }
    #else
    #define WARNABLE (FE_DIVBYZERO | FE_OVERFLOW | FE_INVALID)
    static void clear_flags(void) { feclearexcept(WARNABLE); }
    static int raised_flags(void) { return fetestexcept(WARNABLE) != 0; }
    #endif
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
    #define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))   /* the widest vectors that the processor has */
    #else
    #define WIDE
    #endif

    static int plain_float(PyObject* a) {   /* C-contiguous, aligned, native float32 or float64 array: its type number, else 0 */
        PyArrayObject* x;
        int t;
        if (!PyArray_CheckExact(a)) return 0;
        x = (PyArrayObject*)a;
        t = PyArray_DESCR(x)->type_num;
        if (t != NPY_DOUBLE && t != NPY_FLOAT) return 0;
        if (!PyArray_IS_C_CONTIGUOUS(x) || !PyArray_ISALIGNED(x) || !PyArray_ISNOTSWAPPED(x)) return 0;
        return t;
    }
    static int same_shape(PyArrayObject* a, PyArrayObject* b) {
        int i, n = PyArray_NDIM(a);
        if (n != PyArray_NDIM(b)) return 0;
        for (i = 0; i < n; i++) if (PyArray_DIM(a, i) != PyArray_DIM(b, i)) return 0;
        return 1;
    }
    static int same_array_meta(PyObject* a, PyObject* b) {
        if (Py_TYPE(a) == &PyDoubleArrType_Type && Py_TYPE(b) == &PyDoubleArrType_Type) return 1;
        if (PyArray_Check(a) && PyArray_Check(b)) {
            PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b;
            return same_shape(x, y) && (PyArray_DESCR(x) == PyArray_DESCR(y) || PyArray_EquivTypes(PyArray_DESCR(x), PyArray_DESCR(y)));
        }
        if (PyArray_CheckScalar(a) && PyArray_Check(b)) { PyObject* c = a; a = b; b = c; }
        if (PyArray_Check(a) && PyArray_IsScalar(b, Generic)) {   /* a scalar stands for a 0-d array */
            PyArray_Descr* d;
            int same;
            if (PyArray_NDIM((PyArrayObject*)a) != 0) return 0;
            d = PyArray_DescrFromScalar(b);
            same = PyArray_EquivTypes(PyArray_DESCR((PyArrayObject*)a), d);
            Py_DECREF(d);
            return same;
        }
        if (PyArray_IsScalar(a, Generic) && PyArray_IsScalar(b, Generic)) return Py_TYPE(a) == Py_TYPE(b);
        return 0;
    }
    static int is_matrix_product(PyObject* a, PyObject* b) {    /* of two matrices of one floating dtype that fit */
        PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b;
        return PyArray_CheckExact(a) && PyArray_CheckExact(b) && PyArray_NDIM(x) == 2 && PyArray_NDIM(y) == 2
            && PyArray_DIM(x, 1) == PyArray_DIM(y, 0) && PyArray_DESCR(x) == PyArray_DESCR(y)
            && (PyTypeNum_ISFLOAT(PyArray_DESCR(x)->type_num) || PyTypeNum_ISCOMPLEX(PyArray_DESCR(x)->type_num));
    }
    static PyObject* empty_like(PyArrayObject* a) {
        return PyArray_SimpleNew(PyArray_NDIM(a), PyArray_DIMS(a), PyArray_DESCR(a)->type_num);
    }
    static int may_overwrite(PyObject* a) {
        return Py_REFCNT(a) == 1 && PyArray_BASE((PyArrayObject*)a) == NULL && PyArray_ISWRITEABLE((PyArrayObject*)a);
    }
    #define LOOP(OP) \\
        if (t == NPY_DOUBLE) { double *p = (double*)PyArray_DATA(out), *q = (double*)PyArray_DATA(x), *r = (double*)PyArray_DATA(y); \\
            for (i = 0; i < n; i++) p[i] = q[i] OP r[i]; } \\
        else { float *p = (float*)PyArray_DATA(out), *q = (float*)PyArray_DATA(x), *r = (float*)PyArray_DATA(y); \\
            for (i = 0; i < n; i++) p[i] = q[i] OP r[i]; }
    #define LOOP_SCALAR(OP, LEFT, RIGHT) \\
        if (t == NPY_DOUBLE) { double *p = (double*)PyArray_DATA(out), *q = (double*)PyArray_DATA(x); \\
            for (i = 0; i < n; i++) p[i] = (LEFT) OP (RIGHT); } \\
        else { float *p = (float*)PyArray_DATA(out), *q = (float*)PyArray_DATA(x); float c = (float)s; \\
            for (i = 0; i < n; i++) p[i] = (LEFT) OP (RIGHT); }
    WIDE static void loop(int code, int t, npy_intp n, PyArrayObject* out, PyArrayObject* x, PyArrayObject* y) {
        npy_intp i;
        switch (code) {
            case 1: LOOP(+) break;
            case 2: LOOP(-) break;
            case 3: LOOP(*) break;
            case 4: LOOP(/) break;
        }
    }
    /* a (op) b for equal-shaped small plain arrays; NULL without error: not handled */
    static PyObject* small(int code, PyObject* a, PyObject* b, int spare) {
        int t = plain_float(a);
        PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b, *out;
        npy_intp n;
        if (!t || plain_float(b) != t || !same_shape(x, y)) return NULL;
        n = PyArray_SIZE(x);
        if (n > LIMIT) return NULL;
        if ((spare & 1) && may_overwrite(a)) { out = x; Py_INCREF(out); }
        else if ((spare & 2) && may_overwrite(b)) { out = y; Py_INCREF(out); }
        else { out = (PyArrayObject*)empty_like(x); if (out == NULL) return NULL; }
        loop(code, t, n, out, x, y);
        return (PyObject*)out;
    }
    static PyObject* double_scalar(double value) {
        PyObject* s = PyArrayScalar_New(Double);
        if (s != NULL) PyArrayScalar_ASSIGN(s, Double, value);
        return s;
    }
    static int read_scalar(PyObject* a, double* value) {    /* Python float or np.float64 */
        if (Py_TYPE(a) == &PyDoubleArrType_Type) { *value = PyArrayScalar_VAL(a, Double); return 2; }
        if (PyFloat_CheckExact(a)) { *value = PyFloat_AS_DOUBLE(a); return 1; }
        return 0;
    }
    static double compute(int code, double p, double q) {
        return code == 1 ? p + q : code == 2 ? p - q : code == 3 ? p * q : p / q;
    }
    /* two scalars of which one at least is np.float64; a result that may be due a warning is left to NumPy if `warns` */
    static PyObject* scalars(int code, PyObject* a, PyObject* b, int warns) {
        double p, q, r;
        int i = read_scalar(a, &p), j = i ? read_scalar(b, &q) : 0;
        if (!i || !j || (i == 1 && j == 1)) return NULL;
        r = compute(code, p, q);
        return warns && !isfinite(r) ? NULL : double_scalar(r);
    }
    /* forward value of small arrays; where a warning is due the work is left to NumPy */
    static PyObject* small_forward(int code, PyObject* a, PyObject* b) {
        PyObject* out;
        if (!PyArray_CheckExact(a) || !PyArray_CheckExact(b)) return scalars(code, a, b, 1);
        clear_flags();
        out = small(code, a, b, 0);
        if (out != NULL && raised_flags()) { Py_DECREF(out); out = NULL; }
        return out;
    }
    /* buffer[key] += g for one element of a vector */
    static int put_element(PyObject* a, PyObject* key, PyObject* g) {
        npy_intp i, n;
        int t = plain_float(a), overflow;
        PyArrayObject* x = (PyArrayObject*)a;
        double value;
        if (!t || PyArray_NDIM(x) != 1 || !PyLong_CheckExact(key) || !read_scalar(g, &value)) return 0;
        n = PyArray_DIM(x, 0);
        i = (npy_intp)PyLong_AsLongLongAndOverflow(key, &overflow);
        if (i < 0) i += n;
        if (overflow || i < 0 || i >= n) return 0;
        if (t == NPY_DOUBLE) ((double*)PyArray_DATA(x))[i] += value; else ((float*)PyArray_DATA(x))[i] += (float)value;
        return 1;
    }
    /* a * b in place for large arrays: a is spare and has the result's shape and dtype */
    static PyObject* multiply_into(PyObject* ufunc, PyObject* a, PyObject* b) {
        PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b;
        int i, d, t = plain_float(a);
        if (!t || !PyArray_CheckExact(b) || PyArray_DESCR(y)->type_num != t || !may_overwrite(a)) return NULL;
        d = PyArray_NDIM(x) - PyArray_NDIM(y);
        if (d < 0) return NULL;
        for (i = 0; i < PyArray_NDIM(y); i++) if (PyArray_DIM(y, i) != 1 && PyArray_DIM(y, i) != PyArray_DIM(x, i + d)) return NULL;
        return PyObject_CallFunctionObjArgs(ufunc, a, b, a, NULL);
    }
    static int bounds_overlap(PyObject* a, PyObject* b) {
        PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b;
        char *lo1, *hi1, *lo2, *hi2;
        int i;
        if (!PyArray_Check(a) || !PyArray_Check(b)) return 0;
        lo1 = hi1 = PyArray_BYTES(x); lo2 = hi2 = PyArray_BYTES(y);
        if (PyArray_SIZE(x) == 0 || PyArray_SIZE(y) == 0) return 1;     /* nothing to share: a view like any other */
        for (i = 0; i < PyArray_NDIM(x); i++) {
            npy_intp s = PyArray_STRIDE(x, i) * (PyArray_DIM(x, i) - 1);
            if (s > 0) hi1 += s; else lo1 += s;
        }
        for (i = 0; i < PyArray_NDIM(y); i++) {
            npy_intp s = PyArray_STRIDE(y, i) * (PyArray_DIM(y, i) - 1);
            if (s > 0) hi2 += s; else lo2 += s;
        }
        hi1 += PyArray_ITEMSIZE(x); hi2 += PyArray_ITEMSIZE(y);
        return lo1 < hi2 && lo2 < hi1;
    }
    static int add_small(PyObject* a, PyObject* b) {
        int t = plain_float(a);
        PyArrayObject *x = (PyArrayObject*)a, *y = (PyArrayObject*)b;
        npy_intp n;
        if (!t || plain_float(b) != t || !same_shape(x, y) || !PyArray_ISWRITEABLE(x)) return 0;
        n = PyArray_SIZE(x);
        if (n > LIMIT) return 0;
        if (a != b && bounds_overlap(a, b) && PyArray_BYTES(x) != PyArray_BYTES(y)) return 0;    /* NumPy's loop knows overlap */
        loop(1, t, n, x, x, y);
        return 1;
    }
    static int real_value(PyObject* a, double* value) {     /* of a Python number */
        if (PyFloat_CheckExact(a)) { *value = PyFloat_AS_DOUBLE(a); return 1; }
        if (!PyLong_CheckExact(a)) return 0;
        *value = PyLong_AsDouble(a);
        if (*value == -1.0 && PyErr_Occurred()) { PyErr_Clear(); return 0; }
        return 1;
    }
    static int same_order(PyArrayObject* a, PyArrayObject* b) {     /* equal shapes, and elements in the same order in memory */
        int i;
        if (!same_shape(a, b)) return 0;
        for (i = 0; i < PyArray_NDIM(a); i++)
            if (PyArray_DIM(a, i) > 1 && PyArray_STRIDE(a, i) / PyArray_ITEMSIZE(a) != PyArray_STRIDE(b, i) / PyArray_ITEMSIZE(b)) return 0;
        return 1;
    }
    /* an array in whose memory the elements lie as in another's; NULL without error: that has gaps, runs backwards, or is 0-d */
    static PyArrayObject* empty_in_order(PyArrayObject* like) {
        PyArrayObject* out;
        if (PyArray_NDIM(like) == 0) return NULL;
        out = (PyArrayObject*)PyArray_NewLikeArray(like, NPY_KEEPORDER, NULL, 0);
        if (out != NULL && !same_order(out, like)) { Py_DECREF(out); return NULL; }
        return out;
    }
    #define CHOOSE(TYPE) { TYPE *o = (TYPE*)PyArray_DATA(out), *p = x == NULL ? NULL : (TYPE*)PyArray_DATA(x), \
                                *q = y == NULL ? NULL : (TYPE*)PyArray_DATA(y), c = (TYPE)value; \
        if (y == NULL) for (i = 0; i < n; i++) o[i] = m[i] ? p[i] : c; \
        else if (x == NULL) for (i = 0; i < n; i++) o[i] = m[i] ? c : q[i]; \
        else for (i = 0; i < n; i++) o[i] = m[i] ? p[i] : q[i]; }
    WIDE static void choose(int t, npy_intp n, const npy_bool* m, PyArrayObject* out, PyArrayObject* x, PyArrayObject* y, double value) {
        npy_intp i;
        if (t == NPY_DOUBLE) CHOOSE(double) else CHOOSE(float)
    }
    #define CUT(TYPE) { TYPE *o = (TYPE*)PyArray_DATA(out), *p = (TYPE*)PyArray_DATA(x); for (i = 0; i < n; i++) o[i] = p[i] < 0 ? 0 : p[i]; }
    WIDE static void cut_off(int t, npy_intp n, PyArrayObject* out, PyArrayObject* x) {
        npy_intp i;
        if (t == NPY_DOUBLE) CUT(double) else CUT(float)
    }
    /* the larger of elements and zero, nan where nan is; NULL without error: not handled */
    static PyObject* rectified(PyObject* a) {
        PyArrayObject *x = (PyArrayObject*)a, *out;
        int t;
        if (!PyArray_CheckExact(a)) return NULL;
        t = PyArray_DESCR(x)->type_num;
        if ((t != NPY_DOUBLE && t != NPY_FLOAT) || !PyArray_ISALIGNED(x) || !PyArray_ISNOTSWAPPED(x)) return NULL;
        out = empty_in_order(x);
        if (out != NULL) cut_off(t, PyArray_SIZE(x), out, x);
        return (PyObject*)out;
    }
    /* where(mask, a, b) for float arrays (one may be a number) that lie in memory as the mask does, densely; NULL without error: not handled */
    static PyObject* chosen(PyObject* mask, PyObject* a, PyObject* b) {
        PyArrayObject *m, *x = NULL, *y = NULL, *like, *out;
        double value = 0;
        int t;
        if (!PyArray_CheckExact(mask) || PyArray_DESCR((PyArrayObject*)mask)->type_num != NPY_BOOL) return NULL;
        if (PyArray_CheckExact(a)) x = (PyArrayObject*)a; else if (!real_value(a, &value)) return NULL;
        if (PyArray_CheckExact(b)) y = (PyArrayObject*)b; else if (!real_value(b, &value)) return NULL;
        like = x != NULL ? x : y;
        if (like == NULL) return NULL;
        m = (PyArrayObject*)mask;
        t = PyArray_DESCR(like)->type_num;
        if ((t != NPY_DOUBLE && t != NPY_FLOAT) || !PyArray_ISALIGNED(like) || !PyArray_ISNOTSWAPPED(like) || !same_order(m, like)) return NULL;
        if (x != NULL && y != NULL && (PyArray_DESCR(y)->type_num != t || !PyArray_ISALIGNED(y) || !PyArray_ISNOTSWAPPED(y) || !same_order(x, y)))
            return NULL;
        out = empty_in_order(like);
        if (out == NULL) return NULL;
        choose(t, PyArray_SIZE(like), (const npy_bool*)PyArray_DATA(m), out, x, y, value);
        return (PyObject*)out;
    }
    /* a read-only view of an array with further shape, its axes repeated without memory; NULL without error: not handled */
    static PyObject* spread(PyObject* a, PyObject* shape) {
        PyArrayObject *x = (PyArrayObject*)a, *out;
        npy_intp dims[MAXDIMS], strides[MAXDIMS], length;
        Py_ssize_t i, n, lead;
        if (!PyArray_CheckExact(a) || !PyTuple_CheckExact(shape)) return NULL;
        n = PyTuple_GET_SIZE(shape);
        lead = n - PyArray_NDIM(x);
        if (lead < 0 || n > MAXDIMS) return NULL;
        for (i = 0; i < n; i++) {
            if (!PyLong_CheckExact(PyTuple_GET_ITEM(shape, i))) return NULL;
            dims[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
            if (dims[i] < 0) { PyErr_Clear(); return NULL; }
            length = i < lead ? 1 : PyArray_DIM(x, i - lead);
            if (length != 1 && length != dims[i]) return NULL;
            strides[i] = i < lead || (length == 1 && dims[i] != 1) ? 0 : PyArray_STRIDE(x, i - lead);
        }
        Py_INCREF(PyArray_DESCR(x));
        out = (PyArrayObject*)PyArray_NewFromDescr(&PyArray_Type, PyArray_DESCR(x), (int)n, dims, strides, PyArray_DATA(x),
                                                   NPY_ARRAY_ALIGNED & PyArray_FLAGS(x), NULL);
        if (out == NULL) return NULL;
        Py_INCREF(a);
        if (PyArray_SetBaseObject(out, a) < 0) { Py_DECREF(out); return NULL; }
        return (PyObject*)out;
    }
    /* x weight^T + bias of plain matrices: 0 where it is none; 1, or 2 where BLAS is faster with the weight first: few rows, long ones */
    static int linear_form(PyObject* a, PyObject* weight, PyObject* bias) {
        PyArrayObject *x = (PyArrayObject*)a, *w = (PyArrayObject*)weight, *b = (PyArrayObject*)bias;
        int t = plain_float(a);
        npy_intp rows, inputs;
        if (!t || plain_float(weight) != t || plain_float(bias) != t) return 0;
        if (PyArray_NDIM(x) != 2 || PyArray_NDIM(w) != 2 || PyArray_NDIM(b) != 1) return 0;
        rows = PyArray_DIM(x, 0); inputs = PyArray_DIM(x, 1);
        if (PyArray_DIM(w, 1) != inputs || PyArray_DIM(b, 0) != PyArray_DIM(w, 0)) return 0;
        return PyArray_DIM(w, 0) >= rows && inputs >= 6 * rows ? 2 : 1;
    }
    #define TILE 16
    #define ADD_BIAS(TYPE) { TYPE *p = (TYPE*)PyArray_DATA(product), *b = (TYPE*)PyArray_DATA(bias), *o = (TYPE*)PyArray_DATA(out); \
        if (out == product) { for (i = 0; i < n; i++) for (j = 0; j < m; j++) o[i * m + j] += b[j]; } \
        else for (j0 = 0; j0 < m; j0 += TILE) for (i = 0; i < n; i++) { npy_intp end = j0 + TILE < m ? j0 + TILE : m; \
            for (j = j0; j < end; j++) o[i * m + j] = p[j * n + i] + b[j]; } }
    WIDE static void add_bias(int t, npy_intp n, npy_intp m, PyArrayObject* out, PyArrayObject* product, PyArrayObject* bias) {
        npy_intp i, j, j0;
        if (t == NPY_DOUBLE) ADD_BIAS(double) else ADD_BIAS(float)
    }
    /* a product plus a bias for each column: in place, or turned into a new array */
    static PyObject* with_bias(PyObject* product, PyObject* bias, int turned) {
        PyArrayObject *p = (PyArrayObject*)product, *out = p;
        npy_intp dims[2] = {PyArray_DIM(p, turned), PyArray_DIM(p, 1 - turned)};
        if (turned) { out = (PyArrayObject*)PyArray_SimpleNew(2, dims, PyArray_DESCR(p)->type_num); if (out == NULL) return NULL; }
        else Py_INCREF(out);
        add_bias(PyArray_DESCR(p)->type_num, dims[0], dims[1], out, p, (PyArrayObject*)bias);
        return (PyObject*)out;
    }
    #define FEW_ROWS 4      /* with more, a product of matrices and an addition take less time */
    #define ADD_ROWS(TYPE) { TYPE *o = (TYPE*)PyArray_DATA(x), *l = (TYPE*)PyArray_DATA(p), *r = (TYPE*)PyArray_DATA(q); \
        for (k = 0; k < rows; k++) for (i = 0; i < m; i++) { TYPE c = l[k * m + i], *to = o + i * n, *from = r + k * n; \
            for (j = 0; j < n; j++) to[j] += c * from[j]; } }
    WIDE static void add_rows(int t, npy_intp rows, npy_intp m, npy_intp n, PyArrayObject* x, PyArrayObject* p, PyArrayObject* q) {
        npy_intp i, j, k;
        if (t == NPY_DOUBLE) ADD_ROWS(double) else ADD_ROWS(float)
    }
    /* a += left^T right for matrices with few rows */
    static int add_few_rows(PyObject* a, PyObject* left, PyObject* right) {
        int t = plain_float(a);
        PyArrayObject *x = (PyArrayObject*)a, *p = (PyArrayObject*)left, *q = (PyArrayObject*)right;
        if (!t || plain_float(left) != t || plain_float(right) != t || !PyArray_ISWRITEABLE(x)) return 0;
        if (PyArray_NDIM(x) != 2 || PyArray_NDIM(p) != 2 || PyArray_NDIM(q) != 2) return 0;
        if (PyArray_DIM(p, 0) > FEW_ROWS || PyArray_DIM(q, 0) != PyArray_DIM(p, 0)) return 0;
        if (PyArray_DIM(p, 1) != PyArray_DIM(x, 0) || PyArray_DIM(q, 1) != PyArray_DIM(x, 1)) return 0;
        add_rows(t, PyArray_DIM(p, 0), PyArray_DIM(x, 0), PyArray_DIM(x, 1), x, p, q);
        return 1;
    }
    /* rows of class scores (N, C) with an int64 target for each, small and plain: the type number, else 0 */
    static int class_scores(PyObject* scores, PyObject* target) {
        PyArrayObject *x = (PyArrayObject*)scores, *k = (PyArrayObject*)target;
        int t = plain_float(scores);
        npy_intp i;
        if (!t || PyArray_NDIM(x) != 2 || PyArray_SIZE(x) > LIMIT || PyArray_DIM(x, 1) == 0) return 0;
        if (!PyArray_CheckExact(target) || PyArray_DESCR(k)->type_num != NPY_INT64 || PyArray_NDIM(k) != 1) return 0;
        if (!PyArray_IS_C_CONTIGUOUS(k) || !PyArray_ISALIGNED(k) || !PyArray_ISNOTSWAPPED(k) || PyArray_DIM(k, 0) != PyArray_DIM(x, 0)) return 0;
        for (i = 0; i < PyArray_DIM(k, 0); i++) {
            npy_int64 c = ((npy_int64*)PyArray_DATA(k))[i];
            if (c < 0 || c >= PyArray_DIM(x, 1)) return 0;
        }
        return t;
    }
    #define CLASSES(TYPE, EXP, LOG) { const TYPE *p = (const TYPE*)PyArray_DATA(x), *f = factor == NULL ? NULL : (const TYPE*)PyArray_DATA(factor); \
        TYPE *o = (TYPE*)PyArray_DATA(out); \
        for (i = 0; i < n; i++, p += m) { TYPE top = p[0], sum = 0; \
            for (j = 1; j < m; j++) top = p[j] > top ? p[j] : top; \
            if (f == NULL) { for (j = 0; j < m; j++) sum += EXP(p[j] - top); o[i] = LOG(sum) - (p[k[i]] - top); continue; } \
            for (j = 0; j < m; j++) sum += o[j] = EXP(p[j] - top); \
            for (j = 0; j < m; j++) o[j] *= f[i] / sum; \
            o[k[i]] -= f[i]; o += m; } }
    /* log(sum(exp(scores))) - scores[target] of each row; or with factors its slopes by the scores, times these. NULL without error: not handled */
    static PyObject* classes(PyObject* weights, PyObject* scores, PyObject* target) {
        PyArrayObject *factor = (PyArrayObject*)weights, *x = (PyArrayObject*)scores, *out;
        int t = class_scores(scores, target);
        npy_intp i, j, n, m;
        const npy_int64* k;
        if (!t) return NULL;
        if (factor != NULL && (plain_float(weights) != t || PyArray_NDIM(factor) != 1 || PyArray_DIM(factor, 0) != PyArray_DIM(x, 0))) return NULL;
        n = PyArray_DIM(x, 0); m = PyArray_DIM(x, 1);
        k = (const npy_int64*)PyArray_DATA((PyArrayObject*)target);
        out = (PyArrayObject*)PyArray_SimpleNew(factor == NULL ? 1 : 2, PyArray_DIMS(x), t);
        if (out == NULL) return NULL;
        if (t == NPY_DOUBLE) CLASSES(double, exp, log) else CLASSES(float, expf, logf)
        return (PyObject*)out;
    }
    static int is_writeable(PyObject* a) { return !PyArray_Check(a) || PyArray_ISWRITEABLE((PyArrayObject*)a); }
    static int owns(PyObject* a) {
        return PyArray_CheckExact(a) && may_overwrite(a) && PyArray_CHKFLAGS((PyArrayObject*)a, NPY_ARRAY_OWNDATA);
    }
    """
    int is_matrix_product(PyObject* a, PyObject* b) noexcept
    PyObject* spread(PyObject* a, PyObject* shape) except? NULL
    PyObject* classes(PyObject* factor, PyObject* scores, PyObject* target) except? NULL
    int linear_form(PyObject* a, PyObject* weight, PyObject* bias) noexcept
    PyObject* with_bias(PyObject* product, PyObject* bias, int turned) except NULL
    PyObject* rectified(PyObject* a) except? NULL
    PyObject* chosen(PyObject* mask, PyObject* a, PyObject* b) except? NULL
    object PyArray_MatrixProduct(object a, object b)
    int same_array_meta(PyObject*, PyObject*) noexcept
    PyObject* small(int code, PyObject* a, PyObject* b, int spare)
    PyObject* scalars(int code, PyObject* a, PyObject* b, int warns)
    PyObject* small_forward(int code, PyObject* a, PyObject* b)
    int put_element(PyObject* a, PyObject* key, PyObject* g) noexcept
    PyObject* multiply_into(PyObject* ufunc, PyObject* a, PyObject* b)
    int add_small(PyObject* a, PyObject* b) noexcept
    int add_few_rows(PyObject* a, PyObject* left, PyObject* right) noexcept
    int owns(PyObject* a) noexcept
    int is_writeable(PyObject* a) noexcept
    int bounds_overlap(PyObject* a, PyObject* b) noexcept

cdef object multiply_ufunc = np.multiply
cdef object matmul_ufunc = np.matmul
cdef object np_where = np.where
cdef object np_broadcast_to = np.broadcast_to
cdef object np_asarray = np.asarray
cdef object add_reduce = np.add.reduce
cdef object zero = 0

cdef extern from "Python.h":
    PyObject* PyObject_CallFunctionObjArgs(PyObject*, ...)


cdef int same(PyObject* a, PyObject* b) noexcept:
    return same_array_meta(a, b)


cdef PyObject* multiply(PyObject* a, PyObject* b, int spare):
    """g * d, into one of the two where it is spare."""
    cdef PyObject* out = small(3, a, b, spare)
    if out == NULL:
        out = scalars(3, a, b, 0)
    if out == NULL and spare & 1:
        out = multiply_into(<PyObject*>multiply_ufunc, a, b)
    return out


cdef PyObject* forward(int code, PyObject* a, PyObject* b):
    """The forward value of + - * / for small arrays; NumPy's ufunc takes over where a floating-point warning is due."""
    return small_forward(code, a, b)


cdef int put(PyObject* a, PyObject* key, PyObject* g) except -1:
    """a[key] += g for one element."""
    return put_element(a, key, g)


cdef int add_into(PyObject* a, PyObject* b) except -1:
    """a += b."""
    return add_small(a, b)


cdef int add_product(PyObject* a, PyObject* left, PyObject* right) except -1:
    """a += left^T right, without the product in between."""
    return add_few_rows(a, left, right)


cdef int fresh(PyObject* a) noexcept:
    return owns(a)


cdef int writeable(PyObject* a) noexcept:
    return is_writeable(a)


cdef int shares(PyObject* a, PyObject* b) noexcept:
    return bounds_overlap(a, b)


cdef PyObject* sum_leading(PyObject* a, int n):
    """Sum over the first n axes."""
    axes = zero if n == 1 else tuple(range(n))
    return PyObject_CallFunctionObjArgs(<PyObject*>add_reduce, a, <PyObject*>axes, NULL)


def matmul(x1, x2, /):
    """The product of arrays; of two matrices by way of np.dot, which uses BLAS where np.matmul does not (inner length 1) and starts faster."""
    return PyArray_MatrixProduct(x1, x2) if is_matrix_product(<PyObject*>x1, <PyObject*>x2) else matmul_ufunc(x1, x2)


def where(condition, x1, x2, /):
    """Elements of x1 where the condition holds, else of x2: np.where with a vectorised loop for masks of gradients."""
    cdef PyObject* out = chosen(<PyObject*>condition, <PyObject*>x1, <PyObject*>x2)
    return np_where(condition, x1, x2) if out == NULL else given(out)


def linear(x, weight, bias):
    """x weight^T + bias for plain matrices; None if they are not."""
    cdef int form = linear_form(<PyObject*>x, <PyObject*>weight, <PyObject*>bias)
    if not form:
        return None
    product = PyArray_MatrixProduct(weight, x.T) if form == 2 else PyArray_MatrixProduct(x, weight.T)
    return given(with_bias(<PyObject*>product, <PyObject*>bias, form == 2))


def relu(x):
    """The larger of x and zero; None if x is no array of floats that fill their memory."""
    cdef PyObject* out = rectified(<PyObject*>x)
    return None if out == NULL else given(out)


def broadcast_to(x, /, shape):
    """np.broadcast_to, which takes ten times as long: an array that repeats another's elements, read-only."""
    cdef PyObject* out
    x = x if isinstance(x, cnp.ndarray) else np_asarray(x)
    out = spread(<PyObject*>x, <PyObject*>shape)
    return np_broadcast_to(x, shape) if out == NULL else given(out)


def class_losses(x, target):
    """log(sum(exp(x))) - x[target] for each of a few rows; None if that is not what was given."""
    cdef PyObject* out = classes(NULL, <PyObject*>x, <PyObject*>target)
    return None if out == NULL else given(out)


def class_slopes(factor, x, target):
    """The slopes of `class_losses` by x, times a factor for each row; None if that is not what was given."""
    cdef PyObject* out = classes(<PyObject*>factor, <PyObject*>x, <PyObject*>target)
    return None if out == NULL else given(out)


cdef inline object given(PyObject* new):
    """The reference that a function of the C API gave us."""
    result = <object>new
    Py_DECREF(result)
    return result


def install(Backend backend not None):
    """Give a backend of NumPy arrays the short cuts."""
    backend.speed.same = same
    backend.speed.multiply = multiply
    backend.speed.add_into = add_into
    backend.speed.add_product = add_product
    backend.speed.fresh = fresh
    backend.speed.shares = shares
    backend.speed.writeable = writeable
    backend.speed.forward = forward
    backend.speed.put = put
    backend.speed.sum_leading = sum_leading
