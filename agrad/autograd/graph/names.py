"""Under which names a node shows what it saved: the parameters' own, and PyTorch's where it has the operation.

Must know no backend and no rule.
"""

from agrad.cython_core.engine import Op

# PyTorch's word for a parameter, for all operations but those below.
_WORDS = {"axis": "dim", "axes": "dims", "keepdims": "keepdim", "key": "indices", "indices": "index", "k": "diagonal"}

# Where PyTorch's names are others than: the first array "self", the second "other", the result "result".
_OWN = {
    "pow": {"exponent": "x2"},
    "matmul": {"mat2": "x2", "vec": "x2", "tensor": "x2"},
    "vecdot": {"tensor": "x2"},
    "permute_dims": {"dims": "axes"},
    "flip": {"dims": "axis"},
    "roll": {"shifts": "shift", "dims": "axis"},
    "linalg.inv": {"inverse": "out"},
    "linalg.det": {"A": "x"},
    "linalg.slogdet": {"A": "x"},
    "linalg.solve": {"A": "x1"},
    "linalg.solve_triangular": {"A": "x1"},
    "linalg.outer": {"vec2": "x2"},
    "linalg.cholesky": {"L": "out"},
}
_ARRAYS = ("array", "array?")


def saved_names(op: Op) -> dict[str, int]:
    """Every name of an operation's parameters and result, and the position that it stands for; PyTorch's first."""
    positions = {name: i for i, name in enumerate(op.parameters)} | {"out": len(op.parameters)}
    arrays = [p.name for p in op.signature.parameters if p.kind in _ARRAYS]
    words = dict(zip(("self", "other"), arrays, strict=False)) | {"result": "out"}
    words |= {_WORDS[name]: name for name in op.parameters if name in _WORDS}
    if any(p.kind == "array*" for p in op.signature.parameters):
        words["tensors"] = next(p.name for p in op.signature.parameters if p.kind == "array*")
    return {word: positions[name] for word, name in (words | _OWN.get(op.name, {})).items()} | positions
