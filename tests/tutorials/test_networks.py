"""A tutorial in Chinese, its second half: pictures, frozen layers, optimizers, evaluation, counting parameters.

Import lines are all that is translated. The tutorial freezes a pretrained VGG16, which would have to be downloaded: a
small network with parts of the same names stands in its place.
"""

import sys
import types

import pytest

import agrad
from agrad import nn
from agrad.nn import functional as F


class VGG(nn.Module):
    """Convolutions and a classifier, as in the network of that name; `linear` is the name of another program."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4 * 4 * 4, 5))

    def forward(self, x):
        return F.log_softmax(self.classifier(self.features(x)), dim=1)


def vgg16(pretrained):
    assert pretrained
    return VGG()


TORCHVISION = types.SimpleNamespace(models=types.SimpleNamespace(vgg16=vgg16))

FREEZING = """
model = torchvision.models.vgg16(pretrained=True)
for param in model.features.parameters():
    param.requires_grad = False
"""

BOILERPLATE = """
optimizer.zero_grad()
output = network(data)
loss = F.nll_loss(output, target)
loss.backward()
optimizer.step()
"""

COUNTING = """
numel_list = [p.numel() for p in model.parameters() if p.requires_grad == True]

sum(numel_list)
print(numel_list, sum(numel_list))
"""

PICTURES = """
from torchviz import make_dot

x=torch.tensor(2.0, requires_grad=True)
y=2*x
z=3+x
r=(y+z).sum()
whole = make_dot(r)

#Detach
x=torch.tensor(2.0, requires_grad=True)
y=2*x
z=3+x.detach()
r=(y+z).sum()
cut = make_dot(r)
"""


def batch():
    agrad.manual_seed(0)
    return {"data": agrad.randn(6, 3, 8, 8), "target": agrad.randint(5, (6,))}


def copies(parameters):
    return [t.detach().clone() for t in parameters]


def test_pictures_of_detach(run, monkeypatch):
    pytest.importorskip("graphviz")
    monkeypatch.setitem(sys.modules, "torchviz", agrad.viz)
    _, names = run(PICTURES)
    boxes = [names[picture].source.count("Backward") for picture in ("whole", "cut")]
    leaves = [names[picture].source.count("AccumulateGrad") for picture in ("whole", "cut")]
    assert (boxes, leaves) == ([4, 3], [1, 1])


def test_frozen_layers_get_no_gradient_and_do_not_move(run):
    _, names = run(FREEZING, torchvision=TORCHVISION)
    network = names["model"]
    optimizer = agrad.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    frozen, free = copies(network.features.parameters()), copies(network.classifier.parameters())
    for _ in range(2):
        printed, names = run(BOILERPLATE, network=network, optimizer=optimizer, F=F, **batch())
        assert printed == ""
    assert [t.grad for t in network.features.parameters()] == [None, None]
    assert all(map(agrad.all, (now == old for now, old in zip(network.features.parameters(), frozen, strict=True))))
    assert not any(map(agrad.all, (now == old for now, old in zip(network.classifier.parameters(), free, strict=True))))


def test_the_module_level_way_to_freeze(run):
    printed, _ = run(
        "model.features.requires_grad_(False)\nprint([p.requires_grad for p in model.parameters()])", model=VGG()
    )
    assert printed == "[False, False, True, True]"


def test_one_step_is_down_the_gradient(run):
    network = VGG().eval()      # dropout would change the loss as well
    optimizer = agrad.optim.SGD(network.parameters(), lr=1e-3)
    before = copies(network.parameters())
    _, names = run(BOILERPLATE, network=network, optimizer=optimizer, F=F, **batch())
    for old, now in zip(before, network.parameters(), strict=True):
        assert agrad.max(agrad.abs(now - (old - 1e-3 * now.grad))).item() < 1e-7
    with agrad.no_grad():
        assert F.nll_loss(network(names["data"]), names["target"]) < names["loss"]


def test_parameters_are_counted(run):
    assert run(COUNTING, model=VGG())[0] == "[108, 4, 320, 5] 437"
    _, names = run(FREEZING, torchvision=TORCHVISION)
    assert run(COUNTING, model=names["model"])[0] == "[320, 5] 325"


ZEROING = """
import torch.nn as nn
import torch.optim as optim

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

model = Model()
optimizer = optim.SGD(model.parameters(), lr=1e-3)
for _ in range(2):
    model.linear(torch.tensor([[3.]])).backward()
    print(model.linear.weight.grad)
optimizer.zero_grad(set_to_none=False)
print(model.linear.weight.grad)
optimizer.zero_grad()
print(model.linear.weight.grad)
"""


def test_gradients_add_up_until_they_are_zeroed(same):
    # The tutorial's version of PyTorch filled gradients with zeros; today's sets them to None if not told otherwise.
    same(ZEROING, "tensor([[3.]])\ntensor([[6.]])\ntensor([[0.]])\nNone")


EVALUATION = """
model.eval()
with torch.no_grad():
    first = model(data)
    again = model(data)
print(model.training, first.requires_grad, bool((first == again).all()))
model.train()
print(model.training, bool((model(data) == model(data)).all()), model(data).requires_grad)
"""


def test_evaluation_is_not_a_grad_mode(run):
    """Dropout is what `eval` turns off, recording is what `no_grad` turns off."""
    assert run(EVALUATION, model=VGG(), **batch())[0] == "False False True\nTrue False True"
