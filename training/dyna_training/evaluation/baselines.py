"""What every trained world model is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dyna_nodes.world_models.baselines as shared
from dyna_nodes.nouns import Prediction, Query, Trajectory, digest_of
from dyna_nodes.world_models import CopyWorldModel, TemplateWorldModel
from dyna_training.behaviours import MIXTURE
from dyna_training.environments import alfworld
from dyna_training.environments.alfworld import KnownWorld
from dyna_training.evaluation.examinees import BOTH, AskedExaminee, file_digest

SHOT_STEPS = 6
"""Fewest steps of an episode that is shown as an example."""


class RulesWorldModel:
    """Knows the rules of the household games by heart; guesses by template what the history leaves open.

    No baseline but a yardstick: its share of the determined steps is what a history allows at all.

    Args:
        template: Asked about everything that is not determined.
        name: Name in predictions.
    """

    def __init__(self, template: TemplateWorldModel, *, name: str = "rules") -> None:
        self.template = template
        self.name = name

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        guesses = self.template.predict(queries)
        return [self._predict(q, g) for q, g in zip(queries, guesses, strict=True)]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _predict(self, query: Query, guess: Prediction) -> Prediction:
        world = KnownWorld(query.history.task)
        for step in query.history.steps:
            world.observe(step.action.text, step.observation)
        known = world.predict(query.action.text)
        update = {"model": self.name} | ({} if known is None else {"observation": known})
        return guess.model_copy(update=update)


def baselines(train: Sequence[Trajectory], *, rules: bool) -> list[AskedExaminee]:
    """Return *copy* and *template*, and the yardstick *rules*.

    None of them reads a hidden state, so that their figures are the same in both contexts.

    Args:
        train: Episodes of training games; templates are learned from them.
        rules: Include the yardstick; it knows household games only.
    """
    template = TemplateWorldModel.fit(train)
    digest = digest_of(code_digest(), template.templates, template.fallback)
    found = [
        AskedExaminee("copy", dict.fromkeys(BOTH, CopyWorldModel()), f"copy {code_digest()}"),
        AskedExaminee("template", dict.fromkeys(BOTH, template), digest),
    ]
    if rules:
        known = RulesWorldModel(template)
        found.append(AskedExaminee("rules", dict.fromkeys(BOTH, known), f"rules {digest}"))
    return found


def code_digest() -> str:
    """Return the digest of the code that the baselines consist of: changed, their cached answers do not count."""
    rules = sorted(Path(alfworld.__file__).parent.glob("*.py"))
    return digest_of([file_digest(file) for file in (Path(shared.__file__), Path(__file__), *rules)])


def shots(train: Sequence[Trajectory], number: int) -> list[Trajectory]:
    """Return short episodes to show as examples: of each behaviour in turn the shortest, successes first.

    Args:
        train: Episodes of training games.
        number: How many.

    Raises:
        ValueError: There are not as many.
    """
    piles: dict[str, list[Trajectory]] = {}
    for trajectory in train:
        if len(trajectory.transitions) >= SHOT_STEPS:
            piles.setdefault(trajectory.provenance.policy, []).append(trajectory)
    for pile in piles.values():
        pile.sort(key=lambda t: (t.outcome != "success", len(t.transitions), t.id), reverse=True)
    order = [*MIXTURE, *sorted(set(piles) - set(MIXTURE))]
    chosen: list[Trajectory] = []
    while len(chosen) < number:
        drawn = [piles[name].pop() for name in order if piles.get(name)]
        if not drawn:
            raise ValueError(f"{number} examples are asked for, the training episodes yield {len(chosen)}")
        chosen += drawn
    return chosen[:number]
