"""A tutorial in Chinese: `backward` and `autograd.grad`, first and second derivatives, vectors."""

import pytest

# Printed as PyTorch 2.13 does; each entry is one program of the tutorial, its second string what it prints.
PROGRAMS = {
    "backward": (
        """
x = torch.tensor(2., requires_grad=True)
a = torch.add(x, 1)
b = torch.add(x, 2)
y = torch.mul(a, b)
y.backward()
print(x.grad)
""",
        "tensor(7.)",
    ),
    "attributes": (
        """
x = torch.tensor(2., requires_grad=True)
a = torch.add(x, 1)
b = torch.add(x, 2)
y = torch.mul(a, b)
y.backward()
print("requires_grad: ", x.requires_grad, a.requires_grad, b.requires_grad, y.requires_grad)
print("is_leaf: ", x.is_leaf, a.is_leaf, b.is_leaf, y.is_leaf)
print("grad: ", x.grad, a.grad, b.grad, y.grad)
""",
        """
requires_grad:  True True True True
is_leaf:  True False False False
grad:  tensor(7.) None None None
""",
    ),
    "two ways to ask for a gradient": (
        """
x = torch.tensor(1.).requires_grad_()
print(x)
x = torch.tensor(1., requires_grad=True)
print(x)
""",
        """
tensor(1., requires_grad=True)
tensor(1., requires_grad=True)
""",
    ),
    "autograd.grad": (
        """
x = torch.tensor(2., requires_grad=True)
a = torch.add(x, 1)
b = torch.add(x, 2)
y = torch.mul(a, b)
grad = torch.autograd.grad(outputs=y, inputs=x)
print(grad[0])
""",
        "tensor(7.)",
    ),
    "two leaves by backward": (
        """
x = torch.tensor(2., requires_grad=True)
y = torch.tensor(3., requires_grad=True)
z = x * x * y
z.backward()
print(x.grad, y.grad)
""",
        "tensor(12.) tensor(4.)",
    ),
    "one leaf by autograd.grad": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
grad_x = torch.autograd.grad(outputs=z, inputs=x)
print(grad_x[0])
""",
        "tensor(12.)",
    ),
    "a retained graph is walked twice": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
grad_x = torch.autograd.grad(outputs=z, inputs=x, retain_graph=True)
grad_y = torch.autograd.grad(outputs=z, inputs=y)
print(grad_x[0], grad_y[0])
""",
        "tensor(12.) tensor(4.)",
    ),
    "second derivative without create_graph": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
grad_x = torch.autograd.grad(outputs=z, inputs=x, retain_graph=True)
grad_xx = torch.autograd.grad(outputs=grad_x, inputs=x)
print(grad_xx[0])
""",
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
    ),
    "second derivative: grad, grad": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
grad_x = torch.autograd.grad(outputs=z, inputs=x, create_graph=True)
grad_xx = torch.autograd.grad(outputs=grad_x, inputs=x)
print(grad_xx[0])
""",
        "tensor(6.)",
    ),
    "second derivative: grad, backward": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
grad = torch.autograd.grad(outputs=z, inputs=x, create_graph=True)
grad[0].backward()
print(x.grad)
""",
        "tensor(6.)",
    ),
    "second derivative: backward, grad": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
z.backward(create_graph=True)
grad_xx = torch.autograd.grad(outputs=x.grad, inputs=x)
print(grad_xx[0])
""",
        "tensor(6.)",
    ),
    "second derivative: backward, backward accumulates": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
z.backward(create_graph=True) # x.grad = 12
x.grad.backward()
print(x.grad)
""",
        "tensor(18., grad_fn=<CopyBackwards>)",
    ),
    "second derivative: backward, zero, backward": (
        """
x = torch.tensor(2.).requires_grad_()
y = torch.tensor(3.).requires_grad_()
z = x * x * y
z.backward(create_graph=True)
x.grad.data.zero_()
x.grad.backward()
print(x.grad)
""",
        "tensor(6., grad_fn=<CopyBackwards>)",
    ),
    "a vector has no implicit gradient": (
        """
x = torch.tensor([1., 2.]).requires_grad_()
y = x + 1
y.backward()
print(x.grad)
""",
        "RuntimeError: grad can be implicitly created only for scalar outputs",
    ),
    "a vector is summed": (
        """
x = torch.tensor([1., 2.]).requires_grad_()
y = x * x
y.sum().backward()
print(x.grad)
""",
        "tensor([2., 4.])",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_the_tutorial_shows(name, same):
    same(*PROGRAMS[name])
