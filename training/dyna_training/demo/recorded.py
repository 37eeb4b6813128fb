"""The recorded evaluation that the demo's table shows beside its own games, bound to the adapters it measured.

``dyna eval agent --record`` writes it. It is shown only where the demo plays with the very weights that were
evaluated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from dyna_graph.config import DynaConfig
from dyna_graph.models import find_adapter, parse_model
from dyna_training.evaluation.critic_names import described
from dyna_training.evaluation.examinees import file_digest

EVALUATION = ("adapters", "evaluation.json")
"""Where, in the package, the recorded evaluation of the shipped adapters lies."""
ROLES = ("policy", "world_model")


class Evaluation(BaseModel):
    """A recorded evaluation, as ``dyna eval agent --record`` writes it.

    Attributes:
        command: The command that made it.
        games: How many games.
        split: Their split.
        hardware: On what.
        candidates: k.
        resample: How many were drawn anew where all k were rejected.
        temperature: Temperature of the candidates.
        horizon: Imagined steps.
        max_steps: Steps per game.
        critic: What ranked the imagined outcomes.
        training_seeds: Training seeds that the figures are over.
        adapters: Name and digest of policy and world model, for each training seed.
        verdicts: Whether the world model beats the best control.
        arms: Figures by arm; a figure is a number, or mean and bounds of its interval.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    command: str
    games: int
    split: str
    hardware: str = ""
    candidates: int
    resample: int = 0
    temperature: float
    horizon: int = 1
    max_steps: int
    critic: str
    training_seeds: tuple[int, ...]
    adapters: tuple[Mapping[str, Any], ...]
    verdicts: tuple[Mapping[str, Any], ...] = ()
    arms: Mapping[str, Mapping[str, Any]]

    def measured(self, digests: Mapping[str, str | None]) -> bool:
        """Return whether these are the adapters that were evaluated, by the digests of their weights."""
        return any(
            all(digests.get(role) and digests[role] == (one.get(role) or {}).get("digest") for role in ROLES)
            for one in self.adapters
        )


class Recorded(NamedTuple):
    """What there is to show.

    Attributes:
        evaluation: The recorded evaluation of the adapters in use; None where there is none.
        notes: What is to be known about it, or why there is none; one line each.
    """

    evaluation: Evaluation | None
    notes: tuple[str, ...]


def recorded(config: DynaConfig, split: str) -> Recorded:
    """Return what is recorded of the adapters that a configuration plays with.

    Args:
        config: What the demo plays with.
        split: Where its games come from.

    Raises:
        ValueError: The file is damaged.
        ModelError: An adapter of the configuration is not there.
    """
    evaluation = recorded_evaluation()
    if evaluation is None:
        return Recorded(
            None, ("No larger evaluation is recorded in this installation; dyna eval agent makes one.",)
        )
    if not evaluation.measured(digests_in_use(config)):
        why = (
            "The recorded evaluation is of other adapters than these games were played with; dyna eval agent"
        )
        return Recorded(None, (f"{why} measures yours.",))
    return Recorded(evaluation, tuple(notes(evaluation, config, split)))


def recorded_evaluation() -> Evaluation | None:
    """Return the recorded evaluation of the shipped adapters; None where none was recorded.

    Raises:
        ValueError: The file is damaged.
    """
    file = resources.files("dyna_training").joinpath(*EVALUATION)
    if not file.is_file():
        return None
    try:
        return Evaluation.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ValueError(
            f"{file} is damaged: {error}; write it again with dyna eval agent --record"
        ) from error


def digests_in_use(config: DynaConfig) -> dict[str, str | None]:
    """Return the SHA-256 of the weights of policy and world model; None for what is no local adapter.

    Raises:
        ModelError: An adapter is not there.
        OSError: Its weights cannot be read.
    """
    trained = config.world_model.kind == "trained"
    models = {"policy": config.model, "world_model": config.world_model.model if trained else None}
    found: dict[str, str | None] = {}
    for role, model in models.items():
        adapter = None if model is None else parse_model(model.name).adapter
        weights = (
            None if adapter is None else find_adapter(adapter, config.folder) / "adapter_model.safetensors"
        )
        found[role] = None if weights is None else file_digest(weights)
    return found


def notes(evaluation: Evaluation, config: DynaConfig, split: str) -> list[str]:
    """Say how the recorded games were played, what came out, and what is different about those of the demo."""
    how = [f"{name} {value}" for name, value in _played(evaluation).items()]
    seeds = ", ".join(map(str, evaluation.training_seeds))
    where = f"{evaluation.games} games of {evaluation.split}, {evaluation.hardware or 'unknown hardware'}"
    lines = [
        f"Recorded before: {where}: {', '.join(how)}, training seeds {seeds}.",
        f"Made by: {evaluation.command}",
        *(str(verdict["sentence"]) for verdict in evaluation.verdicts),
    ]
    other = differences(evaluation, config, split)
    if other:
        lines.append(
            f"The games above were played otherwise: {'; '.join(other)}. Compare the rows within a block, "
            "not the two blocks."
        )
    return lines


def differences(evaluation: Evaluation, config: DynaConfig, split: str) -> list[str]:
    """Say in which settings the demo's games differ from the recorded ones."""
    here = {
        "games of": split,
        "step limit": str(config.limits.max_steps),
        "k": _k(config.simulate.candidates, config.simulate.resample),
        "temperature": "the model's own"
        if config.policy.temperature is None
        else f"{config.policy.temperature:g}",
        "horizon": str(config.simulate.horizon),
        "critic": "; ".join(map(described, config.critic)),
    }
    there = {"games of": evaluation.split, **_played(evaluation)}
    return [f"{key} {here[key]} instead of {there[key]}" for key in here if here[key] != there[key]]


def _k(candidates: int, resample: int) -> str:
    return f"{candidates} (where all are rejected {resample} anew)" if resample else str(candidates)


def _played(evaluation: Evaluation) -> dict[str, str]:
    return {
        "step limit": str(evaluation.max_steps),
        "k": _k(evaluation.candidates, evaluation.resample),
        "temperature": f"{evaluation.temperature:g}",
        "horizon": str(evaluation.horizon),
        "critic": evaluation.critic,
    }
