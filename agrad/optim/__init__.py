"""Optimizers with PyTorch's names, arguments, defaults and results; `lr_scheduler` changes their learning rates."""

from agrad.optim import lr_scheduler
from agrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from agrad.optim.lbfgs import LBFGS
from agrad.optim.optimizer import Optimizer
from agrad.optim.scaled import Adadelta, Adagrad, RMSprop
from agrad.optim.sgd import SGD

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
    "lr_scheduler",
]
