# cython: cdivision=True
"""The formulas of `agrad.optim.updates` as loops that write into NumPy arrays in one pass, for the NumPy adapter's `updates`.

Everything works without this file. It must not know optimizers, tensors or the engine. A loop does the formula's operations in the formula's
order (and is compiled so that none are fused), so that both give the same numbers; there each formula has its source, and here no comment.
"""
cimport cython
cimport numpy as cnp
from libc.math cimport fabs, fabsf, sqrt, sqrtf

cnp.import_array()

cdef enum:
    WIDTH = 4       # the most arrays that a loop writes: a parameter and three buffers
    NUMBERS = 10    # the most coefficients
    SMALL = 10000   # elements; below, releasing the GIL takes longer than the loop

ctypedef fused real:
    float
    double

ctypedef void (*SingleLoop)(float** a, const float* g, Py_ssize_t n, int width, const double* c) noexcept nogil
ctypedef void (*DoubleLoop)(double** a, const double* g, Py_ssize_t n, int width, const double* c) noexcept nogil


# ---- elements

cdef inline real root(real x) noexcept nogil:
    if real is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline real magnitude(real x) noexcept nogil:
    if real is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline real larger(real x, real y) noexcept nogil:
    """NaN if one of them is."""
    return x if x >= y or x != x else y


cdef inline real descent(real p, real g, bint maximize, real decay) noexcept nogil:
    if maximize:
        g = -g
    return g + decay * p if decay != 0 else g


# ---- loops: `a` holds the parameter and its buffers, `c` the coefficients in the formula's order

