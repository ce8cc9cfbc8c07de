"""The Array API standard 2025.12 as one table: every function, its parameters, and what each parameter is.

Facades, keyword binding, the checks on rules, stubs and reports are made from it; a new op states the same line.
It must know no array library, no rule and no engine, and imports only the standard library.

One line is ``name(parameter, ...)``, written as in Python, where ``: kind`` says what a parameter is::

    array    a differentiable input; Python scalars may stand in for it
    array?   the same, or None
    array*   several arrays in one parameter: a sequence, or with ``*name`` the positional arguments themselves
    index    an array without a gradient (positions, a condition, repeats); it is saved and version-checked
    index?   the same, or None
    key      what stands between the brackets of ``x[key]``
    axis     one axis          axes    one axis or several, None for all
    shape    a shape           dtype   a data type           device  a device
    static   anything else; a parameter without a kind is static

``core=(n, m)`` at the end says that the op acts on the last n and m axes of its arrays and broadcasts the rest.
"""

import math
import re
from ast import literal_eval
from collections import namedtuple
from typing import NamedTuple

VERSION = "2025.12"

# The standard's constants are Python objects, the same on every backend.
CONSTANTS = {"e": math.e, "inf": math.inf, "nan": math.nan, "newaxis": None, "pi": math.pi}

# Functions of the standard that stand in two places.
SAME = {f"linalg.{name}": name for name in ("matmul", "matrix_transpose", "tensordot", "vecdot")}

# The chapters whose functions live in a namespace of their own.
EXTENSIONS = ("linalg", "fft")

# Functions in an extension's namespace that the standard lacks, as the whole chapter "beyond" is: see there.
FURTHER = ("linalg.lstsq", "linalg.solve_triangular")

# By position these take something else in NumPy, SciPy or torch: their keyword-only parameters stay that.
BY_KEYWORD = frozenset((
    "isin", "linalg.cross", "linalg.matrix_norm", "linalg.matrix_rank", "linalg.solve_triangular", "linalg.vector_norm",
))

# The names of several results.
RESULTS = {
    name: namedtuple(title, fields, module=__name__)
    for name, title, fields in (
        ("linalg.eig", "EigResult", "eigenvalues eigenvectors"),
        ("linalg.eigh", "EighResult", "eigenvalues eigenvectors"),
        ("linalg.qr", "QRResult", "Q R"),
        ("linalg.slogdet", "SlogdetResult", "sign logabsdet"),
        ("linalg.svd", "SVDResult", "U S Vh"),
        ("unique_all", "UniqueAllResult", "values indices inverse_indices counts"),
        ("unique_counts", "UniqueCountsResult", "values counts"),
        ("unique_inverse", "UniqueInverseResult", "values inverse_indices"),
    )
}
globals().update({result.__name__: result for result in RESULTS.values()})      # where pickle looks for them

# Ops of the engine: the standard has them as syntax or as a keyword of another function, not as functions.
ENGINE_OPS = ("copy", "transfer", "getitem", "setitem", "read_view", "write_view", "scatter", "extremum")

