"""The inner simulation: what a policy's own thinking imagines an action to do, as a prediction like any other.

No second model is asked. Thinking in the form of `dyna_nodes.codec.thinking` is read by this module; what it
imagines of the called action becomes a `Prediction`, and is scored by what it was certain of, since a simulation
need not say everything.
"""

from __future__ import annotations

import re
from typing import Final

from dyna_nodes.codec.outcome import parse_answer
from dyna_nodes.codec.thinking import InnerSimulation, certain_holds, holds, simulation_of, simulations
from dyna_nodes.nouns import Action, Prediction
from dyna_nodes.scoring import Status, exact_match, outcome_match, token_f1

NAME: Final = "thinking"
"""What predictions from the policy's thinking say as their model."""
INNER: Final = "inner_"
"""Begins the names of the scores of an inner simulation that stands beside another prediction."""
CORRECT: Final = "simulation_correct"
"""The label that says whether an inner simulation came true (1) or not (0)."""
_TAG: Final = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_NAMED: Final = 3


def inner_prediction(thinking: str, action: Action, name: str = NAME) -> Prediction:
    """Return what a policy's thinking imagines that an action does.

    Of several simulations of the action the last counts, as the one that the policy ended with.

    Args:
        thinking: All that the policy wrote before the call; tags such as ``<think>`` do not matter.
        action: The called action.
        name: What the prediction says as its model.

    Returns:
        The outcome as ``observation``, hypotheses included, and ``success``, ``reward`` and ``done`` where it ends
        in tags that say them (`dyna_nodes.codec.outcome`); or an ``error`` that says what the thinking has instead.
    """
    lines = _TAG.sub("\n", thinking)
    found = simulation_of(lines, action.text)
    if found is None:
        return Prediction(model=name, error=_missing(lines, action))
    said = parse_answer(found.outcome)
    return Prediction(
        observation=said.observation,
        reward=said.reward,
        done=said.done,
        success=said.success or None,
        model=name,
    )


def _missing(thinking: str, action: Action) -> str:
    if not thinking.strip():
        return f"the policy wrote no thinking before {action.text!r}"
    others = list(dict.fromkeys(s.action for s in simulations(thinking)))
    if not others:
        return f"the policy's thinking simulates nothing: no line 'If I {action.text}: …' in it"
    named = ", ".join(repr(other) for other in others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    return f"the policy's thinking simulates {named}, but not the called {action.text!r}"


def score_inner(
    prediction: Prediction,
    action: Action,
    observation: str,
    reward: float | None = None,
    done: bool | None = None,
    *,
    status: Status = "ok",
) -> dict[str, float]:
    """Score an inner simulation against what really happened.

    Args:
        prediction: What `inner_prediction` returned.
        action: The action that it is about.
        observation: The real observation.
        reward: The real reward, where the tool reports one.
        done: The real end flag, where the tool reports one.
        status: How the call ended; of an ``unknown`` one nothing is known, so nothing is scored.

    Returns:
        ``exact`` and ``f1`` of what it was certain of, where it was certain of anything; ``holds`` and
        ``certain_holds`` as in `dyna_nodes.codec.thinking`, 1 or 0; ``outcome`` where success was stated.
        Nothing for a prediction with an ``error``.
    """
    if status == "unknown" or prediction.observation is None:
        return {}
    simulation = InnerSimulation(action.text, prediction.observation, 0, len(prediction.observation))
    scores = {
        "holds": float(holds(simulation, observation)),
        "certain_holds": float(certain_holds(simulation, observation)),
    }
    if certain := simulation.certain:
        scores |= {"exact": exact_match(certain, observation), "f1": token_f1(certain, observation)}
    outcome = outcome_match(prediction, reward, done, status)
    return scores if outcome is None else {**scores, "outcome": outcome}
