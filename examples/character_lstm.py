"""An LSTM learns to write the Zen of Python, letter by letter, from the text that `import this` prints.

The text is cut at random places into pieces; the network sees each letter, and is asked for the next one. Adam with
clipped gradients and a rate that falls along a cosine.

It prints the loss in bits per character, which falls from over 5 to under 0.3, and a text drawn from the network. It
takes about 6 s on NumPy.

    python examples/character_lstm.py [--backend torch] [--steps 400] [--seed 0]
"""

import codecs
import contextlib
import io
import math
import time
from typing import NamedTuple

from training import number, options

import agrad
from agrad import nn
from agrad.nn import functional as F

LENGTH, BATCH, HIDDEN, RATE = 48, 16, 96, 0.01


def zen():
    """The text that `import this` prints, which Python holds with its letters turned by 13."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    return codecs.decode(this.s, "rot13")


class Writer(nn.Module):
    def __init__(self, letters):
        super().__init__()
        self.embedding = nn.Embedding(letters, 32)
        self.lstm = nn.LSTM(32, HIDDEN)
        self.linear = nn.Linear(HIDDEN, letters)

    def forward(self, text, state=None):                            # (L, N), numbers of letters
        hidden, state = self.lstm(self.embedding(text), state)      # (L, N, HIDDEN)
        return self.linear(hidden), state                           # (L, N, letters)


class Report(NamedTuple):
    bits: list[float]       # per character, of each step
    sample: str


def train(model, text, steps):
    """Fit the model to pieces of the text; return the bits per character of each step."""
    optimizer = agrad.optim.Adam(model.parameters(), lr=RATE)
    schedule = agrad.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    along = agrad.unsqueeze(agrad.arange(LENGTH + 1), 1)
    bits, start = [], time.perf_counter()
    for step in range(1, steps + 1):
        pieces = text[agrad.randint(len(text) - LENGTH, (BATCH,)) + along]          # (LENGTH + 1, BATCH)
        optimizer.zero_grad()
        scores, _ = model(pieces[:-1])
        loss = F.cross_entropy(agrad.flatten(scores, 0, 1), agrad.flatten(pieces[1:]))
        bits.append(number(loss, step) / math.log(2))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step in (1, steps):
            print(f"step {step:4}  {bits[-1]:.3f} bits per character  {time.perf_counter() - start:5.1f} s", flush=True)
    return bits


@agrad.no_grad()
def write(model, alphabet, beginning, length):
    """Go on from a beginning: each letter is drawn with the probability that the network gives it."""
    text = beginning
    given, state = agrad.tensor([[alphabet.index(c)] for c in beginning]), None
    for _ in range(length):
        scores, state = model(given, state)
        given = agrad.multinomial(agrad.softmax(scores[-1], -1), 1)                 # (1, 1)
        text += alphabet[given.item()]
    return text


def main(arguments=None):
    given = options(__doc__, arguments, steps=400)
    with agrad.use_backend(given.backend):
        text = zen()
        alphabet = sorted(set(text))
        model = Writer(len(alphabet)).float()
        print(f"{len(text)} characters, {len(alphabet)} different ones")
        bits = train(model, agrad.tensor([alphabet.index(c) for c in text]), given.steps)
        sample = write(model, alphabet, "Beautiful", 200)
        print(f"---\n{sample}\n---")
        return Report(bits, sample)


if __name__ == "__main__":
    main()
