"""What PyTorch's tutorials show of gradients and training, after `import agrad as torch`.

Derivatives by `backward` and by `autograd.grad`, second ones, gradients of vectors, `detach` and grad modes, a graph,
frozen layers, optimizers, evaluation. Each part prints a line or two; all of it takes less than a second.

    python examples/tutorials.py [--backend torch] [--steps 20] [--seed 0]
"""

from training import number, options

import agrad as torch
from agrad import nn, optim
from agrad.nn import functional as F
from agrad.viz import graph


def derivatives():
    x = torch.tensor(2.0, requires_grad=True)
    y = torch.tensor(3.0, requires_grad=True)
    z = x * x * y
    (slope,) = torch.autograd.grad(outputs=z, inputs=x, create_graph=True)
    (curvature,) = torch.autograd.grad(outputs=slope, inputs=x)
    z.backward()
    print("z = x * x * y:", z.item(), "gradients", x.grad.item(), y.grad.item(), "second", curvature.item())


def vectors():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    try:
        y.backward()
    except RuntimeError as error:
        print("RuntimeError:", error)
    y.backward(torch.tensor([1.0, 10.0]))       # the weights of the two gradients
    print("y = x * x, weighted:", x.grad)


def detached():
    x = torch.tensor(2.0, requires_grad=True)
    r = 2 * x + (3 + x.detach())
    r.backward()
    with torch.no_grad():
        y = x * 2
    print("2 x + detached x: gradient", x.grad.item(), "recorded in no_grad:", y.requires_grad)
    print(graph(r, {"x": x}))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(16, 2)

    def forward(self, x):
        return F.log_softmax(self.classifier(self.dropout(self.features(x))), dim=1)


def train(model, data, target, steps):
    """The lines that every tutorial has."""
    optimizer = optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.5, momentum=0.9)
    losses = []
    model.train()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        losses.append(number(loss, step))
        loss.backward()
        optimizer.step()
    return losses


def networks(steps):
    target = torch.arange(200) % 2
    data = F.normalize(torch.randn(200, 2))     # on two circles, which no line separates
    data = data * (1 + target.to(data.dtype)).unsqueeze(1)
    model = Network()
    losses = train(model, data, target, steps)
    model.eval()
    with torch.no_grad():
        accuracy = (model(data).argmax(dim=1) == target).float().mean().item()
    print(f"trained: loss {losses[0]:.3f} to {losses[-1]:.3f}, accuracy {accuracy:.3f}")

    for parameter in model.features.parameters():
        parameter.requires_grad = False
    before = [parameter.detach().clone() for parameter in model.parameters()]
    train(model, data, target, 1)
    moved = [bool((old != new).any()) for old, new in zip(before, model.parameters(), strict=True)]
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"frozen: {trained} of {sum(p.numel() for p in model.parameters())} parameters are trained; moved: {moved}")
    return losses, moved


def main(arguments=None):
    given = options(__doc__, arguments, steps=20)
    with torch.use_backend(given.backend):
        derivatives()
        vectors()
        detached()
        return networks(given.steps)


if __name__ == "__main__":
    main()
