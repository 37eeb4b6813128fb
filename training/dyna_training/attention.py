"""Causal attention in blocks of queries, for training on a CPU.

PyTorch's fused attention on the CPU works through the whole square even where a mask hides half of it, and
its backward pass is slow in bfloat16. Here a block of queries meets only the keys that one of them may see:
not those after it, of other examples in the row, or in branches that are not its own. Which keys these are
is worked out once for a row, by `plan`, and not in every layer. On a GPU the fused kernels win; there the
recipes leave the model's own attention alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import torch
from transformers import AttentionInterface

NAME: Final = "dyna_blockwise"
BLOCK = 128
"""Queries in a block. Shorter blocks waste fewer products above the diagonal, longer ones have fewer calls."""


class Block(NamedTuple):
    """Queries that are answered together.

    Attributes:
        start: First query.
        end: One past the last query.
        keys: Positions of the keys that at least one of the queries may see, as a slice or as indices.
        bias: [queries, n], 0 or -inf, to be added to the scores of the *last* n keys; every query may see the
            others.
    """

    start: int
    end: int
    keys: slice | torch.Tensor
    bias: torch.Tensor


def plan(
    branch: torch.Tensor, document: torch.Tensor, dtype: torch.dtype, size: int | None = None
) -> list[Block]:
    """Divide a row into blocks.

    Args:
        branch: [1, T]; 0 is the trunk. A branch sees itself and the trunk before it, and nothing else sees it.
        document: [1, T]; number of the example, in ascending order. Examples do not see each other.
        dtype: Of the biases; that of queries and keys.
        size: Most queries in a block; default `BLOCK`.
    """
    size = size or BLOCK
    branches, documents = branch[0], document[0]
    infinity = torch.tensor(float("-inf"), dtype=dtype)
    triangle = torch.zeros(size, size, dtype=dtype).masked_fill_(
        ~torch.ones(size, size).tril().bool(), infinity
    )
    _, lengths = torch.unique_consecutive(documents, return_counts=True)
    blocks = []
    first = 0
    for length in lengths.tolist():
        last = first + length
        for start in range(first, last, size):
            end = min(start + size, last)
            theirs, own = branches[first:end], branches[start:end]
            if not bool(theirs.any()):
                blocks.append(Block(start, end, slice(first, end), triangle[: end - start, : end - start]))
                continue
            visible = (theirs[None, :] == 0) | (own[:, None] == theirs[None, :])
            visible &= torch.arange(first, end)[None, :] <= torch.arange(start, end)[:, None]
            seen = visible.any(0).nonzero(as_tuple=True)[0]
            bias = torch.zeros(end - start, len(seen), dtype=dtype).masked_fill_(~visible[:, seen], infinity)
            blocks.append(
                Block(start, end, slice(first, end) if len(seen) == end - first else seen + first, bias)
            )
        first = last
    return blocks


class _Blockwise(torch.autograd.Function):
    """Attention of grouped queries [B, key heads, groups, T, d] to keys and values [B, key heads, T, d]."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocks: Sequence[Block]
    ) -> torch.Tensor:
        output = torch.empty_like(query)
        kept = []
        for block in blocks:
            theirs, count = _together(query, block)
            keys, values = _rows(key, block), _rows(value, block)
            scores = (theirs @ keys.transpose(1, 2)).view(len(theirs), -1, count, keys.shape[1])
            scores[..., keys.shape[1] - block.bias.shape[1] :] += block.bias
            weights = scores.softmax(-1).view(len(theirs), -1, keys.shape[1])
            output[:, :, :, block.start : block.end] = (weights @ values).view(
                *query.shape[:3], count, query.shape[-1]
            )
            kept.append(weights)
        ctx.blocks = blocks
        ctx.save_for_backward(query, key, value, *kept)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        query, key, value, *kept = ctx.saved_tensors
        to_query = torch.empty_like(query)
        # Keys are met by several blocks: their gradients are sums, which bfloat16 would round at each step.
        to_key, to_value = (torch.zeros_like(t, dtype=torch.float32) for t in (key, value))
        for block, weights in zip(ctx.blocks, kept, strict=True):
            theirs, count = _together(query, block)
            above, _ = _together(gradient, block)
            keys, values = _rows(key, block), _rows(value, block)
            to_scores = torch.ops.aten._softmax_backward_data(
                above @ values.transpose(1, 2), weights, -1, weights.dtype
            )
            to_query[:, :, :, block.start : block.end] = (to_scores @ keys).view(
                *query.shape[:3], count, query.shape[-1]
            )
            _add(to_key, block, to_scores.transpose(1, 2) @ theirs)
            _add(to_value, block, weights.transpose(1, 2) @ above)
        return to_query, to_key.to(key.dtype), to_value.to(value.dtype), None


def _together(query: torch.Tensor, block: Block) -> tuple[torch.Tensor, int]:
    """Return a block's queries as [B * key heads, groups * queries, d], and how many there are."""
    part = query[:, :, :, block.start : block.end]
    return part.reshape(query.shape[0] * query.shape[1], -1, query.shape[-1]), part.shape[3]


def _rows(key: torch.Tensor, block: Block) -> torch.Tensor:
    """Return a block's keys as [B * key heads, keys, d]."""
    part = key[:, :, block.keys]
    return part.reshape(-1, *part.shape[2:])


def _add(total: torch.Tensor, block: Block, part: torch.Tensor) -> None:
    total[:, :, block.keys] += part.view(*total.shape[:2], *part.shape[1:])


def blockwise_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    blocks: Sequence[Block] | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally.

    Args:
        module: The attention module (unused; part of the interface).
        query: [B, heads, T, d].
        key: [B, key heads, T, d]; each serves ``heads / key heads`` query heads.
        value: Like ``key``.
        attention_mask: Must be None; ``blocks`` says who sees whom.
        scaling: Factor on the scores; default ``d ** -0.5``.
        blocks: From `plan`, given to the model's ``forward``; None means plain causal.

    Returns:
        [B, T, heads, d], and no weights.

    Raises:
        ValueError: There is an attention mask.
    """
    if attention_mask is not None:
        raise ValueError(
            f"{NAME} takes no attention mask: give the model's forward blocks=plan(branch, document)"
        )
    batch, heads, length, width = query.shape
    if blocks is None:
        row = torch.zeros(1, length, dtype=torch.long)
        blocks = plan(row, row, query.dtype)
    scale = width**-0.5 if scaling is None else scaling
    grouped = (query * scale).view(batch, key.shape[1], heads // key.shape[1], length, width)
    output = _Blockwise.apply(grouped, key, value, blocks)  # type: ignore[no-untyped-call]
    return output.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the attention known to transformers and return its name."""
    AttentionInterface.register(NAME, blockwise_attention)
    return NAME
