"""The controls once more, with as many tokens as the trained arm: more candidates for what imagining costs.

A choice among more candidates may be worth as much as a look ahead. So the controls that can use them get k′
candidates, with k′ the smallest number whose tokens per step are at least those of the trained arm, policy and world
model together: ``k′ = ⌈k (policy tokens + model tokens) / policy tokens⌉``, read off the trained arm's own plays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dyna_training.evaluation.agent import AgentEvaluation, GameOutcome, evaluate
from dyna_training.evaluation.agent_figures import EQUAL, EQUAL_TOKENS, tokens
from dyna_training.evaluation.world_model import Progress, no_progress


def matching_candidates(outcomes: Sequence[GameOutcome], candidates: int) -> int:
    """Return k′.

    Args:
        outcomes: All plays; those of the arm ``trained`` count.
        candidates: k of these plays.

    Raises:
        ValueError: The arm ``trained`` was not played, or no tokens were counted.
    """
    trained = [o for o in outcomes if o.arm == "trained"]
    written = sum(o.policy_tokens for o in trained)
    if not written:
        raise ValueError("equal tokens need plays of the arm 'trained' with counted tokens: add it to --arms")
    return math.ceil(candidates * sum(map(tokens, trained)) / written)


def play(
    settings: AgentEvaluation, outcomes: Sequence[GameOutcome], progress: Progress = no_progress
) -> list[GameOutcome]:
    """Play the same games by the controls with k′ candidates; none where k′ is k.

    Args:
        settings: What the other plays were played with.
        outcomes: These plays.
        progress: Told what is done.

    Raises:
        ValueError: See `matching_candidates`.
        RuntimeError: Games failed.
    """
    more = matching_candidates(outcomes, settings.candidates)
    if more == settings.candidates:
        return []
    changed = settings.model_copy(update={"candidates": more, "arms": EQUAL_TOKENS})
    return evaluate(changed, lambda arm, done, of: progress(f"{arm}{EQUAL}, k = {more}", done, of))