cdef void sgd(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0, nesterov = c[5] != 0
    cdef real decay = <real>c[1], lr = <real>c[2], momentum = <real>c[3], intake = <real>c[4], d, velocity
    cdef real* p = a[0]
    cdef real* buffer = a[1]
    cdef Py_ssize_t i
    if width == 1:
        for i in range(n):
            p[i] = p[i] - lr * descent(p[i], g[i], maximize, decay)
        return
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        velocity = momentum * buffer[i] + intake * d
        p[i] = p[i] - lr * (d + momentum * velocity if nesterov else velocity)
        buffer[i] = velocity


cdef void adagrad(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0
    cdef real decay = <real>c[1], lr = <real>c[2], eps = <real>c[3], d
    cdef real* p = a[0]
    cdef real* total = a[1]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        total[i] = total[i] + d * d
        p[i] = p[i] - lr * (d / (root(total[i]) + eps))


cdef void rmsprop(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0, centered = c[7] != 0, moves = c[6] != 0
    cdef real decay = <real>c[1], lr = <real>c[2], alpha = <real>c[3], intake = <real>c[4], eps = <real>c[5], momentum = <real>c[6]
    cdef real d, variance, move
    cdef real* p = a[0]
    cdef real* square = a[1]
    cdef real* mean = a[2]
    cdef real* buffer = a[width - 1]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        square[i] = variance = alpha * square[i] + intake * (d * d)
        if centered:
            mean[i] = mean[i] + intake * (d - mean[i])
            variance = variance - mean[i] * mean[i]
        move = d / (root(variance) + eps)
        if moves:
            buffer[i] = move = momentum * buffer[i] + move
        p[i] = p[i] - lr * move


cdef void adadelta(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0
    cdef real decay = <real>c[1], lr = <real>c[2], rho = <real>c[3], intake = <real>c[4], eps = <real>c[5], d, move
    cdef real* p = a[0]
    cdef real* square = a[1]
    cdef real* moves = a[2]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        square[i] = rho * square[i] + intake * (d * d)
        move = root(moves[i] + eps) / root(square[i] + eps) * d
        moves[i] = rho * moves[i] + intake * (move * move)
        p[i] = p[i] - lr * move


cdef void adam(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0
    cdef real decay = <real>c[1], keep = <real>c[2], lr = <real>c[3], intake1 = <real>c[4], beta2 = <real>c[5], intake2 = <real>c[6]
    cdef real correction = <real>c[7], eps = <real>c[8], d
    cdef real* p = a[0]
    cdef real* mean = a[1]
    cdef real* square = a[2]
    cdef real* largest = a[3]
    cdef Py_ssize_t i
    if width == 3:
        for i in range(n):
            d = descent(p[i], g[i], maximize, decay)
            mean[i] = mean[i] + intake1 * (d - mean[i])
            square[i] = beta2 * square[i] + intake2 * (d * d)
            p[i] = keep * p[i] - lr * (mean[i] / (root(square[i]) / correction + eps))
        return
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        mean[i] = mean[i] + intake1 * (d - mean[i])
        square[i] = beta2 * square[i] + intake2 * (d * d)
        largest[i] = larger(largest[i], square[i])
        p[i] = keep * p[i] - lr * (mean[i] / (root(largest[i]) / correction + eps))


cdef void adamax(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0
    cdef real decay = <real>c[1], lr = <real>c[2], intake1 = <real>c[3], beta2 = <real>c[4], eps = <real>c[5], d
    cdef real* p = a[0]
    cdef real* mean = a[1]
    cdef real* largest = a[2]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        mean[i] = mean[i] + intake1 * (d - mean[i])
        largest[i] = larger(beta2 * largest[i], magnitude(d) + eps)
        p[i] = p[i] - lr * (mean[i] / largest[i])


cdef void nadam(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0
    cdef real decay = <real>c[1], keep = <real>c[2], lr_gradient = <real>c[3], lr_mean = <real>c[4], intake1 = <real>c[5], beta2 = <real>c[6]
    cdef real intake2 = <real>c[7], correction = <real>c[8], eps = <real>c[9], d, size
    cdef real* p = a[0]
    cdef real* mean = a[1]
    cdef real* square = a[2]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        mean[i] = mean[i] + intake1 * (d - mean[i])
        square[i] = beta2 * square[i] + intake2 * (d * d)
        size = root(square[i] / correction) + eps
        p[i] = keep * p[i] - lr_gradient * (d / size) - lr_mean * (mean[i] / size)


cdef void radam(real** a, const real* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    cdef bint maximize = c[0] != 0, adaptive = c[8] != 0
    cdef real decay = <real>c[1], keep = <real>c[2], lr = <real>c[3], intake1 = <real>c[4], beta2 = <real>c[5], intake2 = <real>c[6]
    cdef real eps = <real>c[7], d
    cdef real* p = a[0]
    cdef real* mean = a[1]
    cdef real* square = a[2]
    cdef Py_ssize_t i
    for i in range(n):
        d = descent(p[i], g[i], maximize, decay)
        mean[i] = mean[i] + intake1 * (d - mean[i])
        square[i] = beta2 * square[i] + intake2 * (d * d)
        p[i] = keep * p[i] - lr * (mean[i] / (root(square[i]) + eps) if adaptive else mean[i])


# ---- what Python calls

@cython.final
cdef class Loop:
    """Updates arrays in place: `loop(targets, gradients, coefficients)`.

    `targets` holds, for each gradient, the parameter and its buffers. Returns the positions of the gradients whose arrays it left alone,
    since they are not all contiguous in the same way, in memory of one float or complex dtype, or the gradient lies partly in what is written.
    """
    cdef SingleLoop in_single
    cdef DoubleLoop in_double
    cdef int least, most        # how many arrays it writes
    cdef int n_coefficients

    def __init__(self):
        raise TypeError("loops are found in `loops`")

    def __call__(self, tuple targets not None, tuple gradients not None, coefficients not None):
        cdef double c[NUMBERS]
        cdef Py_ssize_t i, n = len(gradients)
        cdef int width = <int>(len(targets) // n) if n else self.least
        if len(targets) != n * width or not self.least <= width <= self.most or len(coefficients) != self.n_coefficients:
            raise ValueError(f"{len(targets)} targets, {n} gradients and {len(coefficients)} coefficients do not fit the formula")
        for i in range(self.n_coefficients):
            c[i] = coefficients[i]
        left = []
        for i in range(n):
            if not run(self, targets, i * width, width, gradients[i], c):
                left.append(i)
        return left


cdef bint run(Loop loop, tuple targets, Py_ssize_t first, int width, object gradient, const double* c):
    """Update one parameter, if its arrays are plain."""
    cdef void* a[WIDTH]
    cdef void* g
    cdef Py_ssize_t n, size, distance
    cdef int i, kind, order = cnp.NPY_ARRAY_C_CONTIGUOUS
    cdef cnp.ndarray array
    if type(gradient) is not cnp.ndarray:
        return False
    array = <cnp.ndarray>gradient
    if not cnp.PyArray_CHKFLAGS(array, order):
        order = cnp.NPY_ARRAY_F_CONTIGUOUS
    kind, n, g = cnp.PyArray_TYPE(array), cnp.PyArray_SIZE(array), cnp.PyArray_DATA(array)
    if not is_plain(array, kind, n, order):
        return False
    size = cnp.PyArray_NBYTES(array)
    for i in range(width):
        if type(targets[first + i]) is not cnp.ndarray:
            return False
        array = <cnp.ndarray>targets[first + i]
        if not is_plain(array, kind, n, order | cnp.NPY_ARRAY_WRITEABLE):
            return False
        a[i] = cnp.PyArray_DATA(array)
        distance = <char*>a[i] - <char*>g
        if distance != 0 and -size < distance < size:
            return False
    for i in range(width, WIDTH):
        a[i] = NULL
    if kind == cnp.NPY_CFLOAT or kind == cnp.NPY_CDOUBLE:
        n *= 2      # complex numbers count as two real ones
    if n < SMALL:
        compute(loop, kind, a, g, n, width, c)
    else:
        with nogil:
            compute(loop, kind, a, g, n, width, c)
    return True


cdef inline bint is_plain(cnp.ndarray array, int kind, Py_ssize_t n, int flags) noexcept:
    return (cnp.PyArray_TYPE(array) == kind and cnp.PyArray_SIZE(array) == n and cnp.PyArray_ISNOTSWAPPED(array)
            and cnp.PyArray_CHKFLAGS(array, flags | cnp.NPY_ARRAY_ALIGNED)
            and (kind == cnp.NPY_FLOAT or kind == cnp.NPY_DOUBLE or kind == cnp.NPY_CFLOAT or kind == cnp.NPY_CDOUBLE))


cdef void compute(Loop loop, int kind, void** a, void* g, Py_ssize_t n, int width, const double* c) noexcept nogil:
    if kind == cnp.NPY_FLOAT or kind == cnp.NPY_CFLOAT:
        loop.in_single(<float**>a, <const float*>g, n, width, c)
    else:
        loop.in_double(<double**>a, <const double*>g, n, width, c)


cdef Loop make(SingleLoop single, DoubleLoop double_, int least, int most, int n_coefficients):
    cdef Loop loop = Loop.__new__(Loop)
    loop.in_single, loop.in_double, loop.least, loop.most, loop.n_coefficients = single, double_, least, most, n_coefficients
    return loop


loops = {
    "sgd": make(sgd[float], sgd[double], 1, 2, 6),
    "adagrad": make(adagrad[float], adagrad[double], 2, 2, 4),
    "rmsprop": make(rmsprop[float], rmsprop[double], 2, 4, 8),
    "adadelta": make(adadelta[float], adadelta[double], 3, 3, 6),
    "adam": make(adam[float], adam[double], 3, 4, 9),
    "adamax": make(adamax[float], adamax[double], 3, 3, 6),
    "nadam": make(nadam[float], nadam[double], 3, 3, 10),
    "radam": make(radam[float], radam[double], 3, 3, 9),
}
