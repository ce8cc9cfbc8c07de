"""What the subscripts of einsum mean, and the contraction itself: two arrays at a time, each pair by one product.

A term is a tuple of labels, one for each axis: letters, and negative numbers for the axes of an ellipsis, counted from
the last. The order of contraction is opt_einsum's where that is installed. Must not know any array library or rule."""

import re
from functools import lru_cache
from math import prod

NUMBERS = (bool, int, float, complex)


# ---------------------------------------------------------------------------------------------------------- subscripts


@lru_cache(maxsize=512)
def read(subscripts, shapes):
    """The operands' terms, the result's term, and the length of every label."""
    def check(holds, problem):
        if not holds:
            raise ValueError(f"einsum() with subscripts {subscripts!r}: {problem}")

    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    stray = re.search(r"[^a-zA-Z.,]", inputs) or re.search(r"[^a-zA-Z.]", output)
    check(not stray, f"{stray and stray[0]!r} is not a letter, a comma, '...' or one '->'")
    words = inputs.split(",")
    check(len(words) == len(shapes), f"there are subscripts for {len(words)} operands, but {len(shapes)} were given")
    ranks = map(len, shapes)
    terms = tuple(term_of(word, rank, k, check) for k, (word, rank) in enumerate(zip(words, ranks, strict=True)))
    sizes = lengths_of(terms, shapes, check)
    return terms, result_of(output if arrow else None, terms, check), sizes


def term_of(word, rank, k, check):
    """The labels of one operand."""
    before, dots, after = word.partition("...")
    check("." not in before + after, f"operand {k} has a '.' that is not part of one '...'")
    named = len(before) + len(after)
    fits = rank >= named if dots else rank == named
    check(fits, f"operand {k} has {rank} axes, but {word!r} names {'at least ' * bool(dots)}{named}")
    return (*before, *range(named - rank, 0), *after)


def lengths_of(terms, shapes, check):
    """The length of every label. Axes of length 1 broadcast, but not against an axis of the same operand."""
    sizes: dict[str | int, int] = {}
    for k, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        own: dict[str | int, int] = {}
        for label, n in zip(term, shape, strict=True):
            what = f"index {label!r}" if isinstance(label, str) else "axis of '...'"
            check(own.setdefault(label, n) == n, f"the {what} has the lengths {own[label]} and {n} in operand {k}")
            known = sizes.get(label, 1)
            check(n == 1 or known in (1, n), f"the {what} has length {n} in operand {k}, but {known} in one before")
            sizes[label] = n if known == 1 else known
    return sizes


def result_of(output, terms, check):
    """The labels of the result; without an arrow the ellipsis and all letters that occur once, in their order."""
    every = [label for term in terms for label in term]
    dots = sorted({label for label in every if isinstance(label, int)})
    if output is None:
        return (*dots, *sorted(label for label in set(every) - set(dots) if every.count(label) == 1))
    before, ellipsis, after = output.partition("...")
    check("." not in before + after, "the output has a '.' that is not part of one '...'")
    for label in before + after:
        check(label in every, f"the output index {label!r} is in no operand")
        check((before + after).count(label) == 1, f"the output index {label!r} occurs twice")
    return (*before, *(dots if ellipsis else ()), *after)


