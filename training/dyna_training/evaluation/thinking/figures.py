"""World-model accuracy inside a policy's thinking, from judged turns to figures with intervals.

Dyna-Think (arXiv 2506.00320, section 4) takes the simulations out of the thinking and judges them against the true
next observation. A policy that simulates seldom, and only what is easy, is accurate among what it simulates; so
accuracy is multiplied by coverage: the share of *all* turns with a right simulation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dyna_nodes.codec.thinking import sentences
from dyna_nodes.nouns import Query, Trajectory
from dyna_nodes.protocols import WorldModel
from dyna_training.evaluation.episodes import game_of
from dyna_training.evaluation.figures import NOTHING
from dyna_training.evaluation.statistics import Bootstrap
from dyna_training.evaluation.thinking.correlation import Correlation, Figure, GameScore, correlation
from dyna_training.evaluation.thinking.results import (
    By,
    Hallucination,
    Mistake,
    Reading,
    Readings,
    ThinkingFigures,
    Trivial,
)
from dyna_training.evaluation.thinking.turns import (
    GROUNDED,
    JudgedTurn,
    Judgement,
    ThinkingJudge,
    claim,
    judged_turns,
)

MISTAKES: Final = 12
"""Wrong simulations that are shown, spread over all of them."""

Flags = NDArray[np.bool_]


_BY: Final[tuple[tuple[By, Callable[[JudgedTurn], str | None]], ...]] = (
    ("action", lambda t: t.facts.verb if t.acted else None),
    ("knowledge", lambda t: t.knowledge),
    ("effect", lambda t: _effect(t) if t.acted else None),
    ("task_type", lambda t: _task_type(t)),
)


def _task_type(turn: JudgedTurn) -> str | None:
    """Return the type of task; of a game whose name has parts, such as ``cooking/level=5/17``, it is the first."""
    kind, slash, _ = turn.facts.game.partition(":")[2].partition("/")
    return turn.facts.task_type or (kind if slash else None)


def _effect(turn: JudgedTurn) -> str:
    return "nothing happens" if turn.facts.observation == NOTHING else "something happens"


def thinking_figures(
    trajectories: Iterable[Trajectory],
    judge: ThinkingJudge | None = None,
    *,
    baselines: Mapping[str, WorldModel] | None = None,
    seed: int = 0,
) -> ThinkingFigures:
    """Measure how well the simulations in a policy's thinking foretell what its actions do.

    Args:
        trajectories: Rollouts of *one* policy; every executed turn counts.
        judge: Who judges a simulation; None is the grounded judge, which reads this project's form of thinking.
        baselines: World models that write simulations by rote on the same turns, by name; see `trivial`.
        seed: Seed of the bootstrap over games.

    Raises:
        ValueError: There is no executed turn.

    Example:
        >>> figures = thinking_figures(read_trajectories([Path("data/rollouts")]))  # doctest: +SKIP
        >>> figures.overall.strict.product.value  # doctest: +SKIP
        0.61
    """
    known = list(trajectories)
    return figures_of(known, judged_turns(known, judge), baselines=baselines, played=True, seed=seed)


def figures_of(
    trajectories: Sequence[Trajectory],
    turns: Sequence[JudgedTurn],
    *,
    baselines: Mapping[str, WorldModel] | None = None,
    played: bool,
    seed: int = 0,
) -> ThinkingFigures:
    """Compute figures from judged turns.

    Args:
        trajectories: Where the turns are from.
        turns: What was judged.
        baselines: See `thinking_figures`.
        played: Whether the policy itself played them to their end, so that success is its own.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: There is no judged turn.
    """
    judged = [t for t in turns if t.judgement.simulated is not None]
    unjudged = Counter(t.judgement.problem.partition(": ")[0] for t in turns if t.judgement.simulated is None)
    if not judged:
        why = f"; the judge failed on all {len(turns)}: {next(iter(unjudged))}" if turns else ""
        raise ValueError(f"there is no turn whose thinking can be judged{why}")
    boot = Bootstrap([t.facts.game for t in judged], seed=seed)
    names = {by: np.array([of(t) or "" for t in judged]) for by, of in _BY}
    success, of_all, of_covered = _with_success(trajectories, judged, seed) if played else (None, None, None)
    return ThinkingFigures(
        trajectories=len(trajectories),
        games=len({t.facts.game for t in judged}),
        turns=len(judged),
        unjudged=dict(unjudged),
        judged_by=Counter(t.judgement.judge for t in judged),
        unread=sum(not t.judgement.readable for t in judged),
        without_action=sum(not t.acted for t in judged),
        overall=_readings(boot, judged),
        by={
            by: {str(name): _readings(boot, judged, found == name) for name in sorted(set(found) - {""})}
            for by, found in names.items()
        },
        hallucination=_hallucination(boot, judged),
        trivial=_trivial(boot, trajectories, judged, baselines or {}),
        correlation=of_all,
        correlation_covered=of_covered,
        success=success,
        mistakes=_mistakes(judged),
    )


READINGS: Final[Mapping[str, Callable[[JudgedTurn], bool | None]]] = {
    "strict": lambda t: t.judgement.correct,
    "certain": lambda t: t.judgement.certain_correct,
    "informed": lambda t: t.informed,
    "exact": lambda t: t.judgement.exact,
}
"""Ways to read what came true of a simulation, from one that counts hypotheses as claims; None: not told."""


def _flags(turns: Sequence[JudgedTurn], of: Callable[[JudgedTurn], object]) -> Flags:
    return np.array([bool(of(t)) for t in turns], dtype=bool)


def _readings(boot: Bootstrap, turns: Sequence[JudgedTurn], where: Flags | None = None) -> Readings:
    inside = np.ones(len(turns), dtype=bool) if where is None else where

    def reading(said: Callable[[JudgedTurn], bool | None]) -> Reading:
        covered = _flags(turns, lambda t: said(t) is not None)
        right = _flags(turns, said)
        return Reading(
            coverage=Figure.of(boot.mean(covered, where=inside)),
            accuracy=Figure.of(boot.mean(right, where=inside & covered)),
            product=Figure.of(boot.mean(right, where=inside)),
        )

    return Readings(**{name: reading(said) for name, said in READINGS.items()})


def _hallucination(boot: Bootstrap, turns: Sequence[JudgedTurn]) -> Hallucination | None:
    known = _flags(turns, lambda t: t.knowledge is not None and t.judgement.judge == GROUNDED)
    simulated = known & _flags(turns, lambda t: t.judgement.simulated)
    if not simulated.any():
        return None
    undetermined = _flags(turns, lambda t: t.knowledge != "determined")
    false = np.array([t.judgement.false for t in turns], dtype=float) * undetermined
    certain, supposed, supposed_true = (
        np.array([getattr(t.judgement, name) for t in turns], dtype=float)
        for name in ("certain", "supposed", "supposed_true")
    )
    return Hallucination(
        facts=Figure.of(boot.ratio(false, certain, where=simulated)),
        turns=Figure.of(boot.mean(false > 0, where=simulated)),
        open_turns=Figure.of(boot.mean(false > 0, where=simulated & undetermined)),
        hypotheses=Figure.of(boot.ratio(supposed_true, supposed, where=simulated)),
    )


def _trivial(
    boot: Bootstrap,
    trajectories: Sequence[Trajectory],
    turns: Sequence[JudgedTurn],
    baselines: Mapping[str, WorldModel],
) -> tuple[Trivial, ...]:
    by_id = {t.id: t for t in trajectories}
    queries = (
        [
            Query(
                history=by_id[t.trajectory].history(t.index),
                action=by_id[t.trajectory].transitions[t.index].action,
            )
            for t in turns
        ]
        if baselines
        else []
    )
    covered = _flags(turns, lambda t: t.judgement.simulated)
    right, informed = _flags(turns, lambda t: t.judgement.correct), _flags(turns, lambda t: t.informed)
    found = []
    for name, model in baselines.items():
        rote = [
            replace(turn, judgement=_claimed(turn, prediction.observation))
            for turn, prediction in zip(turns, model.predict(queries), strict=True)
        ]
        true, knowing = _flags(rote, lambda t: t.judgement.correct), _flags(rote, lambda t: t.informed)
        found.append(
            Trivial(
                name=name,
                all_turns=Figure.of(boot.mean(true)),
                covered_turns=Figure.of(boot.mean(true, where=covered)),
                informed=Figure.of(boot.mean(knowing)),
                exact=Figure.of(boot.mean(_flags(rote, lambda t: t.judgement.exact))),
                lead=Figure.of(boot.difference(right, true)),
                lead_covered=Figure.of(boot.difference(right, true, where=covered)),
                lead_informed=Figure.of(boot.difference(informed, knowing)),
            )
        )
    return tuple(found)


def _claimed(turn: JudgedTurn, outcome: str | None) -> Judgement:
    """Judge what was said by rote; nothing was said where there is nothing to say it about."""
    if not turn.acted or not sentences(outcome or ""):
        return Judgement(judge=GROUNDED)
    return claim(outcome or "", turn.facts.observation)


def _with_success(
    trajectories: Sequence[Trajectory], turns: Sequence[JudgedTurn], seed: int
) -> tuple[Figure | None, Correlation | None, Correlation | None]:
    """Return the success, and the correlations of coverage × accuracy and of accuracy with it."""
    ended = [t for t in trajectories if t.outcome != "unknown"]
    if not ended:
        return None, None, None
    wins: dict[str, list[bool]] = {}
    for trajectory in ended:
        wins.setdefault(game_of(trajectory), []).append(trajectory.outcome == "success")
    ids = {t.id for t in ended}
    by_game: dict[str, list[JudgedTurn]] = {}
    for turn in turns:
        if turn.trajectory in ids:
            by_game.setdefault(turn.facts.game, []).append(turn)

    def scores(among: Callable[[JudgedTurn], object]) -> list[GameScore]:
        found = []
        for game, of_game in by_game.items():
            counted = [bool(t.judgement.correct) for t in of_game if among(t)]
            accuracy = sum(counted) / len(counted) if counted else None
            success = sum(wins[game]) / len(wins[game])
            kind = _task_type(of_game[0]) or game.partition(":")[0]
            found.append(GameScore(game, kind, accuracy, success))
        return found

    boot = Bootstrap([game_of(t) for t in ended], seed=seed)
    return (
        Figure.of(boot.mean([t.outcome == "success" for t in ended])),
        correlation(scores(lambda t: True), seed=seed),
        correlation(scores(lambda t: t.judgement.simulated), seed=seed),
    )


def _mistakes(turns: Sequence[JudgedTurn]) -> tuple[Mistake, ...]:
    wrong = [t for t in turns if t.judgement.correct is False]
    number = min(MISTAKES, len(wrong))
    return tuple(
        Mistake(
            trajectory=turn.trajectory,
            index=turn.index,
            action=turn.facts.command,
            knowledge=turn.knowledge,
            imagined=turn.judgement.outcome,
            observed=turn.facts.observation,
        )
        for turn in (wrong[i * len(wrong) // number] for i in range(number))
    )
