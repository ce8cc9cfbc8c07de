"""Random programs over the whole table: drawn by Hypothesis while PyTorch runs them, then run by any library.

A program is a list of steps; a step takes tensors by their number and adds its results to them. Drawing needs PyTorch's
run to know shapes, views and what raises. Must know no op: `program_steps` has those.
"""

import contextlib
import warnings
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
from program_steps import ALONG_AN_AXIS, BINARY, MATRIX, SHAPED_BY_VALUES, UNARY, VECTOR, WHOLE, TheirTorch

MOST_ELEMENTS, LARGEST = 36, 20.0
SHAPES = [(3,), (2, 3), (), (3, 3), (1, 3), (2, 1), (2, 2, 3)]
KEYS = [0, -1, slice(1, None), slice(None, 2), slice(None, None, 2), None, Ellipsis, (slice(None), 0), (Ellipsis, -1)]
KEYS += [(slice(None), slice(1, None)), (0, slice(None, 2)), (1, 1), (None, 0), (Ellipsis, None, slice(0, 1))]
NUMBERS = [0.5, -1.0, 2.0, 0.0, 3.0]
REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)


class Step(NamedTuple):
    """One line of a program: how it reads, and run(m, tensors) -> a tensor, a tuple of them or None."""

    text: str
    run: Any
    recording: bool = True

    def __call__(self, m, tensors):
        with contextlib.nullcontext() if self.recording else m.no_grad():
            made = self.run(m, tensors)
        return made if isinstance(made, (tuple, list)) else () if made is None else (made,)


class Program(NamedTuple):
    """Leaves, steps, and which tensors are differentiated in the end."""

    leaves: list[Any]
    steps: list[Step]
    roots: list[int]
    seed: int

    def __str__(self):
        lines = [f"    v{i} = leaf of shape {a.shape}, {a.dtype}" for i, a in enumerate(self.leaves)]
        lines += [
            f"    {step.text}" + " " * 2 * (not step.recording) + "(no_grad)" * (not step.recording)
            for step in self.steps
        ]
        return "\n".join(["", *lines, f"    roots: {', '.join(f'v{i}' for i in self.roots)}; seed {self.seed}"])

    __repr__ = __str__


