"""Write the type stubs that tables decide: agrad/__init__.pyi, and the methods that agrad.methods puts into Tensor.

A signature comes from the table in agrad.standard, from the source of the function that runs, or from the imports of
agrad/__init__.py; this file knows only what these leave unsaid: the types of static parameters and of odd results.
Usage, with agrad installed: python tools/stubs.py
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import agrad
from agrad import creation, dtypes, namespaces, spellings, standard
from agrad.cython_core import engine
from agrad.standard import REQUIRED, Parameter

ROOT = Path(__file__).resolve().parents[1]
FRONT, ENGINE, ALLOWED = "agrad/__init__.pyi", "cython_core/engine.pyi", "tools/stubtest_allowlist.txt"
MARK, END = "# ---- written by tools/stubs.py", "# ---- to here"

# ---- what the table of the standard does not say

KINDS = {
    "array": "_Operand", "array?": "_Operand | None", "array*": "Sequence[_Operand]", "index": "_Operand",
    "index?": "_Operand | None", "key": "Any", "axis": "_int", "axes": "_Axes", "shape": "_Shape",
    "dtype": "_DType", "device": "_Device",
}
STATIC = {
    "start": "_float", "stop": "_float", "step": "_float", "num": "_int", "n_rows": "_int", "n_cols": "_int | None",
    "fill_value": "Tensor | complex", "copy": "_bool | None", "shift": "_Axes", "repetitions": "tuple[_int, ...]",
    "indexing": 'Literal["xy", "ij"]', "side": 'Literal["left", "right"]', "kind": "str | tuple[str, ...]",
    "shapes": "tuple[_int, ...]", "alpha": "complex", "rounding_mode": 'Literal["trunc", "floor"] | None',
    "decimals": "_int", "diagonal": "_int", "shifts": "_Axes", "dims": "_int | tuple[Sequence[_int], Sequence[_int]]",
    "n": "_int | None", "s": "Sequence[_int] | None", "norm": 'Literal["backward", "ortho", "forward"]', "d": "_float",
    "subscripts": "str", "left": "complex | None", "right": "complex | None", "constant_values": "_Widths",
    "pad_width": "_Widths", "mode": "str", "ord": "_float | str", "rtol": "_Operand | None",
}
ONLY_THERE = {
    ("arange", "stop"): "_float | None",
    ("astype", "copy"): "_bool",
    ("tensordot", "axes"): "_int | tuple[Sequence[_int], Sequence[_int]]",
    ("diff", "n"): "_int", ("linalg.matrix_power", "n"): "_int",
    ("fft.fftfreq", "n"): "_int", ("fft.rfftfreq", "n"): "_int",
}
RESULTS = {
    "__array_namespace_info__": "Any", "broadcast_arrays": "tuple[Tensor, ...]", "broadcast_shapes": "tuple[_int, ...]",
    "can_cast": "_bool", "finfo": "Any", "iinfo": "Any", "isdtype": "_bool", "meshgrid": "tuple[Tensor, ...]",
    "nonzero": "tuple[Tensor, ...]", "result_type": "DType", "unique_all": "_UniqueAll",
    "unique_counts": "_UniqueCounts", "unique_inverse": "_UniqueInverse", "unstack": "tuple[Tensor, ...]",
}
TUPLES = {name: result for name, result in standard.RESULTS.items() if name.startswith("linalg.")}
RESULTS |= {name: f"_{result.__name__}" for name, result in TUPLES.items()}

PREFIXES = (*standard.EXTENSIONS, "special")

# ---- what functions take beyond the standard

TRACKED = Parameter("requires_grad", "static", False, "keyword_only")
ALPHA, ROUNDING = (Parameter(name, "static", REQUIRED, "keyword_only") for name in ("alpha", "rounding_mode"))
FURTHER = {"add": ALPHA, "subtract": ALPHA, "divide": ROUNDING}
FURTHER["round"] = Parameter("decimals", "static", REQUIRED, "keyword_only")
FURTHER |= {name: TRACKED for name in spellings.FORMS if name.endswith("_like")}
PAIRS = ("max", "min", "sort")  # with `dim`: values and indices
RENAMED = {  # forms that only have another name for a parameter
    "tril": ("k", "diagonal"), "triu": ("k", "diagonal"), "roll": ("shift", "shifts"), "tensordot": ("axes", "dims"),
}
SCATTER = [Parameter(n, kind, REQUIRED, "positional_or_keyword")
           for n, kind in (("dim", "axis"), ("index", "index"), ("src", "array"))]


def forms(signature: standard.Signature) -> Iterator[tuple[list[Parameter], str]]:
    """The calls that an op takes, and what each returns: the standard's, then by position and with PyTorch's names."""
    name, parameters = signature.name, list(signature.parameters)
    result = RESULTS.get(name, "Tensor")
    if name in creation.CREATION:
        parameters.append(TRACKED)
    yield parameters, result
    keywords = [p for p in parameters if p.role == "keyword_only"]
    positional = parameters[: len(parameters) - len(keywords)]
    gathered = [p for p in positional if p.role == "positional_or_keyword" and p.kind in ("shape", "axes")]
    if name in standard.BY_KEYWORD:
        if "axis" in signature.positions:
            words = {"axis": "dim", "keepdims": "keepdim"}
            yield [p._replace(name=words.get(p.name, p.name)) for p in parameters], result
        return
    if name in RENAMED:
        yield [renamed(p, *RENAMED[name]) for p in parameters], result
    if name == "scatter_add":
        yield [parameters[0], *SCATTER], result
    elif parameters and parameters[-1].kind == "array*" and parameters[-1].role == "var_positional":
        yield [*parameters[:-1], parameters[-1]._replace(role="positional_only")], result
    elif "axis" in signature.positions:
        yield from axis_forms(name, parameters, result)
    elif gathered and name not in ("full", "expand_dims"):
        spread = gathered[0]._replace(kind="axis", role="var_positional")
        yield [*positional[:-1], spread, *keywords], result
    elif name in FURTHER or (keywords and name not in creation.CREATION and positional[0].role != "var_positional"):
        loose = [p._replace(role="positional_or_keyword") for p in keywords]
        yield positional + loose + ([FURTHER[name]] if name in FURTHER else []), result


def renamed(p: Parameter, old: str, new: str) -> Parameter:
    """A parameter under its other name, which is then required; an axis beside it too."""
    if p.name == old:
        return p._replace(name=new, default=REQUIRED, role="keyword_only")
    return p._replace(name="dims") if p.name == "axis" else p


def axis_forms(name: str, parameters: list[Parameter], result: str) -> Iterator[tuple[list[Parameter], str]]:
    """`sum(x, 0, keepdims=True)` and `sum(x, dim=0, keepdim=True)`."""
    place = next(i for i, p in enumerate(parameters) if p.name == "axis")
    before = [p for p in parameters[:place] if p.role != "keyword_only"]
    between = [p._replace(role="positional_or_keyword") for p in parameters[:place] if p.role == "keyword_only"]
    after = [p for p in parameters[place + 1 :] if p.role == "keyword_only"]
    axis = parameters[place]._replace(role="positional_or_keyword")
    axis = axis if between else axis._replace(default=REQUIRED)
    dim = axis._replace(name="dims" if name in ("flip", "roll") else "dim")
    renamed = [p._replace(name="keepdim") for p in after if p.name == "keepdims"]
    if name in PAIRS:
        others = [p for p in after if p.name != "keepdims"]
        yield [*before, axis._replace(role="positional_only"), *after], result
        yield [*before, dim._replace(kind="axis", role="keyword_only"), *renamed, *others], "MinMax"
    else:
        yield [*before, *between, dim, *after, *renamed], result


# ---- writing


def annotation(signature: standard.Signature, p: Parameter) -> str:
    """The type of a parameter."""
    if (signature.name, p.name) in ONLY_THERE:
        return ONLY_THERE[signature.name, p.name]
    if p.role == "var_positional" and p.kind == "array*":
        return "_Operand"
    if p.kind == "static":
        return STATIC.get(p.name) or {bool: "_bool", int: "_int", float: "_float"}.get(type(p.default), "Any")
    axis = signature.positions.get("axis") if p.name in ("axis", "dim", "dims") else signature.positions.get(p.name)
    is_axis = p.kind in ("axis", "axes") and axis is not None
    return KINDS[p.kind] + " | None" * (is_axis and signature.defaults[axis] is None)


def arguments(signature: standard.Signature, parameters: list[Parameter], method: bool) -> list[str]:
    """What stands between a definition's commas; the first parameter of a method has no type."""
    words, before = [], ""
    for i, p in enumerate(parameters):
        if before == "positional_only" and p.role != before:
            words.append("/")
        if p.role == "keyword_only" and before not in ("keyword_only", "var_positional"):
            words.append("*")
        default = "" if p.default is REQUIRED else f" = {p.default!r}".replace("'", '"')
        star = "*" if p.role == "var_positional" else ""
        words.append(p.name if method and i == 0 else f"{star}{p.name}: {annotation(signature, p)}{default}")
        before = p.role
    return words + ["/"] * (before == "positional_only")


