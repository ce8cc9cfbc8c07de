"""Tables of vectors that are learned; see `nn.functional.embedding`."""

from typing import Any, ClassVar, Self

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import functional as F
from agrad.nn import init
from agrad.nn.functional.embedding import row_number
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter

USUAL = {"padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False, "mode": None}


class _Table(Module):
    """What both share: the table."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None,
        norm_type: float, scale_grad_by_freq: bool, sparse: bool, weight: Tensor | None, freeze: bool, device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if sparse:
            raise ValueError(f"{name}: sparse=True asks for sparse gradients, which agrad does not have; leave it out")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        shape = (num_embeddings, embedding_dim)
        if weight is not None and tuple(weight.shape) != shape:
            raise ValueError(
                f"{name}: Shape of weight does not match num_embeddings and embedding_dim: {tuple(weight.shape)} "
                f"instead of {shape}"
            )
        given = agrad.empty(shape, device=device, dtype=dtype) if weight is None else weight
        self.weight = Parameter(given, requires_grad=not freeze)
        self.padding_idx = row_number(name, padding_idx, self.weight)
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """New normally distributed rows; that of `padding_idx` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with agrad.no_grad():
                self.weight[self.padding_idx] = 0.0

    _said: ClassVar[tuple[str, ...]]    # what the text of the module says where it is not as usual

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self._said}
        said = [f"{name}={value!r}" for name, value in values.items() if value != USUAL[name]]
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *said])


class Embedding(_Table):
    """Rows of a table, looked up by number.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        How many rows, and how long they are.
    padding_idx : int, optional
        A row that is zero at first and gets no gradient.
    max_norm, norm_type : float, optional
        Rows that are looked up with a larger norm are scaled down to it first.
    scale_grad_by_freq : bool
        Divide a row's gradient by how often it was looked up.
    sparse : bool
        There are no sparse gradients here: only False.
    device, dtype : optional
        Of the table.

    Attributes
    ----------
    weight : Parameter
        (num_embeddings, embedding_dim), normally distributed.

    Raises
    ------
    IndexError
        When called with numbers that have no row.

    Examples
    --------
    >>> import agrad
    >>> table = agrad.nn.Embedding(10, 3)
    >>> table(agrad.tensor([[1, 2], [4, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None,
        _freeze: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            _freeze, device, dtype,
        )

    _said = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq")

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        )

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Self:
        """A table with given rows, which are not trained unless `freeze=False`.

        Raises
        ------
        ValueError
            If they are no matrix.

        Examples
        --------
        >>> import agrad
        >>> table = agrad.nn.Embedding.from_pretrained(agrad.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> table(agrad.tensor([1]))
        tensor([[3., 4.]])
        """
        rows, columns = _matrix("Embedding", embeddings)
        return cls(
            rows, columns, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings,
            _freeze=freeze,
        )


class EmbeddingBag(_Table):
    """The sum, mean or largest elements of the rows in each bag: `nn.functional.embedding_bag`.

    Parameters
    ----------
    mode : {"mean", "sum", "max"}
    include_last_offset : bool
        The last offset is the input's length, and begins no bag.
    num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, sparse, padding_idx, device, dtype
        As of `Embedding`.

    Examples
    --------
    >>> import agrad
    >>> bags = agrad.nn.EmbeddingBag(10, 3, mode="sum")
    >>> bags(agrad.tensor([1, 2, 4]), agrad.tensor([0, 2])).shape
    (2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None,
        include_last_offset: bool = False, padding_idx: int | None = None, device: Any = None, dtype: Any = None,
    ) -> None:
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            False, device, dtype,
        )
        self.mode, self.include_last_offset = mode, include_last_offset

    _said = ("max_norm", "norm_type", "scale_grad_by_freq", "mode", "padding_idx")

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            per_sample_weights=per_sample_weights, include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A table with given rows, which are not trained unless `freeze=False`; a ValueError if they are no matrix."""
        rows, columns = _matrix("EmbeddingBag", embeddings)
        made = cls(
            rows, columns, max_norm, norm_type, scale_grad_by_freq, mode, sparse, _weight=embeddings,
            include_last_offset=include_last_offset, padding_idx=padding_idx,
        )
        made.weight.requires_grad_(not freeze)
        return made


def _matrix(name: str, embeddings: Tensor) -> tuple[int, int]:
    if embeddings.ndim != 2:
        raise ValueError(
            f"{name}: Embeddings parameter is expected to be 2-dimensional, got shape {tuple(embeddings.shape)}"
        )
    rows, columns = embeddings.shape
    return rows, columns
