"""The controls once more, with as many tokens as the trained arm: more candidates for what imagining costs.

A choice among more candidates may be worth as much as a look ahead. So the controls that can use them get k′
candidates, with k′ the smallest number whose tokens per step are at least those of the trained arm, policy and world
model together: ``k′ = ⌈k (policy tokens + model tokens) / policy tokens⌉``, read off the trained arm's own plays. Where
that arm drew some anew, what k candidates cost is read off the plays of ``log-probability``, per step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dyna_training.evaluation.agent import AgentEvaluation, GameOutcome, evaluate
from dyna_training.evaluation.agent_figures import EQUAL, EQUAL_TOKENS, tokens
from dyna_training.evaluation.world_model import Progress, no_progress


def matching_candidates(outcomes: Sequence[GameOutcome], candidates: int, resample: int = 0) -> int:
    """Return k′.

    Args:
        outcomes: All plays; those of the arm ``trained`` count.
        candidates: k of these plays.
        resample: How many were drawn anew where all k were rejected.

    Raises:
        ValueError: The arms that are needed were not played, or no tokens were counted.
    """
    trained = [o for o in outcomes if o.arm == "trained"]
    drawn = (
        [o for o in outcomes if o.arm == "log-probability" and o.candidates <= candidates]
        if resample
        else trained
    )
    written, spent = sum(o.policy_tokens for o in drawn), sum(map(tokens, trained))
    if not written or not spent:
        needed = "the arms 'trained' and 'log-probability'" if resample else "the arm 'trained'"
        raise ValueError(f"equal tokens need plays of {needed} with counted tokens: add them to --arms")
    steps, of_trained = (sum(max(o.steps, 1) for o in plays) for plays in (drawn, trained))
    return math.ceil(candidates * spent * steps / (written * of_trained))


def play(
    settings: AgentEvaluation, outcomes: Sequence[GameOutcome], progress: Progress = no_progress
) -> list[GameOutcome]:
    """Play the same games by the controls with k′ candidates, of which none are drawn anew; none where k′ is k.

    Args:
        settings: What the other plays were played with.
        outcomes: These plays.
        progress: Told what is done.

    Raises:
        ValueError: See `matching_candidates`.
        RuntimeError: Games failed.
    """
    more = matching_candidates(outcomes, settings.candidates, settings.resample)
    if more <= settings.candidates:
        return []
    changed = settings.model_copy(update={"candidates": more, "resample": 0, "arms": EQUAL_TOKENS})
    return evaluate(changed, lambda arm, done, of: progress(f"{arm}{EQUAL}, k = {more}", done, of))
