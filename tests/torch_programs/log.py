"""What a program saw: values, flags, errors, warnings and the order of events, in a form that two libraries can share.

Must know no program, and no library but by what its objects have: what has a `grad_fn` is a tensor, what has
`next_functions` a node.
"""

import contextlib
import math
import warnings

ANY_VIEW = "AsStridedBackward0"  # PyTorch's history of a view whose base was written; agrad keeps the view's own name


class Log:
    """Called with values, it notes them."""

    def __init__(self):
        self.events = []

    def __call__(self, *values):
        self.events.append([noted(v) for v in values])

    def flags(self, *tensors):
        """Everything that a tensor says of itself, but its values."""
        for t in tensors:
            flags = [
                t.requires_grad,
                t.is_leaf,
                noted(t.grad_fn),
                t.retains_grad,
                t.output_nr,
                t._version,
                t._base is not None,
            ]
            self.events.append(["flags", *flags])

    def whole(self, *tensors):
        """Values and flags."""
        for t in tensors:
            self(t)
            self.flags(t)

    def new(self, *tensors):
        """Values and flags of what a library made within: how often it wrote into that is its own affair."""
        for t in tensors:
            self.whole(t)
            self.events[-1].pop(-2)

    def grads(self, *tensors):
        for t in tensors:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self("grad", t.grad)

    @contextlib.contextmanager
    def error(self, text=False):
        """Note the type of the error that the block raises, and its words where they are promised."""
        try:
            yield
        except Exception as error:
            self.events.append(["raised", type(error).__name__, *([words(error)] if text else [])])
        else:
            self.events.append(["went through"])

    @contextlib.contextmanager
    def warned(self):
        """Note the types of the warnings that the block gives, and how they begin."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        self.events.append(["warned", *((w.category.__name__, words(w.message)[:30]) for w in caught)])

    def hook(self, name, result=None):
        """A hook that notes its name and what it is given, and returns something."""

        def hook(*given):
            self(name, *given)
            return result(*given) if callable(result) else result

        return hook


def words(error):
    return str(error).replace("torch.", "agrad.").partition(" (Triggered internally")[0]


def noted(value):
    if hasattr(value, "grad_fn") and hasattr(value, "tolist"):
        plain = value.detach()
        return ["tensor", str(plain.dtype).rpartition(".")[2], tuple(plain.shape), plain.tolist()]
    if hasattr(value, "next_functions"):
        return value.name().rpartition("::")[2]
    if isinstance(value, dict):
        return {k: noted(v) for k, v in value.items()}
    if isinstance(value, tuple) and type(value).__name__ not in ("tuple", "Size"):
        return [type(value).__name__, *map(noted, value)]
    if isinstance(value, (tuple, list)):
        return [noted(v) for v in value]
    return words(value) if isinstance(value, (str, BaseException)) else value


def same(found, expected):
    """Whether two notes say the same, up to rounding."""
    if isinstance(expected, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[k], expected[k]) for k in found)
        )
    if isinstance(expected, complex):
        return isinstance(found, complex) and same(found.real, expected.real) and same(found.imag, expected.imag)
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=2e-5, abs_tol=1e-6) or (math.isnan(found) and math.isnan(expected))
    if expected == ANY_VIEW and isinstance(found, str):
        return found.endswith("Backward0")
    return type(found) is type(expected) and found == expected