TABLE = {
    "elementwise": """
        abs(x: array, /)
        acos(x: array, /)
        acosh(x: array, /)
        add(x1: array, x2: array, /)
        asin(x: array, /)
        asinh(x: array, /)
        atan(x: array, /)
        atan2(x1: array, x2: array, /)
        atanh(x: array, /)
        bitwise_and(x1: array, x2: array, /)
        bitwise_left_shift(x1: array, x2: array, /)
        bitwise_invert(x: array, /)
        bitwise_or(x1: array, x2: array, /)
        bitwise_right_shift(x1: array, x2: array, /)
        bitwise_xor(x1: array, x2: array, /)
        ceil(x: array, /)
        clip(x: array, /, min: array? = None, max: array? = None)
        conj(x: array, /)
        copysign(x1: array, x2: array, /)
        cos(x: array, /)
        cosh(x: array, /)
        divide(x1: array, x2: array, /)
        equal(x1: array, x2: array, /)
        exp(x: array, /)
        expm1(x: array, /)
        floor(x: array, /)
        floor_divide(x1: array, x2: array, /)
        greater(x1: array, x2: array, /)
        greater_equal(x1: array, x2: array, /)
        hypot(x1: array, x2: array, /)
        imag(x: array, /)
        isfinite(x: array, /)
        isinf(x: array, /)
        isnan(x: array, /)
        less(x1: array, x2: array, /)
        less_equal(x1: array, x2: array, /)
        log(x: array, /)
        log1p(x: array, /)
        log2(x: array, /)
        log10(x: array, /)
        logaddexp(x1: array, x2: array, /)
        logical_and(x1: array, x2: array, /)
        logical_not(x: array, /)
        logical_or(x1: array, x2: array, /)
        logical_xor(x1: array, x2: array, /)
        maximum(x1: array, x2: array, /)
        minimum(x1: array, x2: array, /)
        multiply(x1: array, x2: array, /)
        negative(x: array, /)
        nextafter(x1: array, x2: array, /)
        not_equal(x1: array, x2: array, /)
        positive(x: array, /)
        pow(x1: array, x2: array, /)
        real(x: array, /)
        reciprocal(x: array, /)
        remainder(x1: array, x2: array, /)
        round(x: array, /)
        sign(x: array, /)
        signbit(x: array, /)
        sin(x: array, /)
        sinh(x: array, /)
        sqrt(x: array, /)
        square(x: array, /)
        subtract(x1: array, x2: array, /)
        tan(x: array, /)
        tanh(x: array, /)
        trunc(x: array, /)
    """,
    "creation": """
        arange(start, /, stop=None, step=1, *, dtype: dtype = None, device: device = None)
        asarray(obj, /, *, dtype: dtype = None, device: device = None, copy=None)
        empty(shape: shape, *, dtype: dtype = None, device: device = None)
        empty_like(x: array, /, *, dtype: dtype = None, device: device = None)
        eye(n_rows, n_cols=None, /, *, k=0, dtype: dtype = None, device: device = None)
        from_dlpack(x, /, *, device: device = None, copy=None)
        full(shape: shape, fill_value, *, dtype: dtype = None, device: device = None)
        full_like(x: array, /, fill_value, *, dtype: dtype = None, device: device = None)
        linspace(start, stop, /, num, *, dtype: dtype = None, device: device = None, endpoint=True)
        meshgrid(*arrays: array*, indexing='xy')
        ones(shape: shape, *, dtype: dtype = None, device: device = None)
        ones_like(x: array, /, *, dtype: dtype = None, device: device = None)
        tril(x: array, /, *, k=0) core=(2,)
        triu(x: array, /, *, k=0) core=(2,)
        zeros(shape: shape, *, dtype: dtype = None, device: device = None)
        zeros_like(x: array, /, *, dtype: dtype = None, device: device = None)
    """,
    "data_type": """
        __array_namespace_info__()
        astype(x: array, dtype: dtype, /, *, copy=True, device: device = None)
        can_cast(from_, to: dtype, /)
        finfo(type, /)
        iinfo(type, /)
        isdtype(dtype: dtype, kind)
        result_type(*arrays_and_dtypes)
    """,
    "manipulation": """
        broadcast_arrays(*arrays: array*)
        broadcast_shapes(*shapes)
        broadcast_to(x: array, /, shape: shape)
        concat(arrays: array*, /, *, axis: axis = 0)
        copy(x: array, /)
        transfer(x: array, /, backend, device)
        expand_dims(x: array, /, axis: axes)
        flip(x: array, /, *, axis: axes = None)
        moveaxis(x: array, source: axes, destination: axes, /)
        permute_dims(x: array, /, axes: axes)
        repeat(x: array, repeats: index, /, *, axis: axis = None)
        reshape(x: array, /, shape: shape, *, copy=None)
        roll(x: array, /, shift, *, axis: axes = None)
        squeeze(x: array, /, axis: axes)
        stack(arrays: array*, /, *, axis: axis = 0)
        tile(x: array, repetitions, /)
        unstack(x: array, /, *, axis: axis = 0)
    """,
    "statistical": """
        cumulative_prod(x: array, /, *, axis: axis = None, dtype: dtype = None, include_initial=False)
        cumulative_sum(x: array, /, *, axis: axis = None, dtype: dtype = None, include_initial=False)
        max(x: array, /, *, axis: axes = None, keepdims=False)
        mean(x: array, /, *, axis: axes = None, keepdims=False)
        min(x: array, /, *, axis: axes = None, keepdims=False)
        prod(x: array, /, *, axis: axes = None, dtype: dtype = None, keepdims=False)
        std(x: array, /, *, axis: axes = None, correction=0.0, keepdims=False)
        sum(x: array, /, *, axis: axes = None, dtype: dtype = None, keepdims=False)
        var(x: array, /, *, axis: axes = None, correction=0.0, keepdims=False)
    """,
    "searching": """
        extremum(x: array, /, axis: axis, *, keepdims=False, largest=True)
        argmax(x: array, /, *, axis: axis = None, keepdims=False)
        argmin(x: array, /, *, axis: axis = None, keepdims=False)
        count_nonzero(x: array, /, *, axis: axes = None, keepdims=False)
        nonzero(x: array, /)
        searchsorted(x1: array, x2: array, /, *, side='left', sorter: index? = None)
        where(condition: index, x1: array, x2: array, /)
    """,
    "set": """
        isin(x1: array, x2: array, /, *, invert=False)
        unique_all(x: array, /)
        unique_counts(x: array, /)
        unique_inverse(x: array, /)
        unique_values(x: array, /)
    """,
    "linear_algebra": """
        matmul(x1: array, x2: array, /) core=(2, 2)
        matrix_transpose(x: array, /) core=(2,)
        tensordot(x1: array, x2: array, /, *, axes=2)
        vecdot(x1: array, x2: array, /, *, axis: axis = -1) core=(1, 1)
    """,
    "utility": """
        all(x: array, /, *, axis: axes = None, keepdims=False)
        any(x: array, /, *, axis: axes = None, keepdims=False)
        diff(x: array, /, *, n=1, axis: axis = -1, prepend: array? = None, append: array? = None)
    """,
    "indexing": """
        getitem(x: array, key: key, /)
        setitem(x: array, key: key, value: array, /)
        read_view(x: array, /, steps)
        write_view(x: array, value: array, /, steps)
        scatter(arrays: array*, /, keys, like)
        take(x: array, indices: index, /, *, axis: axis = None)
        take_along_axis(x: array, indices: index, /, *, axis: axis = -1)
    """,
    "linalg": """
        linalg.cholesky(x: array, /, *, upper=False) core=(2,)
        linalg.cross(x1: array, x2: array, /, *, axis: axis = -1)
        linalg.det(x: array, /) core=(2,)
        linalg.diagonal(x: array, /, *, offset=0) core=(2,)
        linalg.eig(x: array, /) core=(2,)
        linalg.eigh(x: array, /) core=(2,)
        linalg.eigvals(x: array, /) core=(2,)
        linalg.eigvalsh(x: array, /) core=(2,)
        linalg.inv(x: array, /) core=(2,)
        linalg.lstsq(x1: array, x2: array, /, *, rtol=None) core=(2, 2)
        linalg.matrix_norm(x: array, /, *, keepdims=False, ord='fro') core=(2,)
        linalg.matrix_power(x: array, n, /) core=(2,)
        linalg.matrix_rank(x: array, /, *, rtol: index? = None) core=(2,)
        linalg.outer(x1: array, x2: array, /) core=(1, 1)
        linalg.pinv(x: array, /, *, rtol: index? = None) core=(2,)
        linalg.qr(x: array, /, *, mode='reduced') core=(2,)
        linalg.slogdet(x: array, /) core=(2,)
        linalg.solve(x1: array, x2: array, /)
        linalg.solve_triangular(x1: array, x2: array, /, *, upper=False, unit_diagonal=False)
        linalg.svd(x: array, /, *, full_matrices=True) core=(2,)
        linalg.svdvals(x: array, /) core=(2,)
        linalg.trace(x: array, /, *, offset=0, dtype: dtype = None) core=(2,)
        linalg.vector_norm(x: array, /, *, axis: axes = None, keepdims=False, ord=2)
    """,
    "fft": """
        fft.fft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.fftfreq(n, /, *, d=1.0, dtype: dtype = None, device: device = None)
        fft.fftn(x: array, /, *, s=None, axes: axes = None, norm='backward')
        fft.fftshift(x: array, /, *, axes: axes = None)
        fft.hfft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.ifft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.ifftn(x: array, /, *, s=None, axes: axes = None, norm='backward')
        fft.ifftshift(x: array, /, *, axes: axes = None)
        fft.ihfft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.irfft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.irfftn(x: array, /, *, s=None, axes: axes = None, norm='backward')
        fft.rfft(x: array, /, *, n=None, axis: axis = -1, norm='backward')
        fft.rfftfreq(n, /, *, d=1.0, dtype: dtype = None, device: device = None)
        fft.rfftn(x: array, /, *, s=None, axes: axes = None, norm='backward')
    """,
    "beyond": """
        einsum(subscripts, /, *operands: array*)
        interp(x: array, points: array, values: array, /, *, left=None, right=None)
        log_softmax(x: array, /, *, axis: axes = -1)
        logsumexp(x: array, /, *, axis: axes = None, keepdims=False)
        pad(x: array, pad_width, mode='constant', *, constant_values=0)
        relu(x: array, /)
        scatter_add(x: array, key: key, values: array, /)
        softmax(x: array, /, *, axis: axes = -1)
    """,
    "sorting": """
        argsort(x: array, /, *, axis: axis = -1, descending=False, stable=True)
        sort(x: array, /, *, axis: axis = -1, descending=False, stable=True)
    """,
}

