"""Attention as functions: the scaled product of queries, keys and values, and several heads of it.

Vaswani et al. 2017: softmax(Q K^T / sqrt(E) + mask) V. A mask is added to the scores, -inf for what may not be seen.
Must not know any module.
"""

from math import inf, nan, sqrt
from typing import Any

import agrad
from agrad.cython_core.engine import Tensor
from agrad.nn.functional.dropout import dropout
from agrad.nn.functional.linear import linear


def _as_addend(forbidden: Tensor | None, like: Tensor, title: str) -> Tensor | None:
    """A mask as what is added to the scores: of a boolean one -inf where it is True."""
    if forbidden is None or forbidden.is_floating_point():
        return forbidden
    if forbidden.dtype != agrad.bool:
        raise TypeError(f"{title} is boolean or floating, not {forbidden.dtype}")
    xp = like.__array_namespace__()
    return xp.where(forbidden, xp.asarray(-inf, dtype=like.dtype), xp.asarray(0.0, dtype=like.dtype))  # type: ignore[no-any-return]


def _sum_of_masks(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _usual_scale(query: Tensor) -> float:
    """Scores of random vectors have as much variance then as their elements; without elements all are zero."""
    return 1.0 / sqrt(query.shape[-1] or 1)


def _scores(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    found = (query * scale) @ key.mT
    return found if mask is None else found + mask


def _weights(scores: Tensor, mask: Tensor | None, blind: float) -> Tensor:
    """Softmax along the last axis; where a mask leaves a query nothing to see, all its weights are `blind`."""
    xp = scores.__array_namespace__()
    if mask is None:
        return xp.softmax(scores, axis=-1)  # type: ignore[no-any-return]
    nothing = xp.all(scores == -inf, axis=-1, keepdims=True)
    return xp.where(nothing, blind, xp.softmax(xp.where(nothing, 0.0, scores), axis=-1))  # type: ignore[no-any-return]


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:
    """For each query the mean of all values, weighted by how well their keys fit: softmax(Q K^T scale + mask) V.

    Parameters
    ----------
    query : Tensor
        (..., L, E)
    key : Tensor
        (..., S, E)
    value : Tensor
        (..., S, E_v)
    attn_mask : Tensor, optional
        Broadcasts to (..., L, S). A boolean one is True where a query may look; a floating one is added to the scores.
    dropout_p : float
        Probability that a weight becomes zero, in evaluation too.
    is_causal : bool
        Query i sees the keys up to i only. Not together with a mask.
    scale : float, optional
        Default: 1 / sqrt(E).
    enable_gqa : bool
        Several heads of the query, third axis from behind, share one of key and value.

    Returns
    -------
    Tensor
        (..., L, E_v); zeros for a query that may look nowhere.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a mask is given with `is_causal`.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> q = k = agrad.zeros((2, 4))
    >>> F.scaled_dot_product_attention(q, k, agrad.tensor([[1.0], [3.0]]), is_causal=True)
    tensor([[1.],
            [2.]])
    """
    _check_shapes(query, key, value, enable_gqa)
    if enable_gqa:
        key, value = (agrad.repeat(x, query.shape[-3] // x.shape[-3], axis=-3) for x in (key, value))
    if is_causal and attn_mask is not None:
        raise ValueError("scaled_dot_product_attention: expected attn_mask or is_causal=True, got both")
    if is_causal:
        attn_mask = _causal(query, key)
    if attn_mask is not None and attn_mask.dtype == agrad.bool:
        attn_mask = agrad.logical_not(attn_mask)
    mask = _as_addend(attn_mask, query, "scaled_dot_product_attention: attn_mask")
    scores = _scores(query, key, _usual_scale(query) if scale is None else scale, mask)
    weights = _weights(scores, mask, 0.0)
    return dropout(weights, dropout_p) @ value if dropout_p else weights @ value


def _causal(query: Tensor, key: Tensor) -> Tensor:
    """True where a key is not behind its query."""
    xp = query.__array_namespace__()
    return xp.expand_dims(xp.arange(query.shape[-2]), axis=1) >= xp.arange(key.shape[-2])  # type: ignore[no-any-return]


def _check_shapes(query: Tensor, key: Tensor, value: Tensor, shares_heads: bool) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    given = "query, key and value of shapes {}, {} and {}".format(*shapes)
    if any(len(shape) < 2 for shape in shapes):
        raise ValueError(f"scaled_dot_product_attention: expected at least two axes each, got {given}")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            "scaled_dot_product_attention: expected query (..., L, E), key (..., S, E) and value (..., S, E_v), got "
            + given
        )
    if shares_heads and any(len(s) < 3 or not s[-3] or shapes[0][-3] % s[-3] for s in shapes):
        raise ValueError(
            "scaled_dot_product_attention: with enable_gqa the heads of the query, third axis from behind, are a "
            f"multiple of those of key and value, got {given}"
        )


# -------------------------------------------------------------------------------------------------------- several heads


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `agrad.nn.MultiheadAttention` computes, which documents the parameters.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    RuntimeError
        For the hint `is_causal` without a mask.

    Examples
    --------
    >>> import agrad
    >>> from agrad.nn import functional as F
    >>> x, w = agrad.ones((3, 2, 4)), agrad.ones((4, 4))
    >>> output, weights = F.multi_head_attention_forward(
    ...     x, x, x, 4, 2, agrad.ones((12, 4)), None, None, None, False, 0.0, w, None
    ... )
    >>> output.shape, weights.shape
    ((3, 2, 4), (2, 3, 3))
    """
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    _check_inputs(query, key, value, embed_dim_to_check, use_separate_proj_weight)
    has_batch = query.ndim == 3
    if not has_batch:
        query, key, value = _with_batch(query, key, value)
        key_padding_mask = None if key_padding_mask is None else agrad.expand_dims(key_padding_mask, axis=0)
    steps, batch, features = query.shape
    mask = _whole_mask(key_padding_mask, attn_mask, query, (batch, num_heads, steps, key.shape[0]))
    if use_separate_proj_weight:
        weights = q_proj_weight, k_proj_weight, v_proj_weight
        q, k, v = _projected(query, key, value, weights, in_proj_bias)
    else:
        q, k, v = _projected_together(query, key, value, in_proj_weight, in_proj_bias)
    q, k, v = (agrad.reshape(x, (*x.shape[:2], num_heads, features // num_heads)) for x in (q, k, v))
    for extra in _further_keys(bias_k, bias_v, add_zero_attn, k):
        k, v = (agrad.concat([x, part], axis=0) for x, part in zip((k, v), extra, strict=True))
        mask = mask if mask is None else agrad.pad(mask, ((0, 0),) * (mask.ndim - 1) + ((0, 1),))
    q, k, v = (agrad.permute_dims(x, (1, 2, 0, 3)) for x in (q, k, v))
    attention, found = _attend(q, k, v, mask, dropout_p if training else 0.0, need_weights)
    joined = agrad.reshape(agrad.permute_dims(attention, (2, 0, 1, 3)), (steps, batch, features))
    output = linear(joined, out_proj_weight, out_proj_bias)
    if found is not None and average_attn_weights:
        found = agrad.mean(found, axis=1)
    if has_batch:
        return output, found
    return agrad.squeeze(output, axis=1), None if found is None else agrad.squeeze(found, axis=0)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Attention of all heads, and its weights if they are wanted: then nan for a query that may look nowhere."""
    if not need_weights:
        return scaled_dot_product_attention(q, k, v, mask, dropout_p), None
    weights = _weights(_scores(q, k, _usual_scale(q), mask), mask, nan)
    weights = dropout(weights, dropout_p) if dropout_p else weights
    return weights @ v, weights


def _with_batch(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs with a batch of one; what was one tensor stays one."""
    q = agrad.expand_dims(query, axis=1)
    k = q if key is query else agrad.expand_dims(key, axis=1)
    return q, k, k if value is key else agrad.expand_dims(value, axis=1)


def _projected_together(
    query: Tensor, key: Tensor, value: Tensor, weight: Any, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The three weights stand one below the other; where the inputs are one tensor, so do the products."""
    features = query.shape[-1]
    if query is key is value:
        both = linear(query, weight, bias)
        return both[..., :features], both[..., features : 2 * features], both[..., 2 * features :]
    weights = weight[:features], weight[features : 2 * features], weight[2 * features :]
    return _projected(query, key, value, weights, bias)


def _projected(
    query: Tensor, key: Tensor, value: Tensor, weights: tuple[Any, Any, Any], bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    features = query.shape[-1]
    biases = [None if bias is None else bias[i * features : (i + 1) * features] for i in range(3)]
    q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    return q, k, v


def _further_keys(
    bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, k: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a key and a value that all queries see, behind those of the sequence."""
    shape = (1, *k.shape[1:])
    found = []
    if bias_k is not None and bias_v is not None:
        heads = [agrad.reshape(x, (1, 1, *shape[2:])) for x in (bias_k, bias_v)]
        found.append((agrad.broadcast_to(heads[0], shape), agrad.broadcast_to(heads[1], shape)))
    if add_zero_attn:
        zero = k.__array_namespace__().zeros(shape, dtype=k.dtype)
        found.append((zero, zero))
    return found


def _whole_mask(
    padding: Tensor | None, mask: Tensor | None, query: Tensor, shape: tuple[int, int, int, int]
) -> Tensor | None:
    """Both masks as one addend that broadcasts to the scores of all heads."""
    batch, heads, steps, keys = shape
    if mask is not None:
        if tuple(mask.shape) == (batch * heads, steps, keys):
            mask = agrad.reshape(mask, shape)
        elif tuple(mask.shape) != (steps, keys):
            raise ValueError(
                f"MultiheadAttention: expected attn_mask of shape {(steps, keys)} or {(batch * heads, steps, keys)}, "
                f"got {tuple(mask.shape)}"
            )
    if padding is not None:
        if tuple(padding.shape) != (batch, keys):
            raise ValueError(
                f"MultiheadAttention: expected key_padding_mask of shape {(batch, keys)}, or {(keys,)} without a "
                f"batch, got {tuple(padding.shape)}"
            )
        padding = agrad.reshape(padding, (batch, 1, 1, keys))
    return _sum_of_masks(
        _as_addend(mask, query, "MultiheadAttention: attn_mask"),
        _as_addend(padding, query, "MultiheadAttention: key_padding_mask"),
    )


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, features: int, separate: bool) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    lead = {len(shape) for shape in shapes}
    fits = lead in ({2}, {3}) and shapes[0][-1] == features and shapes[1][:-1] == shapes[2][:-1]
    fits = fits and shapes[0][1:-1] == shapes[1][1:-1] and (separate or shapes[1][-1] == features == shapes[2][-1])
    if not fits:
        own = ("kdim", "vdim") if separate else (features, features)
        raise ValueError(
            f"MultiheadAttention: expected query (L, N, {features}), key (S, N, {own[0]}) and value (S, N, {own[1]}), "
            "with batch_first N first, or all three without N, got shapes {}, {} and {}".format(*shapes)
        )
