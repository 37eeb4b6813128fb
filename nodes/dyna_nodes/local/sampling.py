"""From logits to tokens, reproducibly for each branch whatever else is in the batch."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

_LIKELY = 512  # a nucleus is sought among so many tokens before the whole vocabulary is sorted


def generator(seed: int | None, branch: int) -> random.Random:
    """Return the source of chance of one branch; the same on every device."""
    return random.Random(None if seed is None else f"{seed}/{branch}")


def choose(
    logits: Tensor, temperatures: Sequence[float], top_ps: Sequence[float], chances: Sequence[random.Random]
) -> list[int]:
    """Choose one token per row.

    Args:
        logits: ``[rows, vocabulary]``, float32.
        temperatures: Per row; 0 takes the most probable token.
        top_ps: Per row, the mass of the nucleus.
        chances: Per row; one number is drawn where the temperature is above 0.
    """
    chosen: list[int] = logits.argmax(-1).tolist()
    rows = [i for i, t in enumerate(temperatures) if t > 0]
    if not rows:
        return chosen
    scale = torch.tensor([temperatures[i] for i in rows], device=logits.device)
    probabilities = (logits[rows] / scale[:, None]).softmax(-1)
    nucleus = torch.tensor([top_ps[i] for i in rows], device=logits.device)
    if bool((nucleus < 1).any()):
        probabilities = _keep_nucleus(probabilities, nucleus)
    # Inverse of the distribution function in the order of the vocabulary: a rounding difference between two
    # batches moves a border by 1e-7, where an order by probability could swap two tokens.
    steps = probabilities.double().cumsum(-1)
    draws = torch.tensor([chances[i].random() for i in rows], dtype=torch.double, device=logits.device)
    picks = torch.searchsorted(steps, (draws * steps[:, -1])[:, None], right=True)[:, 0]
    for row, pick in zip(rows, picks.clamp_(max=logits.shape[-1] - 1).tolist(), strict=True):
        chosen[row] = pick
    return chosen


def _keep_nucleus(probabilities: Tensor, mass: Tensor) -> Tensor:
    """Set to zero what lies outside the smallest set of tokens with the given mass."""
    likely = probabilities.topk(min(_LIKELY, probabilities.shape[-1])).values
    if bool((likely.sum(-1) < mass).any()):
        likely = probabilities.sort(descending=True).values
    before = likely.cumsum(-1) - likely
    count = (before < mass[:, None]).sum(-1, keepdim=True)
    least = likely.gather(-1, count - 1)
    kept = probabilities.masked_fill(probabilities < least, 0)
    return torch.where(mass[:, None] < 1, kept, probabilities)
