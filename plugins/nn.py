"""Rules of the prefix `nn`: what networks need and no chapter of the standard has. Its parts are the modules `nn_*`.
Must not know any array library."""

from agrad.plugins import nn_convolution, nn_linear, nn_losses, nn_normalization, nn_pooling, nn_recurrent
from agrad.rules import RuleSet

rules = RuleSet("nn")
for part in (nn_convolution, nn_linear, nn_losses, nn_normalization, nn_pooling, nn_recurrent):
    part.declare(rules)
