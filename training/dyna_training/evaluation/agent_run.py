"""``dyna eval agent`` from settings to figures: plays, controls at equal tokens, other training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyna_training.environments.alfworld.splits import games
from dyna_training.evaluation import equal_tokens as equal
from dyna_training.evaluation.agent import AgentEvaluation, GameOutcome, evaluate
from dyna_training.evaluation.agent_figures import adapters_of, summarise
from dyna_training.evaluation.agent_report import pooled
from dyna_training.evaluation.episodes import walkthroughs_in_train
from dyna_training.evaluation.world_model import Progress, no_progress


def run(
    settings: AgentEvaluation,
    command: str = "",
    *,
    equal_tokens: bool = False,
    pool: Sequence[Path] = (),
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], list[GameOutcome]]:
    """Play what is missing and return all figures and the plays that they are made from.

    Args:
        settings: What to play with.
        command: The command line, for the record.
        equal_tokens: Also play the controls that can spend the trained arm's tokens with as many.
        pool: Folders of finished evaluations with other training seeds, counted in.
        progress: Told what is done.

    Raises:
        ValueError: An arm lacks its adapter, equal tokens lack an arm, or a pooled folder does not fit.
        GameFileError: Games are missing; those of a published split are compared with the training games.
        RuntimeError: Games failed.
    """
    if equal_tokens and "trained" not in settings.arms:
        raise ValueError("equal tokens are those of the arm 'trained': add it to --arms")
    if equal_tokens and settings.resample and "log-probability" not in settings.arms:
        raise ValueError("what k candidates cost is read off the arm 'log-probability': add it to --arms")
    # All that can be wrong with the input is found before hours of playing.
    others = [pooled(folder, settings) for folder in pool]
    adapters = [adapters_of(settings), *(a for _, theirs in others for a in theirs)]
    seeds = [a["training_seed"] for a in adapters]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"evaluations of the training seeds {seeds} are pooled; each must be there once")
    known = None
    if settings.split.startswith("valid"):
        names = [f"{file.parts[-3]}/{file.parts[-2]}" for file in games(settings.split)]
        known = walkthroughs_in_train(names, settings.split)
    outcomes = evaluate(settings, progress)
    if equal_tokens:
        outcomes += equal.play(settings, outcomes, progress)
    # The same weights may have been called by another seed when they were played.
    outcomes = [o.model_copy(update={"training_seed": settings.training_seed}) for o in outcomes]
    outcomes += [o for theirs, _ in others for o in theirs]
    return summarise(outcomes, settings, command, known=known, adapters=adapters), outcomes
