"""Transformer layers (Vaswani et al. 2017): attention and a small network, each added to its input and normalized.

`norm_first` normalizes what goes into a part, in place of the sum that comes out: Xiong et al. 2020.
"""

from collections.abc import Callable
from copy import deepcopy
from math import inf
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn import functional as F
from agrad.nn import init
from agrad.nn.attention import MultiheadAttention
from agrad.nn.containers import ModuleList
from agrad.nn.dropout import Dropout
from agrad.nn.linear import Linear
from agrad.nn.module import Module
from agrad.nn.normalization import LayerNorm

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "gelu": F.gelu}


def as_activation(given: str | Activation) -> Activation:
    """A function, or one of two by name."""
    if callable(given):
        return given
    if given not in ACTIVATIONS:
        raise RuntimeError(f"activation should be relu/gelu, not {given}")
    return ACTIVATIONS[given]


def clones(module: Module, count: int) -> ModuleList:
    """Copies that stand alone, and begin alike."""
    return ModuleList([deepcopy(module) for _ in range(count)])


class _Layer(Module):
    """What the two kinds of layers share: a part for each attention and one for the network, each with its dropout and
    norm, and how a part is added."""

    attentions: tuple[str, ...]
    dropout1: Dropout
    dropout2: Dropout
    norm1: LayerNorm
    norm2: LayerNorm

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        for name in self.attentions:
            setattr(self, name, MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **options))
        self.linear1 = Linear(d_model, dim_feedforward, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **options)
        self.norm_first = norm_first
        parts = range(1, len(self.attentions) + 2)
        for i in parts:
            setattr(self, f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, **options))
        for i in parts:
            setattr(self, f"dropout{i}", Dropout(dropout))
        self.activation = as_activation(activation)

    def _add(self, x: Tensor, part: Activation, norm: LayerNorm) -> Tensor:
        """The input and what a part makes of it."""
        if self.norm_first:
            return x + part(norm(x))
        return norm(x + part(x))  # type: ignore[no-any-return]

    def _network(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))  # type: ignore[no-any-return]


class TransformerEncoderLayer(_Layer):
    """Self-attention and a network of two linear layers, each added to its input, with dropout, and normalized.

    Parameters
    ----------
    d_model, nhead : int
        Number of features, and of heads of the attention.
    dim_feedforward : int
        Size of the network's inner layer.
    dropout : float
    activation : {"relu", "gelu"} or callable
    layer_norm_eps : float
    batch_first : bool
        Inputs have the shape (N, L, E) in place of (L, N, E).
    norm_first : bool
        Normalize before the parts in place of after the sums.
    bias : bool
        Of all layers.
    device, dtype : optional
        Of the parameters.

    Raises
    ------
    ValueError
        By a call, for shapes that do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16)
    >>> layer(agrad.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    attentions = ("self_attn",)
    self_attn: MultiheadAttention

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The sequence of the same shape; masks as `MultiheadAttention` takes them."""

        def attention(x: Tensor) -> Tensor:
            found = self.self_attn(
                x, x, x, attn_mask=src_mask, key_padding_mask=src_key_padding_mask, need_weights=False,
                is_causal=is_causal,
            )
            return self.dropout1(found[0])  # type: ignore[no-any-return]

        x = self._add(src, attention, self.norm1)
        return self._add(x, lambda x: self.dropout2(self._network(x)), self.norm2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's output and a network, each added to its input and normalized.

    The parameters are those of `TransformerEncoderLayer`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16)
    >>> layer(agrad.ones((4, 3, 8)), agrad.ones((5, 3, 8))).shape
    (4, 3, 8)
    """

    attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    dropout3: Dropout
    norm3: LayerNorm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence `tgt`, having seen `memory`; masks as `MultiheadAttention` takes them."""

        def itself(x: Tensor) -> Tensor:
            found = self.self_attn(
                x, x, x, attn_mask=tgt_mask, key_padding_mask=tgt_key_padding_mask, need_weights=False,
                is_causal=tgt_is_causal,
            )
            return self.dropout1(found[0])  # type: ignore[no-any-return]

        def other(x: Tensor) -> Tensor:
            found = self.multihead_attn(
                x, memory, memory, attn_mask=memory_mask, key_padding_mask=memory_key_padding_mask, need_weights=False,
                is_causal=memory_is_causal,
            )
            return self.dropout2(found[0])  # type: ignore[no-any-return]

        x = self._add(self._add(tgt, itself, self.norm1), other, self.norm2)
        return self._add(x, lambda x: self.dropout3(self._network(x)), self.norm3)


# -------------------------------------------------------------------------------------------------------------- stacks


class TransformerEncoder(Module):
    """Copies of a layer, one above the other.

    Parameters
    ----------
    encoder_layer : Module
        A `TransformerEncoderLayer`, or what is called like one.
    num_layers : int
    norm : Module, optional
        Applied to the last output.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 3)
    >>> encoder(agrad.ones((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The sequence of the same shape."""
        for layer in self.layers:
            src = layer(
                src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal)
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a layer, one above the other, all of which see the encoder's output.

    The parameters are those of `TransformerEncoder`.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 3)
    >>> decoder(agrad.ones((4, 3, 8)), agrad.ones((5, 3, 8))).shape
    (4, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence `tgt`, having seen `memory`."""
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder.

    Parameters
    ----------
    d_model, nhead : int
    num_encoder_layers, num_decoder_layers : int
    dim_feedforward, dropout, activation
        As in `TransformerEncoderLayer`, and so are the parameters behind the two custom ones.
    custom_encoder, custom_decoder : Module, optional
        Take the places of encoder and decoder.

    Raises
    ------
    ValueError
        By a call, for shapes that do not fit.

    Examples
    --------
    >>> import agrad
    >>> from agrad import nn
    >>> transformer = nn.Transformer(8, 2, 1, 1, 16)
    >>> mask = nn.Transformer.generate_square_subsequent_mask(4)
    >>> transformer(agrad.ones((5, 3, 8)), agrad.ones((4, 3, 8)), tgt_mask=mask).shape
    (4, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        layer = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first
        self.encoder = custom_encoder if custom_encoder is not None else TransformerEncoder(
            TransformerEncoderLayer(*layer, **options), num_encoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, **options),
        )
        self.decoder = custom_decoder if custom_decoder is not None else TransformerDecoder(
            TransformerDecoderLayer(*layer, **options), num_decoder_layers,
            LayerNorm(d_model, eps=layer_norm_eps, **options),
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A mask to add: -inf above the diagonal, where a position would see a later one; else 0.

        Examples
        --------
        >>> from agrad import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return agrad.triu(agrad.full((sz, sz), -inf, device=device, dtype=dtype), k=1)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's output for `tgt`, having seen the encoder's for `src`."""
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(  # type: ignore[no-any-return]
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
