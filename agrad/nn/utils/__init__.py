"""Gradients clipped before a step of an optimizer, parameters as one vector, and weights computed from others."""

from agrad.nn.utils import parametrizations, parametrize, rnn
from agrad.nn.utils.clipping import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from agrad.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm", "parameters_to_vector",
    "parametrizations", "parametrize", "rnn", "vector_to_parameters",
]
