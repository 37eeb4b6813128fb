"""Behaviours that gather experience, and the mixture that world models are trained and judged on.

A behaviour chooses commands in a text environment. The frozen mixture: a third of the episodes each by the
searching expert, the noisy expert and uniformly random admissible actions, and in all of them 5 % invalid
commands. Outside of the mixture, the clumsy expert makes the mistakes of a small policy: it counts on past the
last drawer and reaches for what is not there, so that a world model sees what these do. The expert that goes astray
first does almost the right task, so that a world model sees what does not solve it, and looks into places that are
not there. The teachers play as the expert does and think it through (`dyna_training.teachers`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from dyna_nodes.nouns import digest_of
from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.alfworld.near_miss import almost, is_goal_command
from dyna_training.environments.alfworld.priors import search_prior
from dyna_training.environments.alfworld.task import Task, kind
from dyna_training.environments.base import Expert, ForkableEnv

MixedName = Literal["expert", "noisy", "random", "clumsy", "astray"]
TeacherName = Literal["teacher", "teacher-future", "teacher-noisy"]
BehaviourName = Literal[MixedName, TeacherName]

BEHAVIOURS: Final[tuple[BehaviourName, ...]] = get_args(BehaviourName)
TEACHERS: Final[tuple[TeacherName, ...]] = get_args(TeacherName)
MIXTURE: Final[tuple[BehaviourName, ...]] = ("expert", "noisy", "random")
INVALID_RATE: Final = 0.05
NOISE: Final = 0.3
"""Share of the noisy expert's actions that are uniformly random."""
CLUMSY_RATE: Final = 0.4
"""Share of the clumsy expert's commands that do nothing."""
CLUMSY_NOISE: Final = 0.1
ASTRAY_RATE: Final = 0.25
"""Share of the astray expert's commands that look into places that are not there."""
ASTRAY_STEPS: Final = 25
"""After so many steps towards the wrong task the astray expert turns to the right one."""
RANDOM_STEPS: Final = (10, 50)
"""Length of a random episode is drawn uniformly from this range; experts stop when they have won."""


def mixture() -> dict[str, object]:
    """Return what the frozen mixture consists of; collections record it with its digest."""
    return {
        "behaviours": list(MIXTURE),
        "shares": "each behaviour plays every game once",
        "invalid_rate": INVALID_RATE,
        "noise": NOISE,
        "random_steps": list(RANDOM_STEPS),
    }


def mixture_digest() -> str:
    """Return the digest by which results name the mixture they were measured on."""
    return digest_of(mixture())[:16]


@dataclass(frozen=True)
class Choice:
    """A command with the thought behind it; ``expert`` tells whether the expert stands behind it."""

    command: str
    thought: str = ""
    expert: bool = False


class Behaviour(Protocol):
    """Chooses commands; ``expert`` follows the history whoever chooses, for labels."""

    name: str
    max_steps: int

    def choose(self, env: ForkableEnv, expert: Expert) -> Choice:
        """Choose the next command."""
        ...

    def observe(self, command: str, observation: str) -> None:
        """Take note of what the chosen command did."""
        ...


class Mixed:
    """An expert that with probability ``noise`` acts uniformly at random and sometimes says something
    invalid.

    Args:
        name: Which behaviour; ``expert`` has no noise, ``random`` nothing else.
        rng: The episode's random generator.
        max_steps: Longest episode; random episodes draw a shorter one.
    """

    def __init__(self, name: MixedName, rng: random.Random, max_steps: int = 50) -> None:
        self.name: str = name
        self.max_steps = min(max_steps, rng.randint(*RANDOM_STEPS)) if name == "random" else max_steps
        self._noise = {"expert": 0.0, "noisy": NOISE, "random": 1.0, "clumsy": CLUMSY_NOISE, "astray": 0.0}[
            name
        ]
        self._clumsy = name == "clumsy"
        self._astray = name == "astray"
        self._wrong: Task | None = None
        self._astray_steps = 0
        self._rng = rng

    def choose(self, env: ForkableEnv, expert: Expert) -> Choice:
        """Choose the next command.

        Raises:
            TypeError: The behaviour is one for households, and this is none.
        """
        if self._rng.random() < (CLUMSY_RATE if self._clumsy else INVALID_RATE):
            wrong = clumsy_command if self._clumsy and self._rng.random() < 0.7 else invalid_command
            return Choice(wrong(env, expert, self._rng))
        if self._rng.random() < self._noise:
            return Choice(self._rng.choice([c for c in env.admissible() if c != "help"]))
        if self._astray:
            searching = household_expert(expert)
            if self._rng.random() < ASTRAY_RATE:
                return Choice(missing_place_command(searching, self._rng))
            command = self._wrong_task(searching)
            if command is not None:
                return Choice(command)
        decision = expert.decide()
        return Choice(decision.action, decision.thought, expert=True)

    def observe(self, command: str, observation: str) -> None:
        """Take note of nothing: the expert follows the history."""

    def _wrong_task(self, expert: SearchingExpert) -> str | None:
        """Return the next command towards almost the right task; None when that is done or unknown."""
        if self._wrong is None:
            seen = {kind(thing) for things in expert.world.contents.values() for thing in things}
            self._wrong = next(iter(almost(expert.task, seen, self._rng)), None)
            if self._wrong is None:
                return None
        command = expert.pursuing(self._wrong).decide().action
        self._astray_steps += 1
        # With nothing left to search, an expert looks around for ever.
        if is_goal_command(self._wrong, command) or command == "look" or self._astray_steps >= ASTRAY_STEPS:
            self._astray = False
        return command