def run(program, m, leaves=None):
    """All tensors of a program, what their versions were at first, and the type of each step's error, or None."""
    if leaves is None:
        leaves = [m.tensor(array, requires_grad=True) for array in program.leaves]
    tensors, errors, versions = list(leaves), [], [0] * len(leaves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in program.steps:
            try:
                made = step(m, tensors)
                tensors += made
                versions += [t._version for t in made]  # PyTorch writes into some results itself
                errors.append(None)
            except REFUSALS as error:
                errors.append(type(error))
    return tensors, versions, errors


def as_function(program, m):
    """What a program that was drawn for transforms computes from its leaves: its last results."""

    def function(*leaves):
        tensors = list(leaves)
        for step in program.steps:
            tensors += step(m, tensors)
        return tuple(tensors[i] for i in program.roots)

    return function


# ------------------------------------------------------------------------------------------------------------ drawing


class Pool:
    """The tensors of a program while it is drawn, as PyTorch has them."""

    def __init__(self, draw, seed, recording, for_transforms):
        self.draw, self.recording, self.random = draw, recording, np.random.default_rng(seed)
        self.for_transforms = for_transforms
        self.m = THEIRS
        self.leaves, self.steps, self.tensors, self.plain, self.unbound = [], [], [], set(), set()
        self.expanded = set()

    def leaf(self, shape, complex=False):
        values = self.random.uniform(-1.5, 1.5, shape)
        if complex:
            values = values + 1j * self.random.uniform(-1.5, 1.5, shape)
        self.leaves.append(values)
        self.plain.add(len(self.tensors))
        self.tensors.append(self.m.tensor(values, requires_grad=True))

    def pick(self, suits=lambda t: True):
        """The number of a tensor, late ones first; None if there is none that suits."""
        candidates = [i for i, t in enumerate(self.tensors) if suits(t)][::-1]
        return self.draw(st.sampled_from(candidates)) if candidates else None

    def values(self, i):
        return self.tensors[i].detach().resolve_conj().numpy()

    def result(self, function):
        """What a function of the library gives if it gives numbers that a program can go on with, else None."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = function()
        except REFUSALS:
            return None
        for t in made if isinstance(made, (tuple, list)) else (made,):
            values = t.detach().resolve_conj().numpy()
            if values.size > MOST_ELEMENTS or values.size == 0 or not np.all(np.abs(values) < LARGEST):
                return None
        return made

    def add(self, text, function, recording=True, plain=False, view_of=None):
        """A step that makes new tensors."""
        step = Step(text, function, recording)
        made = self.result(lambda: step(self.m, self.tensors))
        if made is not None and (view_of in self.expanded or "broadcast_to" in text):
            self.expanded.update(range(len(self.tensors), len(self.tensors) + len(made)))
        if made is not None and view_of is None and any(t._is_view() for t in made):
            self.add(f"{text}.clone()", lambda m, v: [t.clone() for t in Step("", function)(m, v)], recording)
        elif made is not None:
            names = ", ".join(f"v{len(self.tensors) + i}" for i in range(len(made)))
            if plain:
                self.plain.update(range(len(self.tensors), len(self.tensors) + len(made)))
            self.tensors += made
            self.steps.append(Step(f"{names} = {text}", function, recording))

    def write(self, text, function, i, recording):
        """A step that writes into tensor i; one that raises is kept.

        PyTorch cannot look at one of several views any more when another way to their memory was written, and writes
        all of an expanded tensor where it is asked to write into a part, or to write one number.
        """
        refused = text.startswith(f"v{i}.") and not text.endswith(("zero_", "fill_")) and 0 in self.tensors[i].stride()
        if i in self.expanded and not refused:
            return
        if storage(self.tensors[i]) in self.unbound and not (recording and "Unbind" in str(self.tensors[i].grad_fn)):
            return
        with self.m.no_grad():  # what it will write
            trial = [t.detach().clone() for t in self.tensors]
            if self.result(lambda: (function(self.m, trial), trial[i])[1]) is None:
                return
        step = Step(text, function, recording)
        try:
            step(self.m, self.tensors)
        except REFUSALS:
            if self.for_transforms:
                return
        self.steps.append(step)

    def side(self, text, function):
        """A step that neither makes nor writes anything."""
        self.steps.append(Step(text, function))
        function(self.m, self.tensors)


def real(t):
    return not t.is_complex()


def of_op(row, pool, operands):
    """Whether an op may run on these tensors: their numbers are clear of its kinks."""
    _, takes_complex, clear = row
    arrays = [pool.values(i) for i in operands]
    if not takes_complex and any(np.iscomplexobj(a) for a in arrays):
        return False
    return clear is None or clear(*arrays)


def step_of_one(pool, table, suits, with_axis=False):
    names = table.keys() - SHAPED_BY_VALUES if pool.for_transforms else table
    name = pool.draw(st.sampled_from(sorted(names)))
    row = table[name]
    i = pool.pick(lambda t: suits(t) and (row[1] or real(t)))
    if i is None or not of_op(row, pool, [i]):
        return
    f = row[0]
    recording = pool.draw(pool.recording)
    if with_axis:
        axis = pool.draw(st.integers(-1, len(pool.tensors[i].shape) - 1))
        pool.add(f"{name}(v{i}, axis={axis})", lambda m, v: f(m, v[i], axis), recording)
    else:
        pool.add(f"{name}(v{i})", lambda m, v: f(m, v[i]), recording)


def unary(pool):
    step_of_one(pool, UNARY, lambda t: True)


FEW = {name: UNARY[name] for name in ("sin", "exp", "square", "sqrt", "copy", "tanh", "reciprocal")}


def one_of_few(pool):
    step_of_one(pool, FEW, lambda t: True)


def along_an_axis(pool):
    step_of_one(pool, ALONG_AN_AXIS, lambda t: t.ndim > 0, with_axis=True)


def whole(pool):
    step_of_one(pool, WHOLE, lambda t: t.ndim > 0)


def matrix(pool):
    step_of_one(pool, MATRIX, lambda t: t.ndim > 1)


def vector(pool):
    step_of_one(pool, VECTOR, lambda t: t.ndim == 1)


def binary(pool, names=BINARY):
    name = pool.draw(st.sampled_from(sorted(names)))
    row = BINARY[name]
    i = pool.pick(lambda t: row[1] or real(t))
    if i is None:
        return
    shape = tuple(pool.tensors[i].shape)
    j = pool.pick(lambda t: (row[1] or real(t)) and broadcast(tuple(t.shape), shape) is not None)
    with_first = np.broadcast_arrays(pool.values(i), pool.values(j))
    if row[2] is None or row[2](*with_first):
        f = row[0]
        pool.add(f"{name}(v{i}, v{j})", lambda m, v: f(m, v[i], v[j]), pool.draw(pool.recording))


def arithmetic(pool):
    binary(pool, ("add", "subtract", "multiply", "divide"))


def product(pool):
    """Of two tensors' matrices or vectors."""
    i = pool.pick(lambda t: t.ndim > 0)
    if i is None:
        return
    n = pool.tensors[i].shape[-1]
    j = pool.pick(lambda t: t.ndim > 0 and t.shape[-2 if t.ndim > 1 else 0] == n and t.dtype == pool.tensors[i].dtype)
    if j is not None:
        pool.add(f"matmul(v{i}, v{j})", lambda m, v: m.matmul(v[i], v[j]))


def joined(pool):
    i = pool.pick(lambda t: t.ndim > 0)
    j = i if i is None else pool.pick(lambda t: t.shape == pool.tensors[i].shape and t.dtype == pool.tensors[i].dtype)
    if j is not None:
        name = pool.draw(st.sampled_from(["concat", "stack"]))
        pool.add(f"{name}([v{i}, v{j}, v{i}])", lambda m, v: getattr(m, name)([v[i], v[j], v[i]], axis=-1))


def parts(pool):
    """Real and imaginary parts, views both."""
    i = pool.pick(lambda t: t.is_complex())
    if i is not None:
        name = pool.draw(st.sampled_from(["real", "imag"]))
        pool.add(f"{name}(v{i})", lambda m, v: getattr(m, name)(v[i]), view_of=i)


# ---- views


def view(pool):
    i = pool.pick()
    t = pool.tensors[i]
    kinds = ["key", "expand_dims", "unstack", "broadcast_to"] if t.ndim else ["expand_dims", "broadcast_to"]
    kinds += ["permute_dims", "matrix_transpose", "linalg.diagonal", "moveaxis"] if t.ndim > 1 else []
    kinds += ["squeeze"] if 1 in t.shape else []
    kinds += ["reshape"] if i in pool.plain and t.is_contiguous() else []
    kind = pool.draw(st.sampled_from(kinds))
    text, function = VIEWS[kind](pool, i, t)
    keeps_order = kind in ("key", "reshape", "expand_dims", "squeeze")
    # Always recorded: what a view without history of a tracked tensor says of itself is PyTorch's own affair.
    pool.add(text, function, plain=i in pool.plain and keeps_order, view_of=i)
    if kind == "unstack":
        pool.unbound.add(storage(t))


def by_key(pool, i, t):
    key = pool.draw(st.sampled_from(KEYS))
    return f"v{i}[{key}]", lambda m, v: v[i][key]


def reshaped(pool, i, t):
    shape = pool.draw(st.sampled_from([(-1,), (1, -1), (*t.shape[::-1],), (*t.shape[:-1], -1, 1)]))
    return f"reshape(v{i}, {tuple(shape)})", lambda m, v: m.reshape(v[i], tuple(shape))


def permuted(pool, i, t):
    axes = tuple(pool.draw(st.permutations(range(t.ndim))))
    return f"permute_dims(v{i}, {axes})", lambda m, v: m.permute_dims(v[i], axes)


VIEWS = {
    "key": by_key,
    "reshape": reshaped,
    "permute_dims": permuted,
    "expand_dims": lambda pool, i, t: (f"expand_dims(v{i}, 0)", lambda m, v: m.expand_dims(v[i], axis=0)),
    "unstack": lambda pool, i, t: (f"unstack(v{i})", lambda m, v: m.unstack(v[i], axis=0)),
    "broadcast_to": lambda pool, i, t: (
        f"broadcast_to(v{i}, (2, ...))",
        lambda m, v: m.broadcast_to(v[i], (2, *v[i].shape)),
    ),
    "matrix_transpose": lambda pool, i, t: (f"matrix_transpose(v{i})", lambda m, v: m.matrix_transpose(v[i])),
    "linalg.diagonal": lambda pool, i, t: (f"linalg.diagonal(v{i})", lambda m, v: m.linalg.diagonal(v[i])),
    "moveaxis": lambda pool, i, t: (f"moveaxis(v{i}, 0, -1)", lambda m, v: m.moveaxis(v[i], 0, -1)),
    "squeeze": lambda pool, i, t: (
        f"squeeze(v{i})",
        lambda m, v: m.squeeze(v[i], axis=tuple(a for a, n in enumerate(v[i].shape) if n == 1)),
    ),
}


# ---- writes

IN_PLACE = {
    "exp_": lambda t: t.clip_(-2.0, 1.5).exp_(),
    "sin_": lambda t: t.sin_(),
    "cos_": lambda t: t.cos_(),
    "tanh_": lambda t: t.tanh_(),
    "square_": lambda t: t.square_(),
    "neg_": lambda t: t.neg_(),
    "sqrt_": lambda t: t.square_().add_(0.5).sqrt_(),
    "log_": lambda t: t.square_().add_(0.5).log_(),
    "reciprocal_": lambda t: t.square_().add_(0.5).reciprocal_(),
    "zero_": lambda t: t.zero_(),
    "fill_": lambda t: t.fill_(0.7),
    "add_ a number": lambda t: t.add_(1.5),
    "mul_ a number": lambda t: t.mul_(-1.5),
    "div_ a number": lambda t: t.div_(2.0),
    "pow_ a number": lambda t: t.pow_(2),
    "abs_": lambda t: t.square_().add_(0.5).abs_(),
    "expm1_": lambda t: t.div_(4.0).expm1_(),
    "atan_": lambda t: t.atan_(),
    "asinh_": lambda t: t.asinh_(),
}


def write_by_itself(pool):
    i = pool.pick(real)
    name = pool.draw(st.sampled_from(sorted(IN_PLACE)))
    if i is not None and (name != "exp_" or np.all(np.abs(pool.values(i) + 2.0) * np.abs(pool.values(i) - 1.5) > 1e-6)):
        f = IN_PLACE[name]
        pool.write(f"v{i}.{name}", lambda m, v: (f(v[i]), None)[1], i, pool.draw(pool.recording))


def operand_for(pool, i, shape=None):
    """A tensor that may be written into tensor i, or a part of its shape: memory that overlaps is copied first."""
    shape = tuple(pool.tensors[i].shape) if shape is None else shape
    j = pool.pick(lambda t: broadcast(tuple(t.shape), shape) == shape and t.dtype == pool.tensors[i].dtype)
    if j is None:
        number = pool.draw(st.sampled_from(NUMBERS))
        return str(number), lambda v: number
    if storage(pool.tensors[j]) == storage(pool.tensors[i]):
        return f"v{j}.clone()", lambda v: v[j].clone()
    return f"v{j}", lambda v: v[j]


def storage(t):
    return t.untyped_storage().data_ptr()


OPERATORS = {
    "+=": lambda t, x: t.__iadd__(x),
    "-=": lambda t, x: t.__isub__(x),
    "*=": lambda t, x: t.__imul__(x),
    "/=": lambda t, x: t.__itruediv__(x * x + 1.5),
    "copy_": lambda t, x: t.__setitem__(Ellipsis, x),
}


def write_a_tensor(pool):
    i = pool.pick()
    name = pool.draw(st.sampled_from(sorted(OPERATORS)))
    text, operand = operand_for(pool, i)
    f = OPERATORS[name]
    pool.write(f"v{i} {name} {text}", lambda m, v: (f(v[i], operand(v)), None)[1], i, pool.draw(pool.recording))


def set_item(pool):
    i = pool.pick(lambda t: t.ndim > 0)
    if i is None:
        return
    kind = pool.draw(st.sampled_from(["key", "mask", "indices"]))
    array = pool.values(i)
    if kind == "key":
        key = pool.draw(st.sampled_from(KEYS))
        make = lambda m, t: key  # noqa: E731
    elif kind == "mask":
        if np.iscomplexobj(array) or np.any(np.abs(array - 0.2) < 1e-6):
            return
        key, make = array > 0.2, lambda m, t: t > 0.2
    else:
        key = (list(range(0, array.shape[0], 2)),)
        make = lambda m, t: m.asarray(np.array(key[0]))  # noqa: E731
    try:
        shape = array[key].shape
    except IndexError:
        return
    if kind == "mask":  # how many there are depends on values, so only what broadcasts to any number
        shape = ()
    text, operand = operand_for(pool, i, shape)
    shown = key if kind != "mask" else f"v{i} > 0.2"

    def write(m, v):
        v[i][make(m, v[i])] = operand(v)

    pool.write(f"v{i}[{shown}] = {text}", write, i, pool.draw(pool.recording))


# ---- twins, hooks


def detached(pool):
    i = pool.pick()
    pool.add(f"v{i}.detach()", lambda m, v: v[i].detach(), view_of=i)


def hook(pool):
    i = pool.pick(lambda t: t.requires_grad and t._base is None)  # a view's node may be passed by
    if i is not None:
        factor = pool.draw(st.sampled_from(NUMBERS))
        pool.side(
            f"v{i}.register_hook(lambda g: g * {factor})",
            lambda m, v: (v[i].register_hook(lambda g: g * factor), None)[1],
        )


def retain(pool):
    # Writes to a second output whose gradient is retained break an assertion within PyTorch.
    i = pool.pick(lambda t: t.requires_grad and t._base is None and not t.is_leaf and t.output_nr == 0)
    if i is not None:
        pool.side(f"v{i}.retain_grad()", lambda m, v: v[i].retain_grad())


COMPUTING = [unary, unary, unary, binary, binary, along_an_axis, along_an_axis, along_an_axis, whole, matrix, matrix]
COMPUTING += [vector, product, joined, parts]
WRITING = [view, view, view, write_by_itself, write_a_tensor, write_a_tensor, set_item]
KINDS = {
    "functions": [*COMPUTING, view, view],
    "functions that write": COMPUTING + WRITING,
    "writes": [one_of_few, arithmetic, arithmetic, *WRITING, set_item, detached, hook, retain],
    "everything": COMPUTING + [*WRITING, detached, hook, retain] * 2,
}


def broadcast(*shapes):
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return None


THEIRS = TheirTorch()


@st.composite
def programs(draw, steps=10, kind="everything", for_transforms=False):
    """Programs of up to so many steps. Those for transforms have shapes that no value decides, and never raise."""
    seed = draw(st.integers(0, 999))
    recording = st.just(True) if kind.startswith("functions") else st.sampled_from([True] * 7 + [False])
    pool = Pool(draw, seed, recording, for_transforms)
    for shape in draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)):
        pool.leaf(shape)
    if draw(st.integers(0, 3)) == 3:
        pool.leaf((2, 2), complex=True)
    if kind != "functions":
        pool.add("v0 * 1", lambda m, v: v[0] * 1, plain=True)
    for _ in range(draw(st.integers(1, steps))):
        draw(st.sampled_from(KINDS[kind]))(pool)
    tracked = [i for i, t in enumerate(pool.tensors) if t.requires_grad and i >= len(pool.leaves)]
    return Program(pool.leaves, pool.steps, tracked[-3:], seed)
