"""Losses as modules; what they compute stands in `nn.functional.losses` and `nn.functional.class_losses`."""

from collections.abc import Callable
from typing import Any

from agrad.cython_core.engine import Tensor
from agrad.nn import functional as F
from agrad.nn.distance import PairwiseDistance
from agrad.nn.function_module import FunctionModule
from agrad.nn.functional.reduction import word


class _Loss(FunctionModule):
    """What all share: PyTorch's two older words for `reduction` are heard once; weights are buffers."""

    reduction: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        older = vars(self).pop("size_average", None), vars(self).pop("reduce", None)
        if older != (None, None):
            self.reduction = word(self.reduction, *older)

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**{"inputs": 2, **keywords})
        if "function" in keywords:
            cls._passed = tuple(name for name in cls._passed if name not in ("size_average", "reduce"))

    def extra_repr(self) -> str:
        return ""


# -------------------------------------------------------------------------------------------------------------- classes


class CrossEntropyLoss(_Loss, function=F.cross_entropy):
    """Minus the logarithm of the right class's probability, from scores: `nn.functional.cross_entropy`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.CrossEntropyLoss()(agrad.zeros((2, 4)), agrad.tensor([0, 3]))
    tensor(1.3863)
    """


class NLLLoss(_Loss, function=F.nll_loss):
    """Minus the logarithm of the right class's probability, from logarithms: `nn.functional.nll_loss`."""


class CTCLoss(_Loss, function=F.ctc_loss, inputs=4):
    """Labels in order, at unknown times: `nn.functional.ctc_loss`."""


class MultiMarginLoss(_Loss, function=F.multi_margin_loss):
    """What the right class lacks to be above the others: `nn.functional.multi_margin_loss`."""


class MultiLabelMarginLoss(_Loss, function=F.multilabel_margin_loss):
    """What the right classes lack to be above the others: `nn.functional.multilabel_margin_loss`."""


class MultiLabelSoftMarginLoss(_Loss, function=F.multilabel_soft_margin_loss):
    """A yes or no for each class: `nn.functional.multilabel_soft_margin_loss`."""


# --------------------------------------------------------------------------------------------------- element by element


class MSELoss(_Loss, function=F.mse_loss, without=("weight",)):
    """The mean squared difference: `nn.functional.mse_loss`.

    Examples
    --------
    >>> import agrad
    >>> agrad.nn.MSELoss()(agrad.tensor([1.0, 2.0]), agrad.tensor([1.0, 4.0]))
    tensor(2.)
    """


class L1Loss(_Loss, function=F.l1_loss, without=("weight",)):
    """The mean absolute difference: `nn.functional.l1_loss`."""


class SmoothL1Loss(_Loss, function=F.smooth_l1_loss):
    """A square near zero, a line farther out: `nn.functional.smooth_l1_loss`."""


class HuberLoss(_Loss, function=F.huber_loss, without=("weight",)):
    """A square near zero, a line farther out: `nn.functional.huber_loss`."""


class BCELoss(_Loss, function=F.binary_cross_entropy):
    """Yes or no, from probabilities: `nn.functional.binary_cross_entropy`."""


class BCEWithLogitsLoss(_Loss, function=F.binary_cross_entropy_with_logits):
    """Yes or no, from scores: `nn.functional.binary_cross_entropy_with_logits`."""


class KLDivLoss(_Loss, function=F.kl_div):
    """The divergence of distributions: `nn.functional.kl_div`."""


class PoissonNLLLoss(_Loss, function=F.poisson_nll_loss):
    """The likelihood of counts: `nn.functional.poisson_nll_loss`."""


class GaussianNLLLoss(_Loss, function=F.gaussian_nll_loss, inputs=3):
    """The likelihood of normal numbers: `nn.functional.gaussian_nll_loss`."""


class HingeEmbeddingLoss(_Loss, function=F.hinge_embedding_loss):
    """Distances of what is alike and what is not: `nn.functional.hinge_embedding_loss`."""


class SoftMarginLoss(_Loss, function=F.soft_margin_loss):
    """Signs, from scores: `nn.functional.soft_margin_loss`."""


# ---------------------------------------------------------------------------------------------------- pairs and triples


class MarginRankingLoss(_Loss, function=F.margin_ranking_loss, inputs=3):
    """Which of two is larger: `nn.functional.margin_ranking_loss`."""


class CosineEmbeddingLoss(_Loss, function=F.cosine_embedding_loss, inputs=3):
    """Angles of what is alike and what is not: `nn.functional.cosine_embedding_loss`."""


class TripletMarginLoss(_Loss, function=F.triplet_margin_loss, inputs=3):
    """Closer to the positive than to the negative: `nn.functional.triplet_margin_loss`."""


class TripletMarginWithDistanceLoss(_Loss, function=F.triplet_margin_with_distance_loss, inputs=3):
    """`TripletMarginLoss` with a distance of one's own: `nn.functional.triplet_margin_with_distance_loss`."""

    distance_function: Callable[[Tensor, Tensor], Tensor] | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.distance_function is None:
            self.distance_function = PairwiseDistance()
