"""Lengths that are known only when a model runs, and the shapes that operations make of them.

A `Symbol` is a polynomial with integer coefficients over named lengths, in one canonical form: two lengths are equal if
and only if their forms are. What the form does not decide is never guessed: it raises `Undecidable`, so that a gradient
cannot be summed over a wrong axis. This file must know no array library; the length at run time comes from its `Atom`s.
Why this is so: docs/notes/lengths.md.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import count, zip_longest
from math import prod
from typing import Any, NamedTuple

Shape = tuple[Any, ...]  # of int and Symbol
Terms = dict[tuple["Atom", ...], int]  # monomial -> coefficient; () is the constant's


class Undecidable(RuntimeError):
    """Something depends on what is known only when the model runs.

    Attributes
    ----------
    function : str or None
        What was called.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.function: str | None = None

    def __str__(self) -> str:
        place = f"{self.function}() on the backend ndonnx: " if self.function else "ndonnx: "
        return place + super().__str__()


class Atom:
    """A length with a name. Two atoms are the same if their names are; the name of a computed one is its formula.

    Attributes
    ----------
    name : str
    least : int
        No value is smaller. Named axes have at least one element.
    """

    __slots__ = ("_measured", "_value", "least", "name")

    def __init__(self, name: str, value: Callable[[], Any], least: int = 1) -> None:
        self.name, self.least = name, least
        self._value = value
        self._measured: Any = None

    def value(self) -> Any:
        """The length at run time, as the tracing library computes with it; asked for once."""
        if self._measured is None:
            self._measured = self._value()
        return self._measured

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


_anonymous = count(1)


def new_length(value: Callable[[], Any], name: str | None = None) -> "Symbol":
    """The symbol of a named length; without a name it is one of its own, equal to no other, and may be zero."""
    if name is None:
        return Symbol({(Atom(f"?{next(_anonymous)}", value, 0),): 1})
    return Symbol({(Atom(name, value),): 1})


class Symbol:
    """A length that is not a known integer: a polynomial over named lengths.

    + - * // % with integers and symbols give integers and symbols. Comparisons are decided where they hold for all
    lengths; otherwise they are made at run time, and using them in an `if` raises. Other arithmetic gives numbers of
    the tracing library.
    """

    __slots__ = ("_at_run_time", "terms")
    __array_ufunc__ = None  # NumPy's numbers leave arithmetic to us

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._at_run_time: Any = None

    # -- arithmetic

    def __add__(self, other: Any) -> Any:
        terms = _terms(other)
        if terms is None:
            return self._number(other, "__add__")
        total = dict(self.terms)
        for monomial, coefficient in terms.items():
            total[monomial] = total.get(monomial, 0) + coefficient
        return _length(total)

    def __mul__(self, other: Any) -> Any:
        terms = _terms(other)
        return self._number(other, "__mul__") if terms is None else _length(_multiply(self.terms, terms))

    def __sub__(self, other: Any) -> Any:
        return self._number(other, "__sub__") if _terms(other) is None else self + -_whole(other)

    def __rsub__(self, other: Any) -> Any:
        return self._number(other, "__rsub__") if _terms(other) is None else -self + other

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __pow__(self, exponent: Any) -> Any:
        whole = isinstance(exponent, int) and exponent >= 0
        return prod([self] * exponent) if whole else self._number(exponent, "__pow__")

    def __floordiv__(self, other: Any) -> Any:
        terms = _terms(other)
        return self._number(other, "__floordiv__") if terms is None else _divide(self.terms, terms)

    def __rfloordiv__(self, other: Any) -> Any:
        terms = _terms(other)
        return self._number(other, "__rfloordiv__") if terms is None else _divide(terms, self.terms)

    def __mod__(self, other: Any) -> Any:
        return self._number(other, "__mod__") if _terms(other) is None else self - (self // other) * _whole(other)

    def __rmod__(self, other: Any) -> Any:
        return self._number(other, "__rmod__") if _terms(other) is None else other - (other // self) * self

    def __truediv__(self, other: Any) -> Any:
        return self._number(other, "__truediv__")

    def __rtruediv__(self, other: Any) -> Any:
        return self._number(other, "__rtruediv__")

    __radd__, __rmul__ = __add__, __mul__

    def _number(self, other: Any, operation: str) -> Any:
        """What is no length any more is computed when the model runs."""
        if isinstance(other, Symbol):
            other = other.number()
        if not (isinstance(other, (int, float)) or hasattr(other, "as_number")):
            return NotImplemented
        return getattr(self.number(), operation)(other)

    # -- at run time

    def value(self) -> Any:
        """The length at run time: a vector with one integer."""
        if self._at_run_time is None:
            total: Any = None
            for monomial, coefficient in self.terms.items():
                factors = [atom.value() for atom in monomial]
                part: Any = prod(factors[1:], start=factors[0]) if factors else coefficient
                part = part * coefficient if factors and coefficient != 1 else part
                total = part if total is None else total + part
            self._at_run_time = total
        return self._at_run_time

    def number(self) -> Any:
        """The length at run time: a number that takes the dtype of what it meets, as Python's do."""
        return self.value().as_number()

    # -- comparisons

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, "__lt__", is_negative, True)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, "__le__", is_positive, False)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, "__gt__", is_positive, True)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, "__ge__", is_negative, False)

    def _compare(self, other: Any, operation: str, question: Callable[[Any], bool | None], meaning: bool) -> Any:
        answer = None if _terms(other) is None else question(self - other)
        if answer is not None:
            return answer is meaning
        found = self._number(other, operation)
        if found is not NotImplemented:
            found.meaning = f"how the length {self} compares with {other}"
        return found

    @property
    def is_named(self) -> bool:
        """Whether it can be written with the names of axes alone."""
        return "?" not in repr(self)

    # -- what it cannot be

    def __bool__(self) -> bool:
        return decide(is_positive(self), f"whether the length {self} is 0")

    def __index__(self) -> int:
        raise TypeError(f"the length {self} is a number only when the model runs: Python cannot count or loop with it")

    def __float__(self) -> float:
        raise TypeError(f"the length {self} is a number only when the model runs; use the functions of arrays on it")

    def __repr__(self) -> str:
        text = ""
        for monomial, coefficient in sorted(self.terms.items(), key=_written_first):
            sign = "-" if coefficient < 0 else "+" if text else ""
            size = [str(abs(coefficient))] if abs(coefficient) != 1 or not monomial else []
            text += sign + "*".join(size + [atom.name for atom in monomial])
        return text


