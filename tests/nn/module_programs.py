"""Modules for agrad and PyTorch alike, and what programs with them say: plain numbers, or an error's text."""

import re

import numpy as np
from array_libraries import values


def linear(m):
    """A class of modules for agrad or PyTorch: y = x W^T + b, and a buffer that counts calls."""

    class Linear(m.nn.Module):
        def __init__(self, n_in=2, n_out=2):
            super().__init__()
            self.size = f"{n_in}, {n_out}"
            numbers = m.arange(n_in * n_out, dtype=m.float64)
            self.weight = m.nn.Parameter(m.reshape(numbers, (n_out, n_in)) / 4 - 0.5)
            self.register_parameter("bias", m.nn.Parameter(m.ones((n_out,), dtype=m.float64)))
            self.register_buffer("calls", m.zeros((), dtype=m.float64))
            self.register_buffer("last", None)
            self.register_buffer("cache", m.ones((1,), dtype=m.float64), persistent=False)

        def forward(self, x, scale=1.0):
            self.calls = self.calls + 1
            return (m.matmul(x, self.weight.T) + self.bias) * scale

        def extra_repr(self):
            return self.size

    return Linear


def net(m):
    """Two layers, one of them under two names, and a parameter that has two names."""
    layer = linear(m)

    class Block(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = layer(2, 2)
            self.none = None

        def forward(self, x):
            return m.tanh(self.inner(x))

    class Net(m.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = layer(3, 2)
            self.block = Block()
            self.again = self.block
            self.scale = m.nn.Parameter(m.asarray([2.0, 3.0], dtype=m.float64))
            self.tied = self.block.inner.weight

        def forward(self, x):
            return self.block(self.first(x)) * self.scale

    return Net()


def point(m):
    return m.asarray([[0.5, -1.0, 2.0]], dtype=m.float64)


def plain(result):
    """Numbers, strings and lists, the same for both libraries."""
    if hasattr(result, "detach"):
        return np.round(values(result.detach()), 10).tolist()
    if isinstance(result, dict):
        return {key: plain(value) for key, value in result.items()}
    if isinstance(result, (list, tuple)):
        return [plain(value) for value in result]
    if isinstance(result, str):
        return result.replace("torch.FloatTensor", "agrad.float32").replace("torch.", "agrad.")
    return result


TORCH_WORDS = {
    "torch.Tensor or Tensor-like object": "an array", "'Buffer'": "'Tensor'", "torch.nn.modules.module.": "",
    "torch.nn.modules.container.": "agrad.nn.containers.", "test_containers.unit.<locals>.": "",
    "ParametersDict.": "ParameterDict.",
    "torch.nn.": "agrad.nn.", "'torch.FloatTensor'": "'Tensor'", "'torch.DoubleTensor'": "'Tensor'",
    "torch Tensor or": "agrad.Tensor or", "torch.": "agrad.", "contain \".\"'": "contain \".\", got: a.b'",
}


def said(program):
    """What a program gives, or the error that it raises."""
    try:
        return plain(program())
    except Exception as error:
        text = str(error)
        for old, new in TORCH_WORDS.items():
            text = text.replace(old, new)
        text = re.sub(r"Size\(\[([0-9, ]+)\]\)", lambda found: str(tuple(map(int, found[1].split(", ")))), text)
        return f"{type(error).__name__}: {text}".replace("agrad.(", "(")


def then(do, *results):
    """Do something, then give something."""
    do()
    return [result() for result in results]


def names(pairs):
    return [name for name, _ in pairs]
