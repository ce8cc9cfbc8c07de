"""A tutorial in Chinese: one small network, the `gradient` argument of `backward`, accumulation."""

import pytest

FORWARD = """
import torch
import numpy as np

x1 = torch.from_numpy( 2*np.ones((2, 2), dtype=np.float32) )
x1.requires_grad_(True)
w1 = torch.from_numpy( 5*np.ones((2, 2), dtype=np.float32) )
w1.requires_grad_(True)
print("x1 =", x1)
print("w1 =", w1)

x2 = x1 * w1
w2 = torch.from_numpy( 6*np.ones((2,2), dtype=np.float32) )
w2.requires_grad_(True)
print("x2 =", x2)
print("w2 =", w2)

y = x2 * w2
Y = torch.from_numpy( 10*np.ones((2,2), dtype=np.float32) )
print("y =", y)
print("Y =", Y)

L = Y - y
"""

FORWARD_PRINTS = """
x1 = tensor([[2., 2.],
        [2., 2.]], requires_grad=True)
w1 = tensor([[5., 5.],
        [5., 5.]], requires_grad=True)
x2 = tensor([[10., 10.],
        [10., 10.]], grad_fn=<MulBackward0>)
w2 = tensor([[6., 6.],
        [6., 6.]], requires_grad=True)
y = tensor([[60., 60.],
        [60., 60.]], grad_fn=<MulBackward0>)
Y = tensor([[10., 10.],
        [10., 10.]])
"""

PRINT_GRADIENTS = """
print(x1.grad)
print(w1.grad)
print(w2.grad)
"""

GRADIENTS = """
tensor([[-30., -30.],
        [-30., -30.]])
tensor([[-12., -12.],
        [-12., -12.]])
tensor([[-10., -10.],
        [-10., -10.]])
"""

ACCUMULATE = """
print("x1.grad =",x1.grad)
L2 = x1 * x1
L2.backward(torch.ones(2, 2, dtype=torch.float))
print("x1.grad =", x1.grad)
"""

TWO_GRADIENTS = """
x1.grad = tensor([[{0}., {0}.],
        [{0}., {0}.]])
x1.grad = tensor([[{1}., {1}.],
        [{1}., {1}.]])
"""


def test_the_network_prints_its_tensors(same):
    same(FORWARD, FORWARD_PRINTS)


@pytest.mark.parametrize(
    "backward",
    [
        "L.backward(torch.ones(2, 2, dtype=torch.float))",
        "y.backward(-1 * torch.ones(2, 2, dtype=torch.float))",
    ],
)
def test_backward_starts_at_any_tensor(backward, run, same):
    _, names = run(FORWARD)
    same(backward + PRINT_GRADIENTS, GRADIENTS, **names)


def test_gradients_accumulate(run, same):
    _, names = run(FORWARD + "L.backward(torch.ones(2, 2, dtype=torch.float))")
    same(ACCUMULATE, TWO_GRADIENTS.format(-30, -26), **names)
    # The tutorial's figures are those of running this block once more.
    same(ACCUMULATE, TWO_GRADIENTS.format(-26, -22), **names)


def test_a_scalar_needs_no_gradient(run, same):
    _, names = run(FORWARD)
    same("L.sum().backward()" + PRINT_GRADIENTS, GRADIENTS, **names)


def test_a_computed_tensor_is_no_leaf(run):
    program = FORWARD.replace(
        "x1 = torch.from_numpy( 2*np.ones((2, 2), dtype=np.float32) )\nx1.requires_grad_(True)",
        "x1 = 2 * torch.ones(2, 2, requires_grad=True, dtype=torch.float)",
    )
    printed, _ = run(program + "L.backward(torch.ones(2, 2, dtype=torch.float))\nprint(x1.is_leaf, x1.grad)")
    assert printed.startswith("x1 = tensor([[2., 2.],\n        [2., 2.]], grad_fn=<MulBackward>)")
    assert printed.endswith("False None")