def write(terms, result):
    """Subscripts without an ellipsis for terms: numbers become letters that are free."""
    used = {label for term in terms for label in term}
    free = iter(sorted(set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") - used))
    letters = {label: label if isinstance(label, str) else next(free) for label in sorted(used, key=str)}
    words = ["".join(letters[label] for label in term) for term in (*terms, result)]
    return f"{','.join(words[:-1])}->{words[-1]}"


# ---------------------------------------------------------------------------------------------------------------- plan
# All that depends on labels and lengths only is decided once, and kept: the contraction is then a list of actions.


class Sketch:
    """An array as the plan sees it: its term, its shape, and what is to be done with it before it is used."""

    def __init__(self, term, shape):
        self.term, self.shape, self.actions = tuple(term), tuple(shape), []

    def _select(self, axes):
        self.term, self.shape = (tuple(part[a] for a in axes) for part in (self.term, self.shape))

    def permute(self, axes):
        if axes != tuple(range(len(axes))):
            self.actions.append(("permute_dims", axes))
        self._select(axes)

    def arrange(self, term):
        """Bring the axes into the order of a term."""
        self.permute(tuple(self.term.index(label) for label in term))

    def keep(self, wanted):
        """Sum over the labels that nobody wants."""
        axes = tuple(a for a, label in enumerate(self.term) if label not in wanted)
        if axes:
            self.actions.append(("sum", axes))
            self._select(tuple(a for a in range(len(self.term)) if a not in axes))

    def take_diagonals(self):
        """Of equal labels leave one."""
        for axes in diagonals(self.term)[0]:
            self.permute(axes)
            n = self.shape[-1]
            self.actions += [("reshape", (*self.shape[:-2], n * n)), ("getitem", (..., slice(None, None, n + 1)))]
            self._select(range(len(self.term) - 1))

    def regroup(self, shape):
        """Merge axes just before the array is used; the term stays what it was."""
        if shape != self.shape:
            self.actions.append(("reshape", shape))

    def expand(self, axes):
        """Put axes of length 1 between just before the array is used."""
        if axes:
            self.actions.append(("expand_dims", axes))


def diagonals(term):
    """How to come to a term without repeated labels, by permutations that bring two equal ones to the end; the term."""
    steps = []
    while len(set(term)) < len(term):
        label = next(label for label in term if term.count(label) > 1)
        pair = [a for a, other in enumerate(term) if other == label][:2]
        steps.append((*(a for a in range(len(term)) if a not in pair), *pair))
        term = tuple(term[a] for a in steps[-1][:-1])
    return steps, term


@lru_cache(maxsize=512)
def plan(terms, result, shapes):
    """What to do: with each operand, which two of what is left make the next product, and with each product."""
    operands = tuple(Sketch(term, shape) for term, shape in zip(terms, shapes, strict=True))
    for sketch in operands:
        sketch.take_diagonals()
    left, products = list(operands), []
    for i, j in order(tuple(sketch.term for sketch in left), result, tuple(sketch.shape for sketch in left)):
        a, b = left[i], left[j]
        left = [sketch for k, sketch in enumerate(left) if k not in (i, j)]
        name, product = multiply(a, b, set(result).union(*(sketch.term for sketch in left)))
        products.append((i, j, name, product))
        left.append(product)
    left[0].keep(set(result))
    left[0].arrange(result)
    return operands, tuple(products)


def order(terms, result, shapes):
    """Which operands meet, pair by pair: positions in the list of what is left; their product goes to its end."""
    n = len(terms)
    if n > 2 and all(isinstance(length, int) for shape in shapes for length in shape):
        try:
            from opt_einsum import contract_path
        except ImportError:
            pass
        else:
            path, _ = contract_path(write(terms, result), *shapes, shapes=True)
            if all(len(step) == 2 for step in path):
                return path
    return [(0, m - 1) if m < n else (0, 1) for m in range(n, 1, -1)]


def multiply(a, b, wanted):
    """The op that makes the product of two arrays, summed over the labels that nobody wants any more; and the product.

    An index that is summed over is contracted where it is longer than 1 in both; before that all others are summed.
    """
    long_a, long_b = ({label for label, n in zip(x.term, x.shape, strict=True) if n != 1} for x in (a, b))
    contracted = (long_a & long_b) - wanted
    for x in (a, b):
        x.keep(wanted | contracted)
    inner = [label for label in a.term if label in contracted]
    both = [label for label in a.term if label in b.term and label not in contracted]
    own_a, own_b = ([label for label in x.term if label not in (*inner, *both)] for x in (a, b))
    a.arrange((*both, *own_a, *inner))
    b.arrange((*both, *inner, *own_b))
    n, sizes = len(both), dict(zip(a.term, a.shape, strict=True)) | dict(zip(b.term, b.shape, strict=True))
    batch = tuple(long if short == 1 else short for short, long in zip(a.shape[:n], b.shape[:n], strict=True))
    shape = (*batch, *(sizes[label] for label in (*own_a, *own_b)))
    product = Sketch((*both, *own_a, *own_b), shape)
    if not inner:
        a.expand(tuple(range(-len(own_b), 0)))
        b.expand(tuple(range(n, n + len(own_a))))
        return "multiply", product
    rows, middle, columns = (prod(sizes[label] for label in labels) for labels in (own_a, inner, own_b))
    a.regroup((*a.shape[:n], rows, middle))
    b.regroup((*b.shape[:n], middle, columns))
    if shape != (*batch, rows, columns):
        product.actions.append(("reshape", shape))
    return "matmul", product


# --------------------------------------------------------------------------------------------------------- contraction


def contract(arrays, terms, result, xp):
    """The sum over all labels that the result lacks of the product of all arrays; always a new array."""
    operands, products = plan(terms, result, tuple(tuple(x.shape) for x in arrays))
    left = list(zip(arrays, operands, strict=True))
    for i, j, name, product in products:
        (x, a), (y, b) = left[i], left[j]
        left = [pair for k, pair in enumerate(left) if k not in (i, j)]
        left.append((getattr(xp, name)(finished(x, a, xp), finished(y, b, xp)), product))
    ((x, sketch),) = left
    is_new = products or any(name == "sum" for name, _ in sketch.actions)
    return finished(x, sketch, xp) if is_new else xp.copy(finished(x, sketch, xp))


def finished(x, sketch, xp):
    """An array with what was planned for it done; without a dtype sums would widen small integers."""
    for name, argument in sketch.actions:
        x = xp.sum(x, axis=argument, dtype=x.dtype) if name == "sum" else getattr(xp, name)(x, argument)
    return x


def alike(operands, xp):
    """All operands as arrays of one dtype."""
    dtypes = {None if is_number(x) else x.dtype for x in operands}
    if len(dtypes) == 1:
        return operands
    dtype = xp.result_type(*operands)
    device = next(getattr(x, "device", None) for x in operands if not is_number(x))
    return [
        xp.asarray(x, dtype=dtype, device=device) if is_number(x) else x if x.dtype == dtype else xp.astype(x, dtype)
        for x in operands
    ]


def is_number(x):
    """Whether it is one of Python's own numbers, not an array that derives from one."""
    return type(x) in NUMBERS