ARRAY_KINDS = frozenset(("array", "array?", "array*"))
KINDS = ARRAY_KINDS | {"index", "index?", "key", "axis", "axes", "shape", "dtype", "device", "static"}


class _Required:
    """The default of a parameter that has none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


class Parameter(NamedTuple):
    """One parameter of an op.

    Attributes
    ----------
    name : str
    kind : str
        One of `KINDS`.
    default : object
        `REQUIRED` if there is none.
    role : str
        "positional_only", "positional_or_keyword", "var_positional" (``*name``) or "keyword_only".

    Examples
    --------
    >>> parse("sum(x: array, /, *, axis: axes = None)", "statistical").parameters[1]
    Parameter(name='axis', kind='axes', default=None, role='keyword_only')
    """

    name: str
    kind: str
    default: object
    role: str


class Signature:
    """How one op is called.

    Attributes
    ----------
    name, chapter : str
    parameters : tuple of Parameter
    core : tuple of int or None
        For each array parameter, how many of its last axes the op acts on; the rest are broadcast.
    text : str
        What `inspect.signature` shows.
    bind_names, defaults : tuple
        Each parameter's name, and its default or `REQUIRED`.
    positions : dict
        The place of each name in the two tuples.
    n_by_position : int
        How many arguments may be given by position; more than the standard allows, where NumPy and torch do.

    Examples
    --------
    >>> signature("sum").text
    '(x, /, *, axis=None, dtype=None, keepdims=False)'
    >>> signature("sum").positions["dtype"]
    2
    """

    __slots__ = (
        "bind_names", "chapter", "core", "defaults", "n_by_position", "name", "parameters", "positions", "text",
    )

    def __init__(
        self, name: str, chapter: str, parameters: tuple[Parameter, ...], core: tuple[int, ...] | None = None
    ) -> None:
        self.name = name
        self.chapter = chapter
        self.parameters = parameters
        self.core = core
        self.text = _text(parameters)
        self.bind_names = tuple(p.name for p in parameters)
        self.defaults = tuple(p.default for p in parameters)
        self.positions = {p.name: i for i, p in enumerate(parameters)}
        strict = name in BY_KEYWORD
        self.n_by_position = sum(p.role != "keyword_only" for p in parameters) if strict else len(parameters)

    def __repr__(self) -> str:
        return f"<Signature {self.name}{self.text}>"


def signature(name: str) -> Signature:
    """Return the signature of an op of the table.

    Parameters
    ----------
    name : str
        A function of the standard's main namespace, or one of `ENGINE_OPS`.

    Raises
    ------
    LookupError
        If the table has no such name; the message offers close ones.

    Examples
    --------
    >>> signature("matmul").core
    (2, 2)
    """
    try:
        return _parsed[name]
    except KeyError:
        pass
    if name not in _lines:
        raise LookupError(_unknown(name))
    # setdefault: two threads that meet here still get one object.
    return _parsed.setdefault(name, parse(*_lines[name]))


def parse(line: str, chapter: str) -> Signature:
    """Read one line of the table.

    Parameters
    ----------
    line : str
        For example ``"physics.lj(r: array, eps=1.0)"``.
    chapter : str
        The chapter or rule set that owns the op.

    Raises
    ------
    ValueError
        If the line does not follow the form; the message shows it and says what is wrong.

    Examples
    --------
    >>> parse("physics.lj(r: array, eps=1.0)", "physics").text
    '(r, eps=1.0)'
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{line!r}: expected 'name(parameter, ...)', perhaps followed by 'core=(n, ...)'")
    name, inside, core = match.groups()
    try:
        parameters = _parameters(_split(inside))
        return Signature(name, chapter, parameters, _core(core, parameters))
    except ValueError as error:
        raise ValueError(f"{line!r}: {error}") from None


