"""How well world models predict: ``dyna eval world-model``.

Every model is examined on every step of the same frozen episodes, given the real history; see `episodes` for
the episodes, `lineup` for the models, `examinees` for how, `figures` for what is computed, `report` for what is
written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from dyna_nodes.codec import Context, Outcome
from dyna_nodes.nouns import Trajectory
from dyna_training.data import read_trajectories
from dyna_training.evaluation import episodes, figures
from dyna_training.evaluation.examinees import (
    Examinee,
    StepOutcome,
    TrainedExaminee,
    compare,
    queries,
)
from dyna_training.evaluation.lineup import WorldModelEvaluation, amount_of, examinees
from dyna_training.evaluation.outcomes import OutcomeCache, examine
from dyna_training.evaluation.statistics import Bootstrap

RESULTS_FORMAT: Final = "dyna-eval-world-model/1"
PACKAGES: Final = ("dyna-graph", "torch", "transformers", "peft", "numpy")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def no_progress(what: str, done: int, of: int) -> None:
    """Show no progress."""


class Material(NamedTuple):
    """Episodes to examine on."""

    mixture: list[Trajectory]
    probes: list[Trajectory]
    train: list[Trajectory]


def evaluate(settings: WorldModelEvaluation, progress: Progress = no_progress) -> dict[str, Any]:
    """Examine models and baselines, and return all figures.

    What was examined before, in the same folder with the same weights and episodes, is not examined again.

    Args:
        settings: What is examined on what.
        progress: See `Progress`.

    Raises:
        GameFileError: The games are not there.
        LocalModelError: The base model or an adapter cannot be used.
        ModelError: A chat model's name leads nowhere.
        ValueError: Privileged context, and an episode without hidden state; or there is no episode at all.
    """
    material = gather(settings, progress)
    cache = OutcomeCache(settings.out / "outcomes.jsonl")
    models = []
    verified = []
    for examinee, games in examinees(settings, material.mixture, material.train):
        part = _first_games(material, games)
        contexts = {c: _examined(settings, part, examinee, c, cache, progress) for c in settings.contexts}
        models.append(Examined(examinee.name, part, contexts))
        if isinstance(examinee, TrainedExaminee) and settings.verify:
            verified += [
                _verified(examinee, c, part.mixture, settings, progress) for c in examinee.generators
            ]
    main = models[len(settings.adapters) - 1] if settings.adapters else None
    others = [m for m in models if m is not main]
    return {
        "format": RESULTS_FORMAT,
        "settings": settings.model_dump(mode="json", exclude={"out"}),
        "versions": {name: version(name) for name in PACKAGES},
        "episodes": _about(settings, material),
        "models": [_report(settings, m) for m in models],
        "differences": [] if main is None else [_compare(settings, main, other) for other in others],
        "curve": _curve(settings, models),
        "verified": verified,
        "unreadable_lines": cache.unreadable,
    }


class Examined(NamedTuple):
    """A model with what it said: by context, about the steps of the mixture and about those of the probes."""

    name: str
    material: Material
    contexts: dict[Context, tuple[list[StepOutcome], list[StepOutcome]]]


def gather(settings: WorldModelEvaluation, progress: Progress = no_progress) -> Material:
    """Play or read the episodes.

    Raises:
        GameFileError: The games are not there.
        FileNotFoundError: There are no recorded episodes where the settings say.
        ValueError: There is no episode at all.
    """

    def playing(what: str) -> Callable[[int, int], None]:
        return lambda done, of: progress(what, done, of)

    probes: list[Trajectory] = []
    if settings.data:
        mixture = list(read_trajectories(settings.data))
    else:
        what = f"playing {settings.split}"
        mixture = episodes.record(settings.split, settings.games, seed=settings.seed, on_game=playing(what))
        probes = episodes.near_misses(settings.split, settings.games, seed=settings.seed)
    if not mixture:
        raise ValueError(
            "there is no episode to examine a model on; collect some, or raise the number of games"
        )
    needs_train = settings.baselines or settings.untrained or any(settings.shots)
    train: list[Trajectory] = []
    if settings.train:
        train = list(read_trajectories(settings.train))
    elif needs_train and not settings.data:
        train = episodes.record(
            "train", settings.train_games, seed=settings.seed, on_game=playing("playing train")
        )
    return Material(mixture, probes, train)


def _first_games(material: Material, number: int) -> Material:
    """Return the episodes of some games, spread over all of them; 0 is all."""
    kept = episodes.some_games(material.mixture, number)
    return material._replace(
        mixture=[t for t in material.mixture if episodes.game_of(t) in kept],
        probes=[t for t in material.probes if episodes.game_of(t) in kept],
    )


def _examined(
    settings: WorldModelEvaluation,
    material: Material,
    examinee: Examinee,
    context: Context,
    cache: OutcomeCache,
    progress: Progress,
) -> tuple[list[StepOutcome], list[StepOutcome]]:
    """Return what a model says about every step of the mixture, and of the probes."""
    what = f"{examinee.name}, {context}"
    total = len(material.mixture) + len(material.probes)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(what, done, total)

    progress(what, 0, total)
    mixture, probes = (
        [
            o
            for outcomes in examine(
                examinee, part, context, cache=cache, batch=settings.batch, on_episode=step
            )
            for o in outcomes
        ]
        for part in (material.mixture, material.probes)
    )
    return mixture, probes


def _verified(
    examinee: TrainedExaminee,
    context: Context,
    trajectories: Sequence[Trajectory],
    settings: WorldModelEvaluation,
    progress: Progress,
) -> dict[str, Any]:
    """Generate at randomly drawn steps, and compare with what teacher forcing said there."""
    places = [(t, index) for t in trajectories for index in range(len(t.transitions))]
    drawn = random.Random(settings.seed).sample(places, min(settings.verify, len(places)))
    agree, values = 0, []
    for done, (trajectory, index) in enumerate(drawn):
        step = trajectory.transitions[index]
        forced = examinee.forced(trajectory, context)[index]
        [answer] = examinee.generators[context].predict([queries(trajectory, context)[index]])
        said = compare(answer, Outcome.of(step))
        agree += said.exact == forced.exact
        if said.exact and forced.whole and said.value is not None and forced.value_after is not None:
            values.append(abs(said.value - forced.value_after))
        progress(f"generating to verify {examinee.name}, {context}", done + 1, len(drawn))
    return {
        "model": examinee.name,
        "context": context,
        "steps": len(drawn),
        "agree": agree,
        "largest_value_difference": max(values, default=None),
    }


def _facts(trajectories: Sequence[Trajectory]) -> list[episodes.Facts]:
    return [fact for trajectory in trajectories for fact in episodes.facts(trajectory)]


def _probe_facts(
    material: Material, outcomes: Sequence[StepOutcome]
) -> tuple[list[episodes.Facts], list[StepOutcome]]:
    """Return the last step of every probe; the steps before are only the way there."""
    ends, at = [], 0
    for trajectory in material.probes:
        at += len(trajectory.transitions)
        ends.append((episodes.facts(trajectory)[-1], outcomes[at - 1]))
    return [f for f, _ in ends], [o for _, o in ends]


def _report(settings: WorldModelEvaluation, examined: Examined) -> dict[str, Any]:
    facts = _facts(examined.material.mixture)
    slices = [*figures.SLICES]
    if settings.split.startswith("valid") and not settings.data:
        known = episodes.seen_walkthroughs(examined.material.mixture, settings.split)
        slices.append(("walkthrough", lambda f: "in train" if f.game in known else "not in train"))
    return {
        "name": examined.name,
        "games": len({f.game for f in facts}),
        "contexts": {
            context: figures.figures(
                facts,
                mixture,
                probes=_probe_facts(examined.material, probes),
                slices=slices,
                seed=settings.seed,
            )
            | {"mistakes": figures.error_examples(facts, mixture)}
            for context, (mixture, probes) in examined.contexts.items()
        },
    }


def _compare(settings: WorldModelEvaluation, first: Examined, second: Examined) -> dict[str, Any]:
    """Return paired differences over the games that both were examined on."""
    kept = {episodes.game_of(t) for t in second.material.mixture}
    facts = _facts(first.material.mixture)
    where = [i for i, f in enumerate(facts) if f.game in kept]
    return {
        "first": first.name,
        "second": second.name,
        "contexts": {
            context: figures.differences(
                [facts[i] for i in where],
                [mixture[i] for i in where],
                second.contexts[context][0],
                seed=settings.seed,
            )
            for context, (mixture, _) in first.contexts.items()
        },
    }


def _curve(settings: WorldModelEvaluation, models: Sequence[Examined]) -> list[dict[str, Any]]:
    """Return exact match against training data, for the adapters whose label is a number."""
    points = []
    for choice, examined in zip(settings.adapters, models, strict=False):
        amount = amount_of(choice.label)
        if amount is not None:
            facts = _facts(examined.material.mixture)
            for context, (mixture, _) in examined.contexts.items():
                boot = Bootstrap([f.game for f in facts], seed=settings.seed)
                exact = [float(o.exact) for o in mixture]
                interval = {"em": boot.mean(exact), "em_macro": boot.macro(exact, [f.verb for f in facts])}
                points.append(
                    {"label": choice.label, "amount": amount, "context": context, **figures.to_json(interval)}
                )
    return sorted(points, key=lambda p: (p["context"], p["amount"]))


def _about(settings: WorldModelEvaluation, material: Material) -> dict[str, Any]:
    return {
        "split": "recorded" if settings.data else settings.split,
        **episodes.counts(material.mixture),
        "digest": episodes.episodes_digest(material.mixture),
        "probes": len(material.probes),
        "probes_digest": episodes.episodes_digest(material.probes),
        "train": {**episodes.counts(material.train), "digest": episodes.episodes_digest(material.train)},
    }