def definition(name: str, words: list[str], result: str, indent: str, decorator: str = "") -> str:
    """One definition, broken where it is too long."""
    end, inner = f") -> {result}: ...", f"\n{indent}    "
    text = f"{indent}def {name}({', '.join(words)}{end}"
    if len(text) > 120:
        text = f"{indent}def {name}({inner}{', '.join(words)}\n{indent}{end}"
    if max(map(len, text.splitlines())) > 120:
        text = f"{indent}def {name}({inner}{f',{inner}'.join(words)},\n{indent}{end}"
    return "".join(f"{indent}@{word}\n" for word in decorator.split()) + text


def write_op(name: str, op: engine.Op, indent: str = "", decorator: str = "") -> str:
    """An op as a function or, indented, as a method; in place, it takes the standard's form and returns itself."""
    calls = list(forms(op.signature))
    calls = [(calls[0][0], "Self")] if is_in_place(name) else calls
    decorators = " ".join(["overload"] * (len(calls) > 1) + [decorator] * bool(decorator))
    is_method = bool(indent) and decorator != "staticmethod"
    written = ((arguments(op.signature, parameters, is_method), result) for parameters, result in calls)
    return "\n".join(definition(name, words, result, indent, decorators) for words, result in written)


def is_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def write_function(name: str, function: FunctionType, decorator: str = "") -> str:
    """A method written in Python, as its source annotates it."""
    if function.__name__ == "<lambda>":
        return definition(name, ["self"], "Tensor", "    ", decorator)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    (node.args.posonlyargs + node.args.args)[0].annotation = None
    # Tensor's methods of these names hide the types
    inside, result = (re.sub(r"\b(bool|int|float)\b", r"_\1", ast.unparse(n)) for n in (node.args, node.returns) if n)
    inside = re.sub(r"(?<=[\w\]])=", " = ", inside)
    words = re.split(r", (?![^\[(]*[\])])", inside)     # at the commas outside brackets
    return definition(name, words, "Self" if is_in_place(name) else result, "    ", decorator)


