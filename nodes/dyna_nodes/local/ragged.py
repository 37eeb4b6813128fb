"""Ragged batching: one forward for tokens of many requests, without padding and with the prefix read once.

All new tokens of all requests of a forward lie in one row ``[1, tokens]`` with explicit positions.
Projections, norms and MLPs don't care which token belongs to whom. Attention does: it writes the new keys and
values into the *arena*, where each request has a row of slots, and then runs once per request over the slots
of that request alone. The branches of a request append to the same row of slots after the shared prefix, and
a mask hides them from each other, so that n candidates read the prefix once, as n queries, instead of n
times.

The attention function is registered with transformers under the name `ATTENTION`, so any model of
transformers that goes through its attention interface runs unchanged, adapters included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dyna_nodes.local.base import LocalModelError

ATTENTION = "dyna_ragged"
_QUERY_BLOCK = 128  # queries of a prefill per attention call; what lies behind the last is not even computed
_PADDING = 256  # slots that may be read in vain to serve one more request in the same attention call


class Segment(NamedTuple):
    """Consecutive new tokens of one request in a forward.

    Attributes:
        row: Row of the arena.
        start: First slot they are written to; they follow each other.
        tokens: Token ids.
        position: Position id of the first.
        visible: Additive mask ``[slots]`` over the row before these tokens, or None if they see all slots up
            to themselves.
    """

    row: int
    start: int
    tokens: Sequence[int]
    position: int
    visible: Tensor | None


class _Call(NamedTuple):
    """One attention call: queries [begin, end) against the first ``length`` slots of some rows."""

    begin: int
    end: int
    row: int
    rows: int
    length: int
    mask: Tensor | None


class Arena:
    """Keys and values of the requests of one batch, ``[layers, 2, rows, slots, kv heads, head size]``.

    The memory is kept between batches. It starts as zeros and only ever holds finite numbers, so that a
    masked slot cannot spoil a sum.

    Args:
        config: Text configuration of the model.
        dtype: Of keys and values.
        device: Where they lie.
    """

    def __init__(self, config: Any, dtype: torch.dtype, device: torch.device) -> None:
        self.kv_heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self.groups: int = config.num_attention_heads // self.kv_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.head_size: int = size
        self.layers: int = config.num_hidden_layers
        self.bytes_per_slot: int = self.layers * 2 * self.kv_heads * size * dtype.itemsize
        self._memory = torch.zeros(0, dtype=dtype, device=device)
        self.open(0, 0)

    def open(self, rows: int, slots: int) -> None:
        """Make room for a batch; what was in the arena is gone."""
        need = rows * slots * self.layers * 2 * self.kv_heads * self.head_size
        if need > self._memory.numel():
            like = self._memory
            self._memory = torch.zeros(0)  # free the old block before asking for the new one
            self._memory = torch.zeros(need, dtype=like.dtype, device=like.device)
        self.rows, self.slots = rows, slots
        shape = (self.layers, 2, rows, slots, self.kv_heads, self.head_size)
        self.kv = self._memory[:need].view(shape)
        flat = self.kv.view(self.layers, 2, rows * slots, self.kv_heads, self.head_size)
        self._flat = [(layer[0], layer[1]) for layer in flat]
        self._views = [(layer[0].transpose(1, 2), layer[1].transpose(1, 2)) for layer in self.kv]

    def write(self, layer: int, slots: Tensor, key: Tensor, value: Tensor) -> None:
        """Store keys and values ``[kv heads, tokens, head size]`` in flat slots ``[tokens]``."""
        keys, values = self._flat[layer]
        keys.index_copy_(0, slots, key.transpose(0, 1))
        values.index_copy_(0, slots, value.transpose(0, 1))

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of a layer, each ``[rows, kv heads, slots, head size]``."""
        return self._views[layer]


