"""Tools around differentiation: `checkpoint`, which computes again in the walk what the graph would have kept."""

from agrad.utils import checkpoint as checkpoint