def write_methods(by_hand: set[str]) -> str:
    """All that agrad.methods put into Tensor."""
    lines = []
    for name, value in vars(engine.Tensor).items():
        op = getattr(getattr(value, "__func__", None), "__self__", None)
        if isinstance(op, engine.Op):
            own = op.name + "_" * is_in_place(name)
            lines.append(write_op(name, op, "    ") if name == own or "." in own else f"    {name} = {own}")
        elif name not in by_hand and isinstance(value, FunctionType):
            lines.append(write_function(name, value))
        elif isinstance(value, property):
            lines.append(write_function(name, value.fget, "property"))
        elif isinstance(value, int):
            lines.append(f"    {name}: _int")
    return "\n".join(lines) + "\n"


def between_marks(text: str, inside: str) -> str:
    """The text with what stands between its marks replaced."""
    return re.sub(rf"({MARK}.*\n)[^\0]*?( *{END})", lambda match: match[1] + inside + match[2], text)


def engine_stub() -> str:
    """cython_core/engine.pyi: written by hand but for the methods of Tensor that are installed."""
    tensor = ast.parse((text := (ROOT / ENGINE).read_text()).partition(MARK)[0]).body[-1]
    return between_marks(text, write_methods({n.name for n in ast.walk(tensor) if isinstance(n, ast.FunctionDef)}))


