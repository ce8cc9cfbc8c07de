# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Loops of convolution and pooling for NumPy arrays of float32 and float64; backends/numpy_windows.py works without this file, slower.

It must not know ops, rules, tensors or the graph. Arrays have four axes, (first, second, rows, columns), and windows two.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from array import array

cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #define RUN 64      /* windows side by side whose best elements are kept in registers or the nearest cache */

    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
    #define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))   /* the widest vectors that the processor has */
    #else
    #define WIDE
    #endif

    /* The largest of `count` elements at `offsets` from where each of n windows begins, and which of them it is. What is kept is chosen by
       masks on bits: a branch on random numbers costs more than the rest. A nan is unequal to itself, and wins. */
    #define CHOOSE(I, STEP) \\
        for (q = 0; q < n; q++) { \\
            I better; \\
            kept.number = best[q]; \\
            seen.number = y[q * (STEP)]; \\
            better = -(I)((seen.number > kept.number) | (seen.number != seen.number)); \\
            kept.bits = (seen.bits & better) | (kept.bits & ~better); \\
            best[q] = kept.number; \\
            chosen[q] = ((I)k & better) | (chosen[q] & ~better); \\
        }
    #define LARGEST(T, I, NAME) \\
        WIDE static void NAME(const T* x, ptrdiff_t step, ptrdiff_t n, const ptrdiff_t* offsets, const int64_t* numbers, ptrdiff_t count, \\
                              int64_t number, int64_t number_step, T* values, int64_t* which) { \\
            T best[RUN]; \\
            I chosen[RUN]; \\
            union { T number; I bits; } kept, seen; \\
            ptrdiff_t q, k; \\
            for (q = 0; q < n; q++) { best[q] = x[offsets[0] + q * step]; chosen[q] = 0; } \\
            for (k = 1; k < count; k++) { \\
                const T* y = x + offsets[k]; \\
                if (step == 1) { CHOOSE(I, 1) } else if (step == 2) { CHOOSE(I, 2) } else { CHOOSE(I, step) } \\
            } \\
            for (q = 0; q < n; q++) { values[q] = best[q]; which[q] = number + q * number_step + numbers[chosen[q]]; } \\
        }
    LARGEST(float, int32_t, largest_float)
    LARGEST(double, int64_t, largest_double)
    """
    const Py_ssize_t RUN
    void largest_float(
        const float*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, const int64_t*, Py_ssize_t, int64_t, int64_t, float*, int64_t*
    ) noexcept nogil
    void largest_double(
        const double*, Py_ssize_t, Py_ssize_t, const Py_ssize_t*, const int64_t*, Py_ssize_t, int64_t, int64_t, double*, int64_t*
    ) noexcept nogil

ctypedef fused real:
    float
    double


cdef struct Window:
    Py_ssize_t height, width, down, right, rows_apart, columns_apart    # elements of the window, its stride, how far elements are apart


cdef Window window_of(size, stride, dilation):
    cdef Window w
    (w.height, w.width), (w.down, w.right), (w.rows_apart, w.columns_apart) = size, stride, dilation
    return w


# ------------------------------------------------------------------------------------------------------------------------------------ pooling


def max_pool(x, values, which, size, stride, before, dilation):
    """Write the largest element of each window, and its number in the plane: of equal ones the first, of several nan the last."""
    cdef Py_ssize_t top, left
    top, left = before
    if values.itemsize == 4:
        pool[float](x, values, which, window_of(size, stride, dilation), top, left)
    else:
        pool[double](x, values, which, window_of(size, stride, dilation), top, left)


cdef int pool(
    const real[:, :, :, :] x, real[:, :, :, ::1] values, int64_t[:, :, :, ::1] which, Window w, Py_ssize_t above, Py_ssize_t before,
) except -1:
    cdef Py_ssize_t a, b, p, q, n, k, i, j, top, i0, i1, item = sizeof(real), down = x.strides[2] // item, right = x.strides[3] // item
    cdef Py_ssize_t height = x.shape[2], width = x.shape[3], count = values.shape[3]
    cdef Py_ssize_t last = width + before - (w.width - 1) * w.columns_apart - 1     # the last column, from the first window, to begin at
    cdef Py_ssize_t inner = min(count, (max(before, 0) + w.right - 1) // w.right)   # from here to `outer` windows lie inside of their rows
    cdef Py_ssize_t outer = max(inner, min(count, last // w.right + 1 if last >= 0 else 0))
    cdef Py_ssize_t[::1] offsets = table([i * w.rows_apart * down + j * w.columns_apart * right for i in range(w.height) for j in range(w.width)])
    cdef int64_t[::1] numbers = table([i * w.rows_apart * width + j * w.columns_apart for i in range(w.height) for j in range(w.width)])
    cdef Py_ssize_t[::1] some = offsets.copy()      # of a window that is partly outside
    cdef int64_t[::1] their = numbers.copy()
    cdef const real* row
    with nogil:
        for a in range(x.shape[0]):
            for b in range(x.shape[1]):
                for p in range(values.shape[2]):
                    top = p * w.down - above
                    i0, i1 = first_inside(top, w.rows_apart), end_inside(top, w.rows_apart, w.height, height)
                    row = &x[a, b, 0, 0] + top * down - before * right
                    q = 0
                    while q < count:
                        if inner <= q < outer:
                            n = min(outer - q, RUN)
                            k = i0 * w.width
                            largest(row + q * w.right * right, w.right * right, n, &offsets[k], &numbers[k], (i1 - i0) * w.width,
                                    top * width + q * w.right - before, w.right, &values[a, b, p, q], &which[a, b, p, q])
                            q += n
                            continue
                        k = 0
                        for i in range(i0, i1):
                            for j in range(first_inside(q * w.right - before, w.columns_apart),
                                           end_inside(q * w.right - before, w.columns_apart, w.width, width)):
                                some[k], their[k] = offsets[i * w.width + j], numbers[i * w.width + j]
                                k += 1
                        largest(row + q * w.right * right, 0, 1, &some[0], &their[0], k,
                                top * width + q * w.right - before, 0, &values[a, b, p, q], &which[a, b, p, q])
                        q += 1
    return 0


cdef table(numbers):
    """Whole numbers in memory of their own."""
    return array("q", numbers)


cdef inline void largest(
    const real* x, Py_ssize_t step, Py_ssize_t n, const Py_ssize_t* offsets, const int64_t* numbers, Py_ssize_t count, int64_t number,
    int64_t number_step, real* values, int64_t* which,
) noexcept nogil:
    if real is float:
        largest_float(x, step, n, offsets, numbers, count, number, number_step, values, which)
    else:
        largest_double(x, step, n, offsets, numbers, count, number, number_step, values, which)


cdef inline Py_ssize_t first_inside(Py_ssize_t start, Py_ssize_t apart) noexcept nogil:
    """The first element of a window that does not lie in front of its axis."""
    return 0 if start >= 0 else (apart - 1 - start) // apart


cdef inline Py_ssize_t end_inside(Py_ssize_t start, Py_ssize_t apart, Py_ssize_t size, Py_ssize_t length) noexcept nogil:
    """How many elements of a window lie in front of the end of its axis."""
    return size if start + (size - 1) * apart < length else (length - 1 - start) // apart + 1


def unpool(x, which, out):
    """Add each element of x in its plane of `out`, flat, where `which` has the number of its place. False if there is no such place."""
    return add_at[float](x, which, out) if out.itemsize == 4 else add_at[double](x, which, out)


cdef bint add_at(const real[:, :, :] x, const int64_t[:, :, :] which, real[:, :, ::1] out) except -1:
    cdef Py_ssize_t a, b, q
    cdef int64_t n
    with nogil:
        for a in range(x.shape[0]):
            for b in range(x.shape[1]):
                for q in range(x.shape[2]):
                    n = which[a, b, q]
                    if n < 0 or n >= out.shape[2]:
                        return False
                    out[a, b, n] += x[a, b, q]
    return True


# -------------------------------------------------------------------------------------------------------------------------------- convolution
# Columns are (first, elements of the window, second, rows, columns).


def columns(x, out, size, stride, dilation):
    """Copy what each element of the window meets in x."""
    if out.itemsize == 4:
        gather[float](x, out, window_of(size, stride, dilation))
    else:
        gather[double](x, out, window_of(size, stride, dilation))


cdef int gather(const real[:, :, :, :] x, real[:, :, :, :, ::1] out, Window w) except -1:
    cdef Py_ssize_t a, k, b, p, q, item = sizeof(real), right = w.right * (x.strides[3] // item), n = out.shape[4]
    cdef const real* row
    cdef real* to
    with nogil:
        for a in range(out.shape[0]):
            for k in range(out.shape[1]):
                for b in range(out.shape[2]):
                    for p in range(out.shape[3]):
                        to = &out[a, k, b, p, 0]
                        row = &x[a, b, p * w.down + k // w.width * w.rows_apart, k % w.width * w.columns_apart]
                        if right == 1:
                            memcpy(to, row, n * item)
                        else:
                            for q in range(n):
                                to[q] = row[q * right]
    return 0


def overlap_add(parts, out, size, stride, dilation):
    """Add columns where what they met stands in `out`, whose last axis has no gaps."""
    if out.itemsize == 4:
        scatter[float](parts, out, window_of(size, stride, dilation))
    else:
        scatter[double](parts, out, window_of(size, stride, dilation))


cdef int scatter(const real[:, :, :, :, ::1] parts, real[:, :, :, :] out, Window w) except -1:
    cdef Py_ssize_t a, k, b, p, q, n = parts.shape[4]
    cdef const real* row
    cdef real* to
    with nogil:
        for a in range(parts.shape[0]):
            for k in range(parts.shape[1]):
                for b in range(parts.shape[2]):
                    for p in range(parts.shape[3]):
                        row = &parts[a, k, b, p, 0]
                        to = &out[a, b, p * w.down + k // w.width * w.rows_apart, k % w.width * w.columns_apart]
                        if w.right == 1:
                            for q in range(n):
                                to[q] += row[q]
                        else:
                            for q in range(n):
                                to[q * w.right] += row[q]
    return 0