class Plan:
    """Where the tokens of one forward go and what each may see; made once, used by every layer.

    Args:
        arena: The batch's arena.
        segments: The tokens; segments of one row must follow each other.
    """

    def __init__(self, arena: Arena, segments: Sequence[Segment]) -> None:
        self.arena = arena
        memory = arena.kv
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        for segment in segments:
            count = len(segment.tokens)
            ids += segment.tokens
            positions += range(segment.position, segment.position + count)
            first = segment.row * arena.slots + segment.start
            slots += range(first, first + count)
        packed = torch.tensor([ids, positions, slots], device=memory.device)
        self.ids, self.positions, self.slots = packed[0:1], packed[1:2], packed[2]
        self.calls = self._calls(segments, memory.dtype, memory.device)

    def _calls(self, segments: Sequence[Segment], dtype: torch.dtype, device: torch.device) -> list[_Call]:
        calls: list[_Call] = []
        alone: list[tuple[int, int]] = []  # (row, length) of single tokens that see their whole row
        at = index = 0
        while index < len(segments):
            segment = segments[index]
            stop = index + 1
            while stop < len(segments) and segments[stop].row == segment.row:
                stop += 1
            count = sum(len(s.tokens) for s in segments[index:stop])
            if count == 1 and segment.visible is None:
                alone.append((segment.row, segment.start + 1))
            else:
                calls += self._pack_alone(alone, at, dtype, device)
                alone = []
                calls += self._see(segments[index:stop], at, dtype, device)
            at += count
            index = stop
        return calls + self._pack_alone(alone, at, dtype, device)

    def _see(
        self, segments: Sequence[Segment], at: int, dtype: torch.dtype, device: torch.device
    ) -> list[_Call]:
        """Return the calls for one row: branches in one call, a long prefix in blocks of queries."""
        calls = []
        row = segments[0].row
        if len(segments) == 1 and segments[0].visible is None:
            start, count = segments[0].start, len(segments[0].tokens)
            for begin in range(0, count, _QUERY_BLOCK):
                end = min(count, begin + _QUERY_BLOCK)
                mask = _causal(start + begin, end - begin, dtype, device)
                calls.append(self._call(at + begin, at + end, row, 1, start + end, mask))
            return calls
        length = max(s.start + len(s.tokens) for s in segments)
        masks = []
        for s in segments:
            count = len(s.tokens)
            mask = torch.full((count, length), float("-inf"), dtype=dtype, device=device)
            mask[:, : s.start] = 0 if s.visible is None else s.visible[: s.start]
            mask[:, s.start : s.start + count] = _causal(0, count, dtype, device)
            masks.append(mask)
        count = sum(map(len, masks))
        return [self._call(at, at + count, row, 1, length, torch.cat(masks))]

    def _pack_alone(
        self, alone: list[tuple[int, int]], end: int, dtype: torch.dtype, device: torch.device
    ) -> list[_Call]:
        """Serve neighbouring rows of similar length, one query each, in one call."""
        calls = []
        begin = end - len(alone)
        first = 0
        for index in range(1, len(alone) + 1):
            if index < len(alone) and alone[index][0] == alone[index - 1][0] + 1:
                lengths = [length for _, length in alone[first : index + 1]]
                if len(lengths) * max(lengths) - sum(lengths) <= _PADDING * len(lengths):
                    continue
            lengths = [length for _, length in alone[first:index]]
            mask = None
            if min(lengths, default=0) != max(lengths, default=0):
                slot = torch.arange(max(lengths), device=device)
                beyond = slot >= torch.tensor(lengths, device=device)[:, None]
                mask = torch.zeros(beyond.shape, dtype=dtype, device=device).masked_fill_(
                    beyond, float("-inf")
                )
                mask = mask[:, None, None, :].expand(-1, -1, self.arena.groups, -1)
            if lengths:
                row = alone[first][0]
                calls.append(_Call(begin + first, begin + index, row, len(lengths), max(lengths), mask))
            first = index
        return calls

    def _call(self, begin: int, end: int, row: int, rows: int, length: int, mask: Tensor) -> _Call:
        """Repeat the mask ``[queries, slots]`` for the query heads that share a kv head."""
        return _Call(begin, end, row, rows, length, mask.repeat(self.arena.groups, 1)[None, None])


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    ragged: Plan | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attend as the plan says; the signature is that of transformers' attention interface.

    ``query`` is ``[1, heads, tokens, head size]``, ``key`` and ``value`` ``[1, kv heads, tokens, head
    size]``; returns ``[1, tokens, heads, head size]``. The query heads that share a kv head are laid beside
    each other as queries, so that each key is read once for all of them.
    """
    if ragged is None:
        raise RuntimeError("this model belongs to an engine and runs only through it")
    arena = ragged.arena
    layer: int = module.layer_idx  # type: ignore[assignment]
    arena.write(layer, ragged.slots, key[0], value[0])
    keys, values = arena.read(layer)
    heads, tokens, size = query.shape[1:]
    shape = (arena.kv_heads, arena.groups)
    queries = query[0].transpose(0, 1)  # [tokens, heads, size]
    output = torch.empty((tokens, heads, size), dtype=query.dtype, device=query.device)
    for begin, end, row, rows, length, mask in ragged.calls:
        k, v = keys[row : row + rows, :, :length], values[row : row + rows, :, :length]
        if end - begin == rows:  # one query per row
            q = queries[begin:end].reshape(rows, *shape, size)
            out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
            output[begin:end] = out.reshape(rows, heads, size)
        else:
            count = end - begin
            q = queries[begin:end].view(count, *shape, size).permute(1, 2, 0, 3)
            q = q.reshape(1, shape[0], shape[1] * count, size)
            out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
            out = out.view(*shape, count, size).permute(2, 0, 1, 3)
            output[begin:end].view(count, *shape, size).copy_(out)
    return output[None], None


def _causal(start: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the mask ``[count, start + count]`` of consecutive tokens from slot ``start`` on."""
    mask = torch.full((count, start + count), float("-inf"), dtype=dtype, device=device)
    return mask.triu_(start + 1)


def use_ragged_attention(model: Any) -> None:
    """Make a model of transformers attend through `attention`.

    Raises:
        LocalModelError: Its attention does something that is not supported here, or does not go through the
            interface.
    """
    from transformers import AttentionInterface

    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "attn_logit_softcapping", None):
        raise LocalModelError(
            f"{config.model_type} models do not run in this engine: it does full attention, they need "
            f"{', '.join(sorted(kinds))}; serve the model with vLLM and use it as 'vllm:…'"
        )
    if not getattr(model, "_supports_attention_backend", False):
        raise LocalModelError(f"{config.model_type} models do not run in this engine: no attention interface")
    AttentionInterface.register(ATTENTION, attention)
    model.set_attn_implementation(ATTENTION)