def allowlist() -> str:
    """The methods that take more than their text signature says; it shows the standard's form alone."""
    names = set(re.findall(r"@overload\n    def (\w+)", write_methods(set())))
    names |= {alias for alias, name in spellings.ALIASES.items() if name in names}
    names |= {name for name, value in vars(engine.Tensor).items() if hasattr(value, "__signature__")}
    lines = "".join(f"agrad\\.cython_core\\.engine\\.Tensor\\.{name}\n" for name in sorted(names))
    return between_marks((ROOT / ALLOWED).read_text(), lines)


FRONT_HEAD = '''"""Types of the public names but for the ops of plugins. Written by tools/stubs.py: do not edit."""

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

'''


def imports() -> list[str]:
    """What agrad/__init__.py imports for others to see, and what its stub needs."""
    words = "_Axes, _Device, _DType, _Operand, _Shape, _UniqueAll, _UniqueCounts, _UniqueInverse, _Widths"
    found = [f"from agrad.cython_core.engine import {words}", "from agrad.dtypes import DType"]
    found += ["from agrad import testing as testing", "from agrad.spellings import MinMax"]
    found += [f"from agrad.dtypes import {name} as {name}" for name in dtypes.DTYPES]
    for node in ast.parse((ROOT / "agrad/__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("agrad"):
            names = (a.name for a in node.names if a.asname in (None, a.name))
            public = (name for name in names if name in agrad.__all__ or name in ("configuration", "__version__"))
            found += [f"from {node.module} import {name} as {name}" for name in public]
    # in ruff's order: numbers within names count as numbers
    found.sort(key=lambda line: [int(w) if w.isdigit() else w for w in re.split(r"(\d+)", line)])
    return [line if len(line) <= 120 else in_rows(line) for line in found]


def in_rows(line: str) -> str:
    """An import that is too long for one line."""
    before, word, names = line.partition(" import ")
    return f"{before}{word}(\n    " + ",\n    ".join(names.split(", ")) + ",\n)"


def write_namespaces() -> list[str]:
    """What lies below the top level, each as a class of static methods, and the tuples that their functions return."""
    lines = ["\n# ---- " + ", ".join(PREFIXES) + "\n"]
    for result in TUPLES.values():
        lines += ["", f"class _{result.__name__}(NamedTuple):", *(f"    {field}: Tensor" for field in result._fields)]
    for prefix in filter(namespaces._is_prefix, PREFIXES):
        members = {name.partition(".")[2]: op for name, op in engine.all_ops().items() if name.startswith(prefix + ".")}
        members |= {name.partition(".")[2]: engine.find_op(main) for name, main in standard.SAME.items()
                    if name.startswith(prefix + ".")}
        members = {name: op for name, op in members.items() if not name.startswith("_")}
        if members:
            lines.append(f"\nclass _{prefix.title()}:")
            lines += [write_op(name, members[name], "    ", "staticmethod") for name in sorted(members)]
            lines.append(f"\n{prefix}: _{prefix.title()}")
    return lines


def front_stub() -> str:
    """agrad/__init__.pyi."""
    lines = imports()
    taken = {line.rpartition(" ")[2] for line in lines}
    names = textwrap.fill(" ".join(f'"{name}",' for name in sorted(agrad.__all__)), 116)
    lines += ["", "__array_api_version__: str", "__all__ = [  # noqa: RUF022", textwrap.indent(names, "    "), "]"]
    for chapter, members in standard.CHAPTERS.items():
        public = [name for name in members if name not in {*taken, *standard.ENGINE_OPS} and "." not in name]
        if not public:
            continue
        lines += [f"\n# ---- {chapter}\n", *(write_op(name, engine.find_op(name)) for name in public)]
    lines += write_namespaces()
    lines.append("\n# ---- PyTorch's names\n")
    for alias, name in spellings.ALIASES.items():
        lines.append(f"{alias} = {name}" if hasattr(agrad, name) else write_op(alias, engine.find_op(name)))
    lines += [f"{name}: DType" for name in dtypes.TORCH_NAMES]
    lines.append("\n# ---- constants\n")
    lines += [f"{name}: {'None' if value is None else '_float'}" for name, value in standard.CONSTANTS.items()]
    return FRONT_HEAD + "\n".join(lines) + "\n"


def texts() -> dict[Path, str]:
    """The files as they should be."""
    return {ROOT / FRONT: front_stub(), ROOT / ENGINE: engine_stub(), ROOT / ALLOWED: allowlist()}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