def household_expert(expert: Expert) -> SearchingExpert:
    """Return the expert, which must be one that searches a household.

    Raises:
        TypeError: It is another one.
    """
    if not isinstance(expert, SearchingExpert):
        raise TypeError(f"this behaviour knows households only; {type(expert).__name__} plays something else")
    return expert


def invalid_command(env: ForkableEnv, expert: Expert, rng: random.Random) -> str:
    """Return a plausible command that is not admissible now: right words, wrong place, hand or verb."""
    if not isinstance(expert, SearchingExpert):
        return env.inadmissible(rng)
    admissible = set(env.admissible())
    places = expert.world.receptacles or ["shelf 1"]
    things = sorted({o for seen in expert.world.contents.values() for o in seen}) or ["mug 1"]
    for _ in range(20):
        place, thing = rng.choice(places), rng.choice(things)
        command = rng.choice(
            (
                f"take {thing} from {place}",
                f"move {thing} to {place}",
                f"open {place}",
                f"close {place}",
                f"go to {place}",
                f"use {thing}",
                f"examine {thing}",
                f"examine {place}",
                f"heat {thing} with {place}",
                f"cool {thing} with {place}",
                f"clean {thing} with {place}",
                f"put {thing} in {place}",
                f"go to {place.split()[0]} {rng.randint(30, 99)}",
                f"take {thing}",
            )
        )
        if command not in admissible:
            return command
    return "dance"


def clumsy_command(env: ForkableEnv, expert: Expert, rng: random.Random) -> str:
    """Return what a small policy gets wrong: it counts on past the last one, or reaches for what is not here."""
    if not isinstance(expert, SearchingExpert):
        return env.inadmissible(rng)
    world = expert.world
    last: dict[str, int] = {}
    for place in world.receptacles:
        sort, _, number = place.partition(" ")
        last[sort] = max(last.get(sort, 0), int(number))
    sort = rng.choice(sorted(last) or ["shelf"])
    beyond = f"go to {sort} {last.get(sort, 0) + rng.randint(1, 8)}"
    here = world.here or rng.choice(world.receptacles or ("shelf 1",))
    wanted = expert.wanted
    commands = [
        beyond,
        beyond,
        f"go to {here}",
        f"take {wanted} {rng.randint(1, 3)} from {here}",
        f"open {here}",
    ]
    if world.holding:
        commands += [f"move {world.holding} to {rng.choice(world.receptacles)}", f"use {world.holding}"]
    admissible = set(env.admissible())
    wrong = [command for command in commands if command not in admissible]
    return rng.choice(wrong) if wrong else beyond


def missing_place_command(expert: SearchingExpert, rng: random.Random) -> str:
    """Return a command about a place that this room does not have, or that the agent is not at."""
    places = expert.world.receptacles or ("shelf 1",)
    present = {kind(place) for place in places}
    absent = sorted({k for prior in search_prior().values() for k in prior} - present) or ["shelf"]
    here = expert.world.here
    commands = [
        f"go to {rng.choice(absent)} {rng.randint(1, 3)}",
        f"examine {rng.choice(places)}",
        f"examine {kind(rng.choice(places))} {rng.randint(4, 40)}",
        f"go to {kind(rng.choice(places))} {rng.randint(4, 40)}",
    ]
    if here is not None:
        commands.append(f"go to {here}")
    return rng.choice(commands)


def other_commands(
    env: ForkableEnv, expert: Expert, rng: random.Random, taken: str, number: int
) -> list[str]:
    """Return commands to be tried in forks beside ``taken``: what the expert would do, what is admissible,
    and the mistakes of a small policy. Fewer than ``number`` where the draws repeat each other."""
    found: list[str] = []
    for _ in range(number):
        draw = rng.random()
        if draw < 0.3:
            command = expert.fork().decide().action
        elif draw < 0.7:
            command = rng.choice([c for c in env.admissible() if c != "help"])
        elif draw < 0.9:
            command = clumsy_command(env, expert, rng)
        else:
            command = invalid_command(env, expert, rng)
        if command != taken and command not in found:
            found.append(command)
    return found
