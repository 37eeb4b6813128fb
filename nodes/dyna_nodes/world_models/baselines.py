"""World models that every trained one must beat: the last observation again, and templates per command.

And a control: the predictions of another world model, handed to the wrong candidates.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from dyna_nodes.nouns import Action, History, Prediction, Query, Trajectory, digest_of
from dyna_nodes.protocols import WorldModel

ENTITY = r"[a-z]+ \d+"
"""What varies between commands of one kind in household games: ``fridge 1``."""


class CopyWorldModel:
    """Predicts that the last observation comes again; before the first step, the task's text.

    Args:
        name: Name in predictions.
    """

    def __init__(self, *, name: str = "copy") -> None:
        self.name = name

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [Prediction(observation=_last(q.history), success=False, model=self.name) for q in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)


class TemplateWorldModel:
    """Predicts by the kind of command: the observation that commands of this kind usually get, names filled
    in.

    A command's *kind* is its text with every entity replaced by its number of appearance (``open {0}``); the
    template of an observation has the same placeholders, and entities that the command does not name stand in
    it as they are.

    Args:
        templates: Template of the observation by kind of command.
        fallback: Predicted for a kind that is not known.
        memory: Where the same command was executed before in this history, predict what it showed then.
        entity: Regular expression of an entity.
        name: Name in predictions.

    Example:
        >>> model = TemplateWorldModel({"open {0}": "You open the {0}. The {0} is open."})
        >>> model.predict([Query(history=history, action=Action.command("open fridge 1"))])[0].observation
        'You open the fridge 1. The fridge 1 is open.'
    """

    def __init__(
        self,
        templates: Mapping[str, str],
        *,
        fallback: str = "Nothing happens.",
        memory: bool = False,
        entity: str = ENTITY,
        name: str = "template",
    ) -> None:
        self.templates = dict(templates)
        self.fallback = fallback
        self.memory = memory
        self.entity = re.compile(entity)
        self.name = name

    @classmethod
    def fit(
        cls,
        trajectories: Iterable[Trajectory],
        *,
        memory: bool = False,
        entity: str = ENTITY,
        name: str = "template",
    ) -> Self:
        """Learn the most frequent template of every kind of command.

        The fallback is the most frequent observation of all. Ties are broken by the text, so that the order
        of the trajectories does not matter.
        """
        model = cls({}, memory=memory, entity=entity, name=name)
        counts: dict[str, Counter[str]] = {}
        everything: Counter[str] = Counter()
        for trajectory in trajectories:
            for step in trajectory.transitions:
                kind, names = model.kind(step.action)
                template = step.observation.strip()
                for index, entity_name in enumerate(names):
                    template = re.sub(rf"\b{re.escape(entity_name)}\b", f"{{{index}}}", template)
                counts.setdefault(kind, Counter())[template] += 1
                everything[step.observation.strip()] += 1
        model.templates = {kind: _most_frequent(counter) for kind, counter in counts.items()}
        if everything:
            model.fallback = _most_frequent(everything)
        return model

    def kind(self, action: Action) -> tuple[str, list[str]]:
        """Return the kind of a command, and the entities in the order of their placeholders."""
        names: list[str] = []

        def place(match: re.Match[str]) -> str:
            if match[0] not in names:
                names.append(match[0])
            return f"{{{names.index(match[0])}}}"

        return self.entity.sub(place, action.text.strip()), names

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [Prediction(observation=self._observation(q), success=False, model=self.name) for q in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _observation(self, query: Query) -> str:
        if self.memory:
            for step in reversed(query.history.steps):
                if step.action == query.action:
                    return step.observation
        kind, names = self.kind(query.action)
        text = self.templates.get(kind, self.fallback)
        for index, entity_name in enumerate(names):
            text = text.replace(f"{{{index}}}", entity_name)
        return text


class ShuffledWorldModel:
    """Deals the predictions of another world model out to the wrong candidates.

    The control for what a world model *knows* against what its predictions merely look like: the predictions
    of the distinct actions of one step are permuted at random so that no action keeps its own, each such
    permutation equally likely. Where only one action is proposed there is no other prediction, and it keeps
    its own. Deeper imagined steps are permuted among the candidates of the step that they started from. The
    same step is always permuted in the same way, whatever else is in the batch.

    Args:
        model: Whose predictions.
        seed: Seed of the permutations.
        name: Name in predictions.
    """

    def __init__(self, model: WorldModel, *, seed: int = 0, name: str = "shuffled") -> None:
        self.model = model
        self.seed = seed
        self.name = name

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self._shuffled(queries, self.model.predict(queries))

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order, without blocking the event loop."""
        return self._shuffled(queries, await self.model.apredict(queries))

    def _shuffled(self, queries: Sequence[Query], predictions: Sequence[Prediction]) -> list[Prediction]:
        steps: dict[str, dict[str, list[int]]] = {}
        for index, query in enumerate(queries):
            root = query.history.steps[: len(query.history.steps) - query.imagined]
            imagined = [s.action.digest for s in query.history.steps[len(root) :]]
            step = digest_of(query.history.model_copy(update={"steps": root}).digest, query.imagined)
            steps.setdefault(step, {}).setdefault(digest_of(imagined, query.action.digest), []).append(index)
        found: dict[int, Prediction] = {}
        for step, actions in steps.items():
            # Sorted, so that the permutation does not depend on the order in which candidates were sampled.
            groups = [actions[key] for key in sorted(actions)]
            sources = _derangement(len(groups), random.Random(f"{self.seed}-{step}"))
            for group, source in zip(groups, sources, strict=True):
                for index in group:
                    found[index] = predictions[groups[source][0]].model_copy(update={"model": self.name})
        return [found[index] for index in range(len(queries))]


def _derangement(number: int, rng: random.Random) -> list[int]:
    """Return a random permutation of ``range(number)`` that moves everything; with one element it cannot."""
    order = list(range(number))
    # Every third permutation or so is one, so that drawing again is quick, and it keeps all equally likely.
    while number > 1:
        rng.shuffle(order)
        if all(place != source for place, source in enumerate(order)):
            break
    return order


def _last(history: History) -> str:
    return history.steps[-1].observation if history.steps else history.task


def _most_frequent(counter: Counter[str]) -> str:
    return min(counter, key=lambda text: (-counter[text], text))
