"""What a set of episodes is made of: counts, success, lengths, actions, texts, duplicates."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from dyna_graph.reliability.report import lower_by_trajectory
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.store.duplicates import content_digest, step_digests
from dyna_training.store.source import Source
from dyna_training.store.traits import Traits, action_type, traits_of

Figures = dict[str, Any]
CONFIDENCE: Final = 0.975
"""Of each end of an interval of 95 %."""
GROUPINGS: Final[dict[str, Callable[[Traits], str]]] = {
    "environment": lambda traits: traits.environment,
    "behaviour": lambda traits: traits.behaviour,
    "task_type": lambda traits: traits.task_type,
    "split": lambda traits: traits.split,
}


class Group:
    """Episodes that have something in common.

    Attributes:
        episodes: How many.
        lengths: How many episodes have so many steps, by outcome.
    """

    def __init__(self) -> None:
        self.episodes = 0
        self.lengths: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._wins: list[float] = []
        self._games: list[str] = []

    def add(self, trajectory: Trajectory, game: str) -> None:
        """Count an episode."""
        self.episodes += 1
        self.lengths[trajectory.outcome][len(trajectory.transitions)] += 1
        if trajectory.outcome != "unknown":
            self._wins.append(float(trajectory.outcome == "success"))
            self._games.append(game)

    def figures(self) -> Figures:
        """Return episodes, games, outcomes, success with its interval, and lengths."""
        every = sum(self.lengths.values(), Counter())
        return {
            "episodes": self.episodes,
            "steps": sum(length * count for length, count in every.items()),
            "outcomes": {name: lengths.total() for name, lengths in sorted(self.lengths.items())},
            "success": success_rate(self._wins, self._games),
            "length": summary(every),
        }


def success_rate(wins: list[float], games: list[str]) -> Figures | None:
    """Return the share of successes with a 95 % interval; None without an episode whose outcome is known.

    Episodes of one game resemble each other, so the interval is Wilson's over the effective number of episodes; see
    `dyna_graph.reliability.report.lower_by_trajectory`.
    """
    if not wins:
        return None
    losses = [1 - win for win in wins]
    return {
        "value": sum(wins) / len(wins),
        "low": lower_by_trajectory(wins, games, CONFIDENCE),
        "high": 1 - lower_by_trajectory(losses, games, CONFIDENCE),
        "episodes": len(wins),
        "games": len(set(games)),
    }


def summary(values: Counter[int]) -> Figures | None:
    """Return mean, ends and quantiles of counted numbers; None of none."""
    number = values.total()
    if not number:
        return None
    ordered = sorted(values)

    def quantile(share: float) -> int:
        seen = 0
        for value in ordered:
            seen += values[value]
            if seen >= max(1, math.ceil(share * number)):
                break
        return value

    return {
        "mean": sum(value * count for value, count in values.items()) / number,
        "min": ordered[0],
        "p10": quantile(0.1),
        "median": quantile(0.5),
        "p90": quantile(0.9),
        "max": ordered[-1],
    }


class Steps:
    """What the steps of episodes are made of."""

    def __init__(self) -> None:
        self.number = 0
        self.action_types: Counter[str] = Counter()
        self.tools: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.words: dict[str, Counter[int]] = {"thought": Counter(), "observation": Counter()}
        self.counterfactuals = self.predicted = self.prediction_tokens = 0

    def add(self, step: Transition) -> None:
        """Count a step."""
        self.number += 1
        self.action_types[action_type(step.action)] += 1
        self.tools[step.action.tool] += 1
        self.statuses[step.status] += 1
        self.labels.update(list(step.labels))
        self.notes.update(list(step.notes))
        self.words["thought"][len(step.thought.split())] += 1
        self.words["observation"][len(step.observation.split())] += 1
        self.counterfactuals += len(step.counterfactuals)
        if step.verdict is not None:
            self.verdicts[step.verdict.decision] += 1
        if step.prediction is not None:
            self.predicted += 1
            self.prediction_tokens += step.prediction.tokens

    def figures(self) -> Figures:
        """Return all counts, the largest first."""
        counted = ("action_types", "tools", "statuses", "verdicts", "labels", "notes")
        return {
            **{name: dict(getattr(self, name).most_common()) for name in counted},
            "words": {name: summary(counter) for name, counter in self.words.items()},
            "counterfactuals": self.counterfactuals,
            "predictions": {"steps": self.predicted, "tokens": self.prediction_tokens},
        }


def statistics(source: Source) -> Figures:
    """Read all episodes and count.

    What was played inside a world model never happened: it is counted by itself, and nowhere else.

    Raises:
        StoreError: See `Source.records`.
    """
    everything, steps = Group(), Steps()
    groups: dict[str, defaultdict[str, Group]] = {name: defaultdict(Group) for name in GROUPINGS}
    splits: defaultdict[str, set[str]] = defaultdict(set)
    episodes: set[bytes] = set()
    known_steps: set[bytes] = set()
    imagined = same_episodes = same_steps = 0
    first_seen: set[str] = set()
    for trajectory in source.trajectories():
        if trajectory.provenance.source == "imagination":
            imagined += 1
            continue
        traits = traits_of(trajectory)
        everything.add(trajectory, traits.name)
        for name, value in GROUPINGS.items():
            groups[name][value(traits)].add(trajectory, traits.name)
        splits[traits.name].add(traits.split)
        first_seen.add(trajectory.task)
        content = content_digest(trajectory)
        same_episodes += content in episodes
        episodes.add(content)
        for step, digest in zip(trajectory.transitions, step_digests(trajectory), strict=True):
            steps.add(step)
            same_steps += digest in known_steps
            known_steps.add(digest)
    return {
        **everything.figures(),
        "games": len(splits),
        "tasks": len(first_seen),
        "imagined": imagined,
        **{f"by_{name}": _by(found) for name, found in groups.items()},
        "lengths": {outcome: dict(sorted(c.items())) for outcome, c in sorted(everything.lengths.items())},
        **steps.figures(),
        "duplicates": {"ids": source.repeated, "episodes": same_episodes, "steps": same_steps},
        "games_in_several_splits": sorted(game for game, found in splits.items() if len(found) > 1),
        "files": [str(file) for file in source.files],
        "problems": [str(problem) for problem in source.problems],
    }


def _by(groups: dict[str, Group]) -> dict[str, Figures]:
    names: Iterable[str] = sorted(groups, key=lambda name: (-groups[name].episodes, name))
    return {name or "unknown": groups[name].figures() for name in names}
