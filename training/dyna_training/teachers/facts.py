"""What thinking states as a fact, and how much of it nobody could know at that time.

    dyna traces facts data/teacher data/teacher-future

A student of a teacher that knows drawers which were never opened learns to make things up. Counted are the certain
sentences of all simulations, other than that a command does what it is for (``You arrive at desk 1.``), held against
what the history lets one expect: of households `outcomes.expected`, of TextWorld's games `KnownGame.foreseen`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from dyna_nodes.codec.thinking import InnerSimulation, certain_holds, holds, sentences, simulations
from dyna_nodes.experience import Problem
from dyna_nodes.nouns import Trajectory
from dyna_training.data import read_trajectories, trajectory_files
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.task import split_command
from dyna_training.environments.alfworld.tracking import success_text
from dyna_training.environments.catalogue import TEXTWORLD
from dyna_training.environments.textworld.knowledge import KnownGame, says_it_works
from dyna_training.teachers.outcomes import expected

RATES: Final = {
    "unknown": "unknown",
    "against": "against",
    "unseen": "unseen",
    "certain": "certain true",
    "all": "all true",
}
"""Rates of `fact_figures`, with their headings: three per fact, two per simulation of what was done."""
_THING: Final = re.compile(r"\b[a-z]+ \d+\b")


class Stated(NamedTuple):
    """Counts of the facts of a turn.

    Attributes:
        facts: Facts that its simulations state.
        unknown: Facts that the history does not determine.
        against: Facts that are not what the history determines; None where that cannot be told.
        unseen: Facts that name something which the history never named; None where that cannot be told.
    """

    facts: int
    unknown: int
    against: int | None
    unseen: int | None


class TurnFacts(NamedTuple):
    """Counts of one turn that simulates.

    Attributes:
        trajectory: Id of its trajectory.
        simulations: Simulations in its thinking.
        stated: Facts that these state.
        unknown: See `Stated`, as the next two.
        against: Facts that are not what the history determines.
        unseen: Facts that name something which the history never named.
        executed: Whether the executed action is simulated.
        certain: Whether everything certain in that simulation came true.
        all: Whether its hypotheses came true as well.
    """

    trajectory: str
    simulations: int
    stated: int
    unknown: int
    against: int | None
    unseen: int | None
    executed: bool
    certain: bool
    all: bool


class _History(Protocol):
    """What is known at a turn, and what of its facts is not."""

    def count(self, imagined: Sequence[InnerSimulation]) -> Stated: ...

    def observe(self, action: str, observation: str) -> None: ...


def turn_facts(trajectory: Trajectory) -> Iterator[TurnFacts]:
    """Yield the counts of the turns of a trajectory that simulate.

    Raises:
        ValueError: Of its environment nobody can tell what the history determines.
    """
    known = _history(trajectory)
    for step in trajectory.transitions:
        action = step.action.text
        imagined = simulations(step.thought)
        if imagined:
            own = next((s for s in reversed(imagined) if s.action == action), None)
            yield TurnFacts(
                trajectory.id,
                len(imagined),
                *known.count(imagined),
                own is not None,
                own is not None and certain_holds(own, step.observation),
                own is not None and holds(own, step.observation),
            )
        known.observe(action, step.observation)


def _history(trajectory: Trajectory) -> _History:
    if trajectory.provenance.environment.startswith(f"{TEXTWORLD}:"):
        return _TextWorldHistory(trajectory.task)
    return _HouseholdHistory(trajectory.task)


class _HouseholdHistory:
    def __init__(self, task: str) -> None:
        self._world = KnownWorld(task)
        if self._world.task is None or not self._world.receptacles:
            raise ValueError(f"{task[:80]!r} is the beginning of no game of ALFWorld, nor is it TextWorld's")
        self._named = set(_THING.findall(task))

    def count(self, imagined: Sequence[InnerSimulation]) -> Stated:
        facts = [(s, sentence) for s in imagined for sentence in stated_facts(s)]
        judged = [_judge(self._world, s.action, sentence) for s, sentence in facts]
        unseen = sum(not self._named.issuperset(_named(s, sentence)) for s, sentence in facts)
        return Stated(len(facts), judged.count("unknown"), judged.count("against"), unseen)

    def observe(self, action: str, observation: str) -> None:
        self._world.observe(action, observation)
        self._named.update(_THING.findall(observation))


class _TextWorldHistory:
    def __init__(self, opening: str) -> None:
        self._game = KnownGame(opening)

    def count(self, imagined: Sequence[InnerSimulation]) -> Stated:
        facts = unknown = 0
        for simulation in imagined:
            action, said = simulation.action, sentences(simulation.certain)
            known = set(sentences(self._game.foreseen(action, simulation.certain)))
            # That a command works is no fact, but where that depends on what was never read, as with cooking.
            stated = [s for s in said if s not in known or not says_it_works(action, s)]
            facts += len(stated)
            unknown += sum(sentence not in known for sentence in stated)
        return Stated(facts, unknown, None, None)

    def observe(self, action: str, observation: str) -> None:
        self._game.observe(action, observation)


def facts_of(path: Path) -> tuple[list[TurnFacts], list[str]]:
    """Return the counts of all turns in a file or folder that simulate, and what could not be read or judged.

    Raises:
        FileNotFoundError: There are no trajectories.
    """
    problems: list[Problem] = []
    turns: list[TurnFacts] = []
    strange: list[str] = []
    for file in trajectory_files([path]):
        for trajectory in read_trajectories([file], problems, imagined=True):
            try:
                turns += turn_facts(trajectory)
            except ValueError as error:
                strange.append(f"{file}: trajectory {trajectory.id}: {error}")
    return turns, [*map(str, problems), *strange]


def stated_facts(simulation: InnerSimulation) -> list[str]:
    """Return the certain sentences of a simulation, less the one that says that the command works."""
    verb, first, second = split_command(simulation.action)
    works = success_text(verb, first, second)
    return [s for s in sentences(simulation.certain) if s != works]


def _judge(world: KnownWorld, action: str, sentence: str) -> str:
    """Say whether a fact is ``known``, ``unknown``, or ``against`` what is known."""
    determined = world.predict(action)
    if sentence in sentences(determined or expected(world, action, None)) or _is_remembered(
        world, action, sentence
    ):
        return "known"
    return "unknown" if determined is None else "against"


def _is_remembered(world: KnownWorld, action: str, sentence: str) -> bool:
    """Return whether a fact describes a place as it was last seen."""
    return sentence in sentences(world.description(split_command(action)[1]) or "")


def _named(simulation: InnerSimulation, sentence: str) -> set[str]:
    return set(_THING.findall(sentence)) - set(_THING.findall(simulation.action))


def fact_figures(turns: Sequence[TurnFacts], *, seed: int = 0) -> dict[str, Any]:
    """Return the rates with 95 % intervals, bootstrapped by trajectory.

    Args:
        turns: What `turn_facts` yields.
        seed: Seeds the bootstrap.

    Returns:
        Counts; ``unknown``, ``against`` and ``unseen`` per stated fact; ``certain`` and ``all`` per turn whose
        executed action is simulated. ``against`` and ``unseen`` are of households only.
    """
    import numpy as np

    from dyna_training.evaluation.statistics import Bootstrap

    boot = Bootstrap([turn.trajectory for turn in turns], seed=seed)
    column = {
        name: np.array([getattr(t, name) or 0 for t in turns], dtype=float) for name in TurnFacts._fields[1:]
    }
    told = np.array([t.unseen is not None for t in turns])
    executed = column["executed"] > 0
    return {
        "turns": len(turns),
        "simulations": int(column["simulations"].sum()),
        "stated": int(column["stated"].sum()),
        "executed": int(executed.sum()),
        "unknown": boot.ratio(column["unknown"], column["stated"]).to_json(),
        **{
            name: boot.ratio(column[name], np.where(told, column["stated"], 0)).to_json()
            for name in ("against", "unseen")
        },
        **{name: boot.mean(column[name], where=executed).to_json() for name in ("certain", "all")},
    }


def percent(rate: dict[str, Any]) -> str:
    """Return a rate of `fact_figures` in percent with its interval; a dash where there is nothing to rate."""
    if rate["value"] is None:
        return "–"
    spread = "" if rate["low"] is None else f" ({100 * rate['low']:.1f}–{100 * rate['high']:.1f})"
    return f"{100 * rate['value']:.1f}{spread}"
