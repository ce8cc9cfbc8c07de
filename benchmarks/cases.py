"""The cases of overhead.py: programs, competitors, limits. One row of CASES is one row of its table.

Knows no array library but NumPy: the others are handed in. agrad and torch run literally the same program.
"""

from dataclasses import dataclass, field

import hand
import numpy as np


@dataclass(frozen=True)
class Chain:
    """`y = y*w + x` from a constant start: x is tracked, w only where `kept`, because that makes every y be saved."""

    key: str
    title: str
    shape: tuple = (4,)
    steps: int = 1000
    kept: bool = False
    x_shape: tuple | None = None
    by_hand: object = None  # by default hand.chain, or hand.chain_kept where `kept`
    against: tuple = ("torch", "HIPS", "hand")
    limits: dict = field(default_factory=dict)

    @property
    def ops(self):
        return 2 * self.steps

    def programs(self, modules):
        # w is so close to 1 that neither values nor gradients overflow or become denormal, however deep the chain
        draw = np.random.default_rng(0).uniform
        start = draw(0.5, 1.5, self.shape)
        w = draw(0.999, 1.0, self.shape)
        x = draw(0.5, 1.5, self.shape if self.x_shape is None else self.x_shape)
        start, w, x = map(np.asarray, (start, w, x))
        by_hand = self.by_hand or (hand.chain_kept if self.kept else hand.chain)
        made = {"hand": lambda: by_hand(start, w, x, self.steps)}
        for name in ("agrad", "torch"):
            if name in modules:
                made[name] = self.with_tensors(modules[name], start, w, x)
        if "HIPS" in modules:
            made["HIPS"] = self.with_hips(modules["HIPS"], start, w, x)
        return made

    def with_tensors(self, library, start, w, x):
        steps, gradient = self.steps, library.tensor(np.ones_like(start))
        start, w, x = library.tensor(start), library.tensor(w), library.tensor(x)
        leaves = [x, w] if self.kept else [x]
        for leaf in leaves:
            leaf.requires_grad = True

        def program():
            for leaf in leaves:
                leaf.grad = None
            y = start
            for _ in range(steps):
                y = y * w + x
            y.backward(gradient)
            return [leaf.grad for leaf in leaves]

        return program

    def with_hips(self, library, start, w, x):
        steps, gradient = self.steps, np.ones_like(start)

        def chain(x, w):
            y = start
            for _ in range(steps):
                y = y * w + x
            return y

        vjp_maker = library.make_vjp(chain, argnum=(0, 1) if self.kept else (0,))

        def program():
            vjp, _ = vjp_maker(x, w)
            return vjp(gradient)

        return program


@dataclass(frozen=True)
class Reads:
    """`s = s + x[i]*x[i]` over all i: two reads, a product and a sum each; a read's gradient is nearly all zero."""

    key: str
    title: str
    steps: int
    grows_from: str = ""  # key of a shorter case: "growth" is the time per op over that one's
    against: tuple = ("torch",)
    limits: dict = field(default_factory=dict)

    @property
    def ops(self):
        return 4 * self.steps

    def programs(self, modules):
        x = np.random.default_rng(0).uniform(0.5, 1.5, self.steps)
        made = {"hand": lambda: (2 * x,)}  # compared with, not timed
        return made | {n: self.with_tensors(modules[n], x) for n in ("agrad", "torch") if n in modules}

    def with_tensors(self, library, x):
        steps, x = self.steps, library.tensor(x, requires_grad=True)

        def program():
            x.grad = None
            s = 0.0
            for i in range(steps):
                s = s + x[i] * x[i]
            s.backward()
            return [x.grad]

        return program


@dataclass(frozen=True)
class Million:
    """One million nodes, agrad alone, in a process of its own."""

    key: str
    title: str
    kept: bool
    limits: dict


FOUR = {"torch": 0.16, "hand": 1.2, "HIPS": 0.05}
ZERO_D = {"torch": 0.08}
SQUARE = {"hand": 1.15}
DEEP = {"torch": 0.2}
BYTES = {"bytes": 300}

CASES = (
    Chain("4", "4 elements", limits=FOUR),
    Chain("4-kept", "4 elements, w tracked", kept=True, limits=FOUR),
    Chain("0d", "0-d", (), limits=ZERO_D),
    Chain("0d-kept", "0-d, w tracked", (), kept=True, limits=ZERO_D),
    Chain("0d-scalars", "0-d, hand: NumPy scalars", (), by_hand=hand.scalars, against=("hand",)),
    Chain("32x32", "32x32", (32, 32), limits=SQUARE),
    Chain("32x32-kept", "32x32, w tracked", (32, 32), kept=True, limits=SQUARE),
    Chain("32x32-in-place", "32x32, hand: all in place", (32, 32), by_hand=hand.chain_in_place, against=("hand",)),
    Chain("200x200-kept", "200x200, w tracked, 400 steps", (200, 200), 400, kept=True),
    Chain("bias", "bias (64, 256) + (256,)", (64, 256), x_shape=(256,), by_hand=hand.bias, limits={"hand": 1.1}),
    Chain("deep", "100 000 nodes deep", steps=50_000, against=("torch",), limits=DEEP),
    Chain("deep-kept", "100 000 nodes deep, w tracked", steps=50_000, kept=True, against=("torch",), limits=DEEP),
    Reads("reads-2000", "2000 times x[i]*x[i]", 2000, limits={"torch": 0.1}),
    Reads("reads-8000", "8000 times x[i]*x[i]", 8000, grows_from="reads-2000", limits={"growth": 1.5}),
    Million("million", "1 000 000 nodes deep", False, limits=BYTES),
    Million("million-kept", "1 000 000 nodes, w tracked", True, limits=BYTES),
)
