"""A convolutional network learns to read handwritten digits: scikit-learn's 1797 images of 8x8, 360 of them held back.

Two convolutions with batch normalisation, max pooling and dropout; Adam, whose rate rises and falls once. The weights
are saved as safetensors and loaded into a second network, which is the one that is tested.

It prints the loss as it falls, and the accuracy on the held-back images: about 0.99. It takes about 4 s on NumPy.

    python examples/digits_convnet.py [--backend torch] [--epochs 30] [--seed 0]
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sklearn.datasets import load_digits
from training import batches, number, options

import agrad
from agrad import nn
from agrad.nn import functional as F

BATCH, HELD_BACK, RATE = 64, 360, 0.01


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.3)
        self.linear = nn.Linear(32 * 2 * 2, 10)

    def forward(self, images):                                                      # (N, 1, 8, 8)
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(images))), 2)                 # (N, 16, 4, 4)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)                      # (N, 32, 2, 2)
        return self.linear(self.dropout(agrad.flatten(x, 1)))                       # (N, 10)


class Report(NamedTuple):
    losses: list[float]     # of each epoch, the mean
    accuracy: float         # on images that training never saw
    path: Path              # of the weights


def data():
    """Images and labels to learn from, and others to test with."""
    pixels, digits = load_digits(return_X_y=True)
    images = agrad.tensor(pixels.reshape(-1, 1, 8, 8) / 16, dtype=agrad.float32)
    labels = agrad.tensor(digits)
    order = agrad.randperm(len(digits))
    test, training = order[:HELD_BACK], order[HELD_BACK:]
    return images[training], labels[training], images[test], labels[test]


def train(model, images, labels, epochs):
    """Fit the model; return the mean loss of each epoch."""
    steps = epochs * (len(labels) // BATCH)
    optimizer = agrad.optim.Adam(model.parameters(), lr=RATE)
    schedule = agrad.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    losses, step, start = [], 0, time.perf_counter()
    model.train()
    for epoch in range(1, epochs + 1):
        found = []
        for batch in batches(len(labels), BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            found.append(number(loss, step := step + 1))
            loss.backward()
            optimizer.step()
            schedule.step()
        losses.append(sum(found) / len(found))
        if epoch % 5 == 0 or epoch == epochs:
            print(f"epoch {epoch:3}  loss {losses[-1]:.4f}  {time.perf_counter() - start:5.1f} s", flush=True)
    return losses


def accuracy(model, images, labels):
    """The share of images whose highest score is that of the right digit."""
    model.eval()
    with agrad.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def run(epochs, folder):
    images, labels, test_images, test_labels = data()
    model = Network().float()
    print(model)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(labels)} images")
    losses = train(model, images, labels, epochs)

    path = Path(folder, "digits.safetensors")
    agrad.save(model.state_dict(), path)
    again = Network().float()
    again.load_state_dict(agrad.load(path))
    found = accuracy(again, test_images, test_labels)
    print(f"test accuracy {found:.4f}, with the weights of {path.name} ({path.stat().st_size} bytes)")
    return Report(losses, found, path)


def main(arguments=None):
    given = options(__doc__, arguments, epochs=30)
    with agrad.use_backend(given.backend), tempfile.TemporaryDirectory() as folder:
        return run(given.epochs, folder)


if __name__ == "__main__":
    main()