# ---------------------------------------------------------------------------------------------------------- reading

_NAME = r"[^\W\d]\w*"
_LINE = re.compile(rf"\s*({_NAME}(?:\.{_NAME})*)\s*\((.*?)\)\s*(?:core\s*=\s*\(([\d,\s]*)\)\s*)?", re.DOTALL)
_PARAMETER = re.compile(rf"(\*?)\s*({_NAME})\s*(?::\s*([^=\s]+)\s*)?(?:=\s*(.+))?", re.DOTALL)


def _split(inside: str) -> list[str]:
    """Cut at the commas that stand outside brackets and strings."""
    pieces: list[str] = []
    start, depth, quote = 0, 0, ""
    for i, c in enumerate(inside):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([":
            depth += 1
        elif c in ")]":
            depth -= 1
        elif c == "," and depth == 0:
            pieces.append(inside[start:i].strip())
            start = i + 1
    pieces.append(inside[start:].strip())
    return [] if pieces == [""] else pieces


def _parameters(pieces: list[str]) -> tuple[Parameter, ...]:
    found: list[Parameter] = []
    slash = False
    role = "positional_or_keyword"
    for piece in pieces:
        if piece == "/":
            if slash or not found or role == "keyword_only":
                raise ValueError("'/' may stand once, after the positional parameters and before '*'")
            slash = True
            found = [p._replace(role="positional_only") for p in found]
            continue
        if piece.startswith("*") and role == "keyword_only":
            raise ValueError("'*' may stand only once")
        if piece == "*":
            role = "keyword_only"
            continue
        parameter = _parameter(piece, role)
        _check_place(parameter, found)
        found.append(parameter)
        if parameter.role == "var_positional":
            role = "keyword_only"
    if pieces and pieces[-1] == "*":
        raise ValueError("'*' must be followed by a parameter")
    return tuple(found)


def _parameter(piece: str, role: str) -> Parameter:
    match = _PARAMETER.fullmatch(piece)
    if match is None:
        raise ValueError(f"cannot read the parameter {piece!r}")
    star, name, kind, default = match.groups()
    kind = kind or "static"
    if kind not in KINDS:
        raise ValueError(f"parameter {name!r} has the unknown kind {kind!r}; kinds are {', '.join(sorted(KINDS))}")
    if star and default is not None:
        raise ValueError(f"'*{name}' cannot have a default")
    value = REQUIRED if default is None else _default(name, default)
    return Parameter(name, kind, value, "var_positional" if star else role)


def _default(name: str, text: str) -> object:
    try:
        value: object = literal_eval(text)
        hash(value)  # a list would be shared by all calls
    except (ValueError, SyntaxError, TypeError):
        raise ValueError(f"the default of {name!r} must be a number, string, tuple, bool or None, not {text}") from None
    return value


def _check_place(parameter: Parameter, before: list[Parameter]) -> None:
    if any(p.name == parameter.name for p in before):
        raise ValueError(f"parameter {parameter.name!r} stands twice")
    positional = parameter.role in ("positional_only", "positional_or_keyword")
    if positional and parameter.default is REQUIRED and any(p.default is not REQUIRED for p in before):
        raise ValueError(f"parameter {parameter.name!r} needs a default, because one before it has one")


def _core(text: str | None, parameters: tuple[Parameter, ...]) -> tuple[int, ...] | None:
    if text is None:
        return None
    core = tuple(int(n) for n in text.replace(",", " ").split())
    arrays = [p.name for p in parameters if p.kind in ARRAY_KINDS]
    if len(core) != len(arrays):
        raise ValueError(f"core= gives {len(core)} numbers for {len(arrays)} array parameters ({', '.join(arrays)})")
    return core


# ---------------------------------------------------------------------------------------------------------- writing


def _text(parameters: tuple[Parameter, ...]) -> str:
    words = []
    before = ""
    for p in parameters:
        if before == "positional_only" and p.role != before:
            words.append("/")
        if p.role == "keyword_only" and before not in ("keyword_only", "var_positional"):
            words.append("*")
        star = "*" if p.role == "var_positional" else ""
        words.append(star + p.name + ("" if p.default is REQUIRED else f"={p.default!r}"))
        before = p.role
    if before == "positional_only":
        words.append("/")
    return f"({', '.join(words)})"


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(str(name), _lines, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"the Array API standard {VERSION} has no function {name!r}{hint}"


# ------------------------------------------------------------------------------------------------------------ index

# Only the names are read here; a line is parsed when its signature is first asked for.
_lines = {
    line.partition("(")[0]: (line, chapter)
    for chapter, block in TABLE.items()
    for line in map(str.strip, block.strip().splitlines())
}
_parsed: dict[str, Signature] = {}

CHAPTERS = {chapter: tuple(name for name, (_, owner) in _lines.items() if owner == chapter) for chapter in TABLE}

# What gradients and users need and the standard lacks. The meaning is NumPy's, or SciPy's where NumPy has none.
BEYOND = (*CHAPTERS["beyond"], *FURTHER)
