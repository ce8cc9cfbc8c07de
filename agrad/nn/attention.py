"""`MultiheadAttention`: its parameters and which axis is the batch. The mathematics is in
`agrad.nn.functional.attention`."""

from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import init
from agrad.nn.functional.attention import multi_head_attention_forward
from agrad.nn.linear import Linear
from agrad.nn.module import Module
from agrad.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention of several heads, each on its part of projected queries, keys and values; Vaswani et al. 2017.

    Parameters
    ----------
    embed_dim : int
        Size of queries and outputs.
    num_heads : int
        Divides `embed_dim`.
    dropout : float
        In training, the probability that a weight becomes zero.
    bias : bool
        Of all projections.
    add_bias_kv : bool
        A learned key and value behind those of the sequence.
    add_zero_attn : bool
        A key and value of zeros behind them.
    kdim, vdim : int, optional
        Sizes of keys and values; default `embed_dim`.
    batch_first : bool
        Inputs and output have the shape (N, L, E) in place of (L, N, E).
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    ValueError
        By the constructor for sizes that do not fit, by a call for shapes that do not.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = agrad.ones((3, 5, 8))
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim must be divisible by num_heads, got embed_dim={embed_dim} and num_heads={num_heads}"
            )
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self._qkv_same_embed_dim = self.kdim == embed_dim == self.vdim
        shapes: dict[str, tuple[int, ...] | None] = dict.fromkeys(("q_proj_weight", "k_proj_weight", "v_proj_weight"))
        if self._qkv_same_embed_dim:
            shapes = {"in_proj_weight": (3 * embed_dim, embed_dim), **shapes}
        else:
            columns = embed_dim, self.kdim, self.vdim
            shapes = {name: (embed_dim, n) for name, n in zip(shapes, columns, strict=True)} | {"in_proj_weight": None}
        shapes["in_proj_bias"] = (3 * embed_dim,) if bias else None
        self._make(shapes, device, dtype)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self._make(dict.fromkeys(("bias_k", "bias_v"), (1, 1, embed_dim) if add_bias_kv else None), device, dtype)
        self._reset_parameters()

    def _make(self, shapes: dict[str, tuple[int, ...] | None], device: Any, dtype: Any) -> None:
        """Parameters of these shapes, None for those that there are not."""
        for name, shape in shapes.items():
            empty = None if shape is None else Parameter(agrad.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, empty)

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention and its weights.

        Parameters
        ----------
        query, key, value : Tensor
            Shapes (L, N, embed_dim), (S, N, kdim) and (S, N, vdim); with `batch_first` N comes first; or all without N.
        key_padding_mask : Tensor, optional
            (N, S) or (S,). A boolean one is True for keys that nobody sees; a floating one is added to the scores.
        need_weights : bool
            Whether weights are returned. A query that may look nowhere has nan then, and zeros otherwise.
        attn_mask : Tensor, optional
            (L, S) or (N * num_heads, L, S), True where a query may not look; a floating one is added to the scores.
        average_attn_weights : bool
            Return the mean over the heads.
        is_causal : bool
            A hint that `attn_mask` is causal; the mask decides.

        Returns
        -------
        output : Tensor
            As the query.
        weights : Tensor or None
            (N, L, S), or for each head (N, num_heads, L, S); or all without N.
        """
        swaps = self.batch_first and query.ndim == 3
        if swaps:
            query, key, value = _swapped(query, key, value)
        output, weights = multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias,
            training=self.training, key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim, q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight, v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )
        return agrad.permute_dims(output, (1, 0, 2)) if swaps else output, weights


def _swapped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with the sequence first; what was one tensor stays one."""
    done: dict[int, Tensor] = {}
    q, k, v = (
        done.setdefault(id(x), agrad.permute_dims(x, (1, 0, 2)) if x.ndim == 3 and id(x) not in done else x)
        for x in (query, key, value)
    )
    return q, k, v
