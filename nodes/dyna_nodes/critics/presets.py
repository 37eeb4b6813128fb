"""Ready-made compositions of mechanisms: rules without a model, and the critic for household games."""

from __future__ import annotations

from collections.abc import Collection

from dyna_nodes.critics.mechanisms import (
    NO_EFFECT,
    Mechanism,
    MechanismCritic,
    agreement,
    known_no_effect,
    log_probability,
    loop,
    predicted_no_effect,
    predicted_success,
    predicted_value,
    repeated_observation,
)


class RuleCritic(MechanismCritic):
    """Rules that need no world model: known no effect, and loops.

    Args:
        no_effect: Observations that mean that an action did nothing.
        repeats: An action that was run this often with the same observation is a loop.
        reject: Which of ``known no effect`` and ``loop`` reject; the others only lower the score.
        name: Name in verdicts.
    """

    def __init__(
        self,
        *,
        no_effect: Collection[str] = NO_EFFECT,
        repeats: int = 2,
        reject: Collection[str] = ("known no effect", "loop"),
        name: str = "rules",
    ) -> None:
        mechanisms = (known_no_effect(texts=no_effect), loop(repeats=repeats))
        super().__init__(mechanisms, reject=reject, predicts=False, name=name)


class HouseholdCritic(MechanismCritic):
    """For household games: predicted effect, repetition, success and value, and what the policy itself prefers.

    Candidates are ranked by the sum. A call is rejected only when it is predicted to have no effect, or, with
    ``rules``, is known to have none or to be a loop; where all candidates promise little, the best of them
    runs.

    The default weights were chosen on held-out rooms with a small model, whose returns tell games and stages of a
    game apart far better than the candidates of one step; a model with better returns deserves a greater
    ``value_weight``.

    Args:
        no_effect: Observations that mean that an action did nothing.
        no_effect_weight: Taken off for a predicted no effect.
        repeat_weight: Taken off for each time that the predicted observation was seen before.
        success_weight: Added for a predicted success, discounted.
        value_weight: Factor of the imagined return.
        agreement_weight: Factor of the share of the candidates that propose the same call.
        log_probability_weight: Factor of the log-probability (nats) of the message under the policy, where known.
        discount: Factor per imagined step, in (0, 1]; None takes the simulation's own value.
        rules: Also apply the rules of `RuleCritic`.
        reject: Names of the mechanisms that reject.
        name: Name in verdicts.
    """

    def __init__(
        self,
        *,
        no_effect: Collection[str] = NO_EFFECT,
        no_effect_weight: float = 1.0,
        repeat_weight: float = 0.1,
        success_weight: float = 1.0,
        value_weight: float = 0.25,
        agreement_weight: float = 0.2,
        log_probability_weight: float = 0.05,
        discount: float | None = None,
        rules: bool = False,
        reject: Collection[str] = ("predicted no effect", "known no effect", "loop"),
        name: str = "household",
    ) -> None:
        mechanisms: list[Mechanism] = [
            predicted_no_effect(no_effect_weight, no_effect),
            repeated_observation(repeat_weight),
            predicted_success(success_weight, discount),
            predicted_value(value_weight, discount),
            agreement(agreement_weight),
            log_probability(log_probability_weight),
        ]
        if rules:
            mechanisms += [known_no_effect(no_effect_weight, no_effect), loop(repeat_weight)]
        super().__init__(mechanisms, reject=reject, name=name)
