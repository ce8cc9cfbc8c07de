"""Pictures of graphs and of gradients: as SVG, text and Mermaid without any dependency, and through graphviz."""

from agrad.viz.gradients import GradientFlow, plot_gradients
from agrad.viz.module_calls import scopes
from agrad.viz.pictures import Graph, graph, make_dot

__all__ = ["GradientFlow", "Graph", "graph", "make_dot", "plot_gradients", "scopes"]
