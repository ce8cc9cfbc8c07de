"""A tutorial in Chinese: leaves, `detach`, `clone`, `data`, grad modes."""

import sys
import types

import pytest

# Each entry is one program of the tutorial, its second string what it prints.
PROGRAMS = {
    "clone is a deep copy": (
        """
import torch

tensor = torch.tensor([1, 2, 3])
tensor_clone = tensor.clone()

print(tensor)
print(tensor_clone)
print(tensor is tensor_clone)
""",
        """
tensor([1, 2, 3])
tensor([1, 2, 3])
False
""",
    ),
    "a write to the clone leaves the tensor alone": (
        """
import torch

tensor = torch.tensor([1, 2, 3])
tensor_clone = tensor.clone()
tensor_clone[0] = 99

print(tensor)
print(tensor_clone)
""",
        """
tensor([1, 2, 3])
tensor([99,  2,  3])
""",  # the tutorial pads the second line by hand, PyTorch aligns the numbers
    ),
    "clone keeps the history": (
        """
import torch

tensor = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
tensor_clone = tensor.clone()
print(tensor_clone.requires_grad)

tensor_clone_no_grad = tensor.clone().detach()
print(tensor_clone_no_grad.requires_grad)
""",
        """
True
False
""",
    ),
    "clone inside a graph": (
        """
import torch

x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
y = x * 2
y_clone = y.clone()
z = y_clone.sum()
z.backward()

print(x.grad)
""",
        "tensor([2., 2., 2.])",
    ),
    "no_grad": (
        """
x = torch.tensor([1.], requires_grad=True)
with torch.no_grad():
  y = x * 2
print(y.requires_grad) #False

@torch.no_grad()
def doubler(x):
    return x * 2
z = doubler(x)

print(z.requires_grad) #False

def doubler(x):
    return x * 2
z = doubler(x)

print(z.requires_grad) #True
""",
        """
False
False
True
""",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_the_tutorial_shows(name, same):
    same(*PROGRAMS[name])


def test_integers_have_no_gradient(run):
    printed, names = run("x = torch.tensor([3,4], requires_grad=True)")
    assert printed.startswith("RuntimeError: ")
    assert "x" not in names


DATA = """
import torch

x = torch.tensor([1.0, 2.0], requires_grad=True)
y1 = x ** 2

print(y1)
print(y1.data)
print(y1.detach())
print(id(y1), id(y1.data), id(y1.detach()))
print(id(y1.storage()), id(y1.data.storage()), id(y1.detach().storage()))
"""


def test_data_and_detach_share_memory(run):
    printed, names = run(DATA)
    lines = printed.splitlines()
    assert lines[:3] == ["tensor([1., 4.], grad_fn=<PowBackward>)", "tensor([1., 4.])", "tensor([1., 4.])"]
    # The ids that the tutorial prints next are random: three numbers each, and a write by one twin is seen by all.
    assert [len(line.split()) for line in lines[3:]] == [3, 3]
    assert all(number.isdigit() for line in lines[3:] for number in line.split())
    y1 = names["y1"]
    y1.data[0] = 7.0
    assert y1.tolist() == [7.0, 4.0] == y1.detach().tolist()
    y1.detach()[1] = 8.0
    assert y1.tolist() == [7.0, 8.0] == y1.data.tolist()


PICTURES = """
from torchviz import make_dot

x=torch.tensor(2.0, requires_grad=True)
y=2*x
z=3+x
r=(y+z).sum()
make_dot(r)

#Detach
x=torch.tensor(2.0, requires_grad=True)
y=2*x
z=3+x.detach()
r=(y+z).sum()
make_dot(r)
"""


def test_detach_cuts_one_path_of_the_picture(run, monkeypatch):
    drawn = []

    def make_dot(root):
        """Stands for the drawing package: walks the graph through its public attributes as that package does."""
        nodes, stack = [], [root.grad_fn]
        while stack:
            node = stack.pop()
            nodes.append("leaf" if hasattr(node, "variable") else node.name().removesuffix("0"))
            stack += [previous for previous, _ in node.next_functions if previous is not None]
        drawn.append(sorted(nodes))

    monkeypatch.setitem(sys.modules, "torchviz", types.SimpleNamespace(make_dot=make_dot))
    printed, _ = run(PICTURES)
    assert printed == ""
    assert drawn == [
        ["AddBackward", "AddBackward", "MulBackward", "SumBackward", "leaf", "leaf"],
        ["AddBackward", "MulBackward", "SumBackward", "leaf"],
    ]