# ---------------------------------------------------------------------------------------------------------- arithmetic


def _written_first(term: tuple[tuple[Atom, ...], int]) -> Any:
    monomial, coefficient = term
    return coefficient < 0, -len(monomial), [atom.name for atom in monomial]


def _whole(value: Any) -> Any:
    """A length in the place of a float without a fraction."""
    return int(value) if isinstance(value, float) else value


def _terms(value: Any) -> Terms | None:
    """A length as a polynomial; None of anything else."""
    if isinstance(value, Symbol):
        return value.terms
    if isinstance(value, (int, float)) and value == value // 1 and not isinstance(value, bool):
        return {(): int(value)}
    return None


def _length(terms: Terms) -> Any:
    """The integer or the symbol that a polynomial is."""
    terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
    if all(monomial == () for monomial in terms):
        return terms.get((), 0)
    return Symbol(terms)


def _multiply(a: Terms, b: Terms) -> Terms:
    total: Terms = {}
    for one, p in a.items():
        for other, q in b.items():
            monomial = tuple(sorted((*one, *other), key=str))
            total[monomial] = total.get(monomial, 0) + p * q
    return total


def _leading(terms: Terms) -> tuple[tuple[Atom, ...], int]:
    return max(terms.items(), key=lambda term: (len(term[0]), [atom.name for atom in term[0]]))


