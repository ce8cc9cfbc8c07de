"""Learning rates that change while a model trains; names, arguments and sequences are PyTorch's.

A scheduler is made after its optimizer and stepped after it. Where it can, it multiplies the present learning rates, so
that several schedulers of one optimizer work together. Must know no algorithm, only parameter groups.

Examples
--------
>>> import agrad
>>> w = agrad.tensor([1.0], requires_grad=True)
>>> optimizer = agrad.optim.SGD([w], lr=0.5)
>>> scheduler = agrad.optim.lr_scheduler.StepLR(optimizer, step_size=2)
>>> for _ in range(4):
...     optimizer.step()
...     scheduler.step()
...     print(scheduler.get_last_lr())
[0.5]
[0.05]
[0.05]
[0.005...]
"""

from agrad.optim.lr_scheduler.composite import ChainedScheduler, SequentialLR
from agrad.optim.lr_scheduler.curves import CosineAnnealingLR, CosineAnnealingWarmRestarts, LinearLR, PolynomialLR
from agrad.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from agrad.optim.lr_scheduler.plateau import ReduceLROnPlateau
from agrad.optim.lr_scheduler.schedule import LRScheduler
from agrad.optim.lr_scheduler.steps import ConstantLR, ExponentialLR, LambdaLR, MultiplicativeLR, MultiStepLR, StepLR

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]
