"""Distances as modules; see `nn.functional.distance`."""

from agrad.nn import functional as F
from agrad.nn.function_module import FunctionModule


class _Distance(FunctionModule):
    def extra_repr(self) -> str:
        return ""


class CosineSimilarity(_Distance, function=F.cosine_similarity, inputs=2):
    """The cosine of the angle between vectors along an axis: `nn.functional.cosine_similarity`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.CosineSimilarity(dim=0)(agrad.tensor([1.0, 0.0]), agrad.tensor([1.0, 1.0]))
    tensor(0.7071)
    """


class PairwiseDistance(_Distance, function=F.pairwise_distance, inputs=2):
    """The p-norm of differences: `nn.functional.pairwise_distance`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.PairwiseDistance()(agrad.tensor([0.0, 0.0]), agrad.tensor([3.0, 4.0]))
    tensor(5.0000)
    """