def _divide(a: Terms, b: Terms) -> Any:
    """a // b: exactly where that is possible, else a length of its own."""
    if not any(b.values()):
        raise ZeroDivisionError("division of a length by zero")
    quotient: Terms = {}
    rest = {m: c for m, c in a.items() if c}
    top, factor = _leading(b)
    while rest:
        monomial, coefficient = _leading(rest)
        left = list(monomial)
        for atom in top:
            if atom not in left:
                return _floor(_length(a), _length(b))
            left.remove(atom)
        if coefficient % factor:
            return _floor(_length(a), _length(b))
        part = {tuple(left): coefficient // factor}
        quotient |= part
        for m, c in _multiply(part, b).items():
            rest[m] = rest.get(m, 0) - c
        rest = {m: c for m, c in rest.items() if c}
    return _length(quotient)


def _text(length: Any) -> str:
    return f"({length})" if isinstance(length, Symbol) and len(length.terms) > 1 else str(length)


def _floor(a: Any, b: Any) -> Any:
    return _computed(f"({_text(a)}//{_text(b)})", 0, lambda: _value(a) // _value(b))


def _computed(name: str, least: int, value: Callable[[], Any]) -> Any:
    return Symbol({(Atom(name, value, least),): 1})


def _value(length: Any) -> Any:
    return length.value() if isinstance(length, Symbol) else length


def larger(a: Any, b: Any) -> Any:
    """The larger of two lengths."""
    known = is_negative(a - b)
    if known is not None or is_positive(a - b) is False:
        return b if known is not False else a
    return _computed(f"max({a},{b})", max(least(a), least(b)), lambda: _pick(a, b, 1))


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two lengths."""
    known = is_positive(a - b)
    if known is not None or is_negative(a - b) is False:
        return b if known is not False else a
    return _computed(f"min({a},{b})", min(least(a), least(b)), lambda: _pick(a, b, -1))


def _pick(a: Any, b: Any, sign: int) -> Any:
    """The larger or smaller one at run time, with nothing but arithmetic."""
    a, b = _value(a), _value(b)
    return (a + b + sign * abs(a - b)) // 2


# ----------------------------------------------------------------------------------------------------------- deciding


def _above_least(length: Any) -> Terms:
    """The polynomial over what each atom has above its least value: unknowns that are 0 or more."""
    terms = _terms(length)
    assert terms is not None
    total: Terms = {}
    for monomial, coefficient in terms.items():
        part: Terms = {(): coefficient}
        for atom in monomial:
            part = _multiply(part, {(atom,): 1, (): atom.least})
        for m, c in part.items():
            total[m] = total.get(m, 0) + c
    return total


def is_positive(length: Any) -> bool | None:
    """Whether a polynomial is above zero whatever its atoms are; None where that depends on them."""
    terms = _above_least(length)
    if all(c >= 0 for c in terms.values()) and terms.get((), 0) > 0:
        return True
    return False if all(c <= 0 for c in terms.values()) else None


def is_negative(length: Any) -> bool | None:
    """Whether it is below zero whatever its atoms are; None where that depends on them."""
    return is_positive(-length)


def least(length: Any) -> int:
    """A bound from below; 0 where the form gives none."""
    terms = _above_least(length)
    return max(0, terms.get((), 0)) if all(c >= 0 for m, c in terms.items() if m) else 0


def decide(answer: bool | None, question: str) -> bool:
    """The answer; Undecidable if there is none."""
    if answer is None:
        raise Undecidable(
            f"cannot decide {question}: that depends on lengths that are known only when the model runs; "
            "give axes that are always equal the same name, and axes that never change no name"
        )
    return answer


def same(a: Any, b: Any, what: str) -> bool:
    """Whether two lengths are equal."""
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    differ = is_positive(a - b) or is_negative(a - b)
    return not decide(differ or None, f"whether {what} {a} and {b}, are equal")


# ------------------------------------------------------------------------------------------------------------- shapes


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as non-negative integers; None means all."""
    if axis is None:
        return tuple(range(ndim))
    found = tuple(a + ndim if a < 0 else a for a in ((axis,) if isinstance(axis, int) else axis))
    for a in found:
        if not 0 <= a < ndim:
            raise IndexError(f"axis {axis} is out of bounds for an array with {ndim} axes")
    if len(set(found)) < len(found):
        raise ValueError(f"an axis stands twice in {axis}")
    return found


def broadcast(*shapes: Shape) -> Shape:
    """The shape that arrays of these shapes have together. A symbol meets itself or a known 1, nothing else."""
    lengths = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(_together(axis, shapes) for axis in lengths)[::-1]


def _together(lengths: Iterable[Any], shapes: Sequence[Shape]) -> Any:
    found: Any = 1
    for length in lengths:
        if found == 1 or found == length:
            found = length
        elif length == 1:
            continue
        elif isinstance(length, int) and isinstance(found, int):
            raise ValueError(f"shapes {', '.join(map(str, shapes))} cannot be broadcast together")
        else:
            raise Undecidable(
                f"cannot decide whether the lengths {found} and {length} are equal or one of them is 1 "
                f"(shapes {', '.join(map(str, shapes))}); give axes that are always equal the same name"
            )
    return found


def check_broadcast(shape: Shape, target: Shape) -> None:
    """Raise unless an array of a shape can be broadcast to another."""
    if broadcast(shape, target) != target:
        raise ValueError(f"shape {shape} cannot be broadcast to {target}")


def reduced(shape: Shape, axis: Any, keepdims: bool) -> Shape:
    """What a reduction over axes leaves."""
    axes = axes_of(axis, len(shape))
    return tuple(1 if a in axes else n for a, n in enumerate(shape) if keepdims or a not in axes)


def expanded(shape: Shape, axis: Any) -> Shape:
    """New axes of length 1 at these places of the result."""
    axes = axes_of(axis, len(shape) + (1 if isinstance(axis, int) else len(axis)))
    lengths = iter(shape)
    return tuple(1 if a in axes else next(lengths) for a in range(len(shape) + len(axes)))


def product(a: Shape, b: Shape) -> Shape:
    """The shape of a matrix product."""
    if not a or not b:
        raise ValueError("a matrix product needs at least one axis on either side")
    if not same(a[-1], b[-2 if len(b) > 1 else -1], "the lengths that a matrix product sums over,"):
        raise ValueError(f"shapes {a} and {b} do not fit in a matrix product")
    batch = broadcast(a[:-2], b[:-2])
    return (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))


def reshaped(shape: Shape, target: Any) -> Shape:
    """A target shape with its -1 filled in, checked to have as many elements."""
    wanted = (target,) if isinstance(target, (int, Symbol)) else tuple(target)
    total, open_axes = prod(shape), [a for a, n in enumerate(wanted) if isinstance(n, int) and n == -1]
    if len(open_axes) > 1:
        raise ValueError(f"only one length of a shape may be -1, not {wanted}")
    if open_axes:
        known = prod(n for a, n in enumerate(wanted) if a != open_axes[0])
        if isinstance(known, int) and (known == 0 or (isinstance(total, int) and total % known)):
            raise ValueError(f"cannot reshape {shape} to {wanted}")
        return tuple(total // known if a == open_axes[0] else n for a, n in enumerate(wanted))
    if not same(prod(wanted), total, f"the sizes of {shape} and {wanted},"):
        raise ValueError(f"cannot reshape {shape} to {wanted}")
    return wanted


def joined(shapes: Sequence[Shape], axis: int) -> Shape:
    """The shape of arrays put one behind the other."""
    first = shapes[0]
    for shape in shapes[1:]:
        fits = len(shape) == len(first) and all(
            a == axis or same(m, n, "the lengths of arrays to join,")
            for a, (m, n) in enumerate(zip(first, shape, strict=True)))
        if not fits:
            raise ValueError(f"arrays of shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}")
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


# --------------------------------------------------------------------------------------------------------------- keys


class Cut(NamedTuple):
    """A slice of one axis: bounds for the run time, None where the axis is taken whole, and how long the result is."""

    bounds: tuple[Any, Any, int] | None
    length: Any


def cut(part: slice, length: Any) -> Cut:
    """What a slice selects of an axis."""
    step = 1 if part.step is None else part.step
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if isinstance(length, int) and all(n is None or isinstance(n, int) for n in (part.start, part.stop)):
        found = range(length)[part]
        whole = len(found) == length and step == 1
        stop = found.stop if found.stop >= 0 else -length - 1
        return Cut(None if whole else (found.start, stop, step) if found else (0, 0, 1), len(found))
    if step < 0:
        if part.start is not None or part.stop is not None:
            raise Undecidable(f"a slice backwards with bounds, over the length {length}: use flip first, then a slice")
        return Cut((-1, -(2**62), step), (length - step - 1) // -step)
    start = 0 if part.start is None else _position(part.start, length)
    stop = length if part.stop is None else _position(part.stop, length)
    if not _from_end(part.stop):
        stop = smaller(stop, length)
    taken = larger(stop - start, 0)
    whole = start == 0 and stop == length and step == 1
    return Cut(None if whole else (start, stop, step), taken if step == 1 else (taken + step - 1) // step)


def _from_end(position: Any) -> bool:
    """Whether a bound of a slice counts from the end."""
    counts = None if position is None else is_negative(position)
    return False if position is None else decide(counts, f"whether the position {position} counts from the end")


def _position(position: Any, length: Any) -> Any:
    """A bound of a slice counted from the start, at least 0."""
    return larger(length + position, 0) if _from_end(position) else position


def complete(key: Any, ndim: int, axes_taken: Callable[[Any], int]) -> list[Any]:
    """A key with an entry for every axis and every new one; `axes_taken` says how many axes an entry stands for."""
    parts = list(key) if isinstance(key, tuple) else [key]
    taken = sum(axes_taken(part) for part in parts)
    if taken > ndim:
        raise IndexError(f"too many indices: the array has {ndim} axes, the key names {taken}")
    where = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(where) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    at = where[0] if where else len(parts)
    return [*parts[:at], *[slice(None)] * (ndim - taken), *parts[at + len(where) :]]
