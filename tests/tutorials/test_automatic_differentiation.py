"""A tutorial in Russian: what PyTorch's `backward` and `grad` compute, and both modes of differentiation by hand."""

import pytest

# Each entry is one program of the tutorial, its second string what it prints.
PROGRAMS = {
    "the whole gradient": (
        """
import torch
x1 = torch.tensor(2., requires_grad=True)
x2 = torch.tensor(5., requires_grad=True)
y = torch.log(x1) + x1 * x2 - torch.sin(x2)
grads = torch.autograd.grad(y, [x1, x2])
print('y is :', y)
print('grad is : ', grads[0],grads[1]) #
""",
        """
y is : tensor(11.6521, grad_fn=<SubBackward0>)
grad is :  tensor(5.5000) tensor(1.7163)
""",
    ),
    "forward, step by step": (
        """
import torch
x1 = torch.tensor(2., requires_grad=True)
x2 = torch.tensor(5., requires_grad=True)
v1 = torch.log(x1)
v2 = x1 * x2
v3 = torch.sin(x2)
v4 = v1 + v2
y = v4 - v3
dv1 = torch.autograd.grad(v1, [x1], retain_graph=True)
dv2 = torch.autograd.grad(v2, [x1], retain_graph=True)
dv3 = torch.autograd.grad(v3, [x2], retain_graph=True)
dv4 = torch.autograd.grad(v4, [x1, x2], retain_graph=True)
grads = torch.autograd.grad(y, [x1, x2])
print('v1 is :', v1)
print('v2 is :', v2)
print('v3 is :', v3)
print('v4 is :', v4)
print('y is :', y)
print('dv1 is :', dv1)
print('dv2 is :', dv2)
print('dv3 is :', dv3)
print('dv4 is :', dv4)
print('grad is : ', grads[0],grads[1])
""",
        """
v1 is : tensor(0.6931, grad_fn=<LogBackward>)
v2 is : tensor(10., grad_fn=<MulBackward0>)
v3 is : tensor(-0.9589, grad_fn=<SinBackward>)
v4 is : tensor(10.6931, grad_fn=<AddBackward0>)
y is : tensor(11.6521, grad_fn=<SubBackward0>)
dv1 is : (tensor(0.5000),)
dv2 is : (tensor(5.),)
dv3 is : (tensor(0.2837),)
dv4 is : (tensor(5.5000), tensor(2.))
grad is :  tensor(5.5000) tensor(1.7163)
""",
    ),
    "reverse, step by step": (
        """
import torch
x1 = torch.tensor(2., requires_grad=True)
x2 = torch.tensor(5., requires_grad=True)
v1 = torch.log(x1)
v2 = x1 * x2
v3 = torch.sin(x2)
v4 = v1 + v2
y = v4 - v3
dv4 = torch.autograd.grad(y, [v4], retain_graph=True)
dv3 = torch.autograd.grad(y, [v3], retain_graph=True)
dv2 = torch.autograd.grad(v4, [v2], retain_graph=True)
dv1 = torch.autograd.grad(v4, [v1], retain_graph=True)
dv0 = torch.autograd.grad(v3, [x2], retain_graph=True)
dv21 = torch.autograd.grad(v2, [x1], retain_graph=True)
dv22 = torch.autograd.grad(v2, [x2], retain_graph=True)
dv11 = torch.autograd.grad(v1, [x1], retain_graph=True)
grads = torch.autograd.grad(y, [x1, x2])
print('v1 is :', v1)
print('v2 is :', v2)
print('v3 is :', v3)
print('y is :', y)
print('dv4 is :', dv4)
print('dv3 is :', dv3)
print('dv2 is :', dv2)
print('dv1 is :', dv1)
print('dv0 is :', dv0)
print('dv21 is :', dv21)
print('dv22 is :', dv22)
print('dv11 is :', dv11)
print('grad is : ', grads[0],grads[1])
""",
        """
v1 is : tensor(0.6931, grad_fn=<LogBackward>)
v2 is : tensor(10., grad_fn=<MulBackward0>)
v3 is : tensor(-0.9589, grad_fn=<SinBackward>)
y is : tensor(11.6521, grad_fn=<SubBackward0>)
dv4 is : (tensor(1.),)
dv3 is : (tensor(-1.),)
dv2 is : (tensor(1.),)
dv1 is : (tensor(1.),)
dv0 is : (tensor(0.2837),)
dv21 is : (tensor(5.),)
dv22 is : (tensor(2.),)
dv11 is : (tensor(0.5000),)
grad is :  tensor(5.5000) tensor(1.7163)
""",
    ),
    "not in place": (
        """
a = torch.tensor([0., 1.], requires_grad=True)
a = a.exp()
print(a)
""",
        "tensor([1.0000, 2.7183], grad_fn=<ExpBackward0>)",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_the_tutorial_shows(name, same):
    same(*PROGRAMS[name])


IN_PLACE = """
a = torch.tensor([0., 1.], requires_grad=True)
a = a.exp()
a[0] = 10
print(a)
a.sum().backward()
"""


def test_a_write_over_a_saved_value_is_why_the_tutorial_avoids_them(run):
    printed, _ = run(IN_PLACE)
    lines = printed.splitlines()
    assert lines[0] == "tensor([10.0000,  2.7183], grad_fn=<CopySlices>)"
    assert lines[1].startswith(
        "RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation:"
    )


IMPLICIT = """
a = torch.tensor(1.0, requires_grad=True)
b = torch.tensor(2.0, requires_grad=True)
z = x**3+b
z.backward()
print(z, a.grad, b.grad)
"""


def test_implicit_gradient(same):
    # The tutorial forgets to define x and shows another program's numbers; x is taken for its leaf a.
    same(
        IMPLICIT.replace("x**3", "a**3"),
        "tensor(3., grad_fn=<AddBackward0>) tensor(3.) tensor(1.)",
    )


def test_inputs_select_the_leaf(same):
    program = IMPLICIT.replace("x**3", "a**3").replace("z.backward()", "torch.autograd.backward([z], inputs=[a])")
    same(program, "tensor(3., grad_fn=<AddBackward0>) tensor(3.) None")


EXPLICIT = """
import torch
x = torch.randn(2, 2, dtype=torch.double, requires_grad=True)
y = torch.randn(2, 2, dtype=torch.double, requires_grad=True)
def fn():
    return x ** 2 + y * x + y ** 2
gradient = torch.ones(2, 2)
torch.autograd.backward(fn(), gradient, inputs=[x, y])
print(x.grad)
print(y.grad)
"""


def test_explicit_gradient(run):
    # The numbers are random: the relation between them and the form of the printout are not.
    printed, names = run(EXPLICIT)
    x, y = names["x"], names["y"]
    assert printed.count("tensor([[") == 2
    assert printed.count(", dtype=agrad.float64)") == 2
    assert (x.grad - (2 * x + y)).abs().max().item() < 1e-12
    assert (y.grad - (x + 2 * y)).abs().max().item() < 1e-12


HESSIAN_VECTOR = """
import torch
x = torch.randn(2, 2, requires_grad=True)
y = torch.randn(2, 2, requires_grad=True)
z = x ** 2 + y * x + y ** 2
z.backward(torch.ones(2, 2), create_graph=True)
x_grad = 2 * x + y
y_grad = x + 2 * y
grad_sum = 2 * x.grad + y.grad
x_hv = torch.autograd.grad(
    outputs=[grad_sum], grad_outputs=[torch.ones(2, 2)],
    inputs=[x], create_graph=True)
print(x.grad)
print(y.grad)
"""


def test_hessian_vector_product(run):
    # The numbers are random: the relation between them and the form of the printout are not.
    printed, names = run(HESSIAN_VECTOR)
    assert printed.count("grad_fn=<CopyBackwards>)") == 2
    assert (names["x"].grad - names["x_grad"]).abs().max().item() < 1e-5
    assert (names["y"].grad - names["y_grad"]).abs().max().item() < 1e-5
    assert (names["x_hv"][0] - 5).abs().max().item() < 1e-5
