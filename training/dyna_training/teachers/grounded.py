"""The grounded teacher: the searching expert chooses, and its choice is thought through in writing.

    dyna collect --split train --games 200 --behaviours teacher --out data/teacher

A turn's thinking verifies the last step, names candidates, imagines what each does, says why, and decides, in the
form of `dyna_nodes.codec.thinking`; detours stand in between (`detours`). No language model takes part. In the
history arm every outcome is what the history lets one expect; in the future arm it is what a fork of the environment
shows, as in ReSim (Dyna-Mind, arXiv 2510.09577), so that the thinking states facts that nobody could know.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from dyna_nodes.codec.thinking import OPTIONS, SO, InnerSimulation, sentences, simulation_line, simulation_of
from dyna_nodes.nouns import digest_of
from dyna_training.behaviours import Choice, TeacherName, household_expert
from dyna_training.environments.alfworld.experts import Decision, SearchingExpert
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import refusal
from dyna_training.environments.alfworld.task import kind
from dyna_training.environments.alfworld.tracking import named_things
from dyna_training.environments.base import Expert, ForkableEnv
from dyna_training.teachers import candidates, mistakes, outcomes
from dyna_training.teachers import detours as detour
from dyna_training.teachers.checks import verification


def distribution() -> dict[str, object]:
    """Return all that the teacher draws from; collections record it with its digest."""
    return {
        "detours": {"number": detour.NUMBER, "kinds": detour.KINDS},
        "candidates": {
            "others": candidates.OTHERS,
            "impossible": candidates.IMPOSSIBLE,
            "chosen first": candidates.CHOSEN_FIRST,
        },
        "outcomes": {"hope": outcomes.HOPE, "listed": outcomes.LISTED},
        "noise": {"share": mistakes.NOISE, "clumsy": mistakes.CLUMSY},
    }


def distribution_digest() -> str:
    """Return the digest by which results name the distribution."""
    return digest_of(distribution())[:16]


class _Last(NamedTuple):
    before: KnownWorld
    command: str
    observation: str
    simulation: InnerSimulation | None


class GroundedTeacher:
    """Plays as the searching expert does and writes down verbose thinking.

    Args:
        name: ``teacher`` knows the history, ``teacher-future`` looks into forks, ``teacher-noisy`` is the first
            with mistakes in between.
        rng: The episode's random generator.
        max_steps: Longest episode.
    """

    def __init__(self, name: TeacherName, rng: random.Random, max_steps: int = 50) -> None:
        self.name: str = name
        self.max_steps = max_steps
        self._rng = rng
        self._future = name == "teacher-future"
        self._noise = mistakes.noise_of(name)
        self._before: KnownWorld | None = None
        self._imagined: InnerSimulation | None = None
        self._last: _Last | None = None

    def choose(self, env: ForkableEnv, expert: Expert) -> Choice:
        """Choose the next command and think it through.

        Raises:
            TypeError: This is no household.
        """
        expert = household_expert(expert)
        self._before, self._imagined = expert.world.fork(), None
        if self._rng.random() < self._noise:
            return Choice(mistakes.mistake(env, expert, self._rng))
        choice = self._think(env, expert)
        self._imagined = simulation_of(choice.thought, choice.command)
        return choice

    def observe(self, command: str, observation: str) -> None:
        """Take note of what the command did, to verify it in the next turn."""
        if self._before is not None:
            self._last = _Last(self._before, command, observation, self._imagined)

    def _think(self, env: ForkableEnv, expert: SearchingExpert) -> Choice:
        decision, wanted, world = expert.decide(), wanted_kind(expert), expert.world
        others = candidates.other_candidates(expert, decision.action, wanted, self._rng)
        options = candidates.ordered(decision.action, others, self._rng)
        foreseen = {a: self._outcome(env, world, a, wanted) for a in options}
        chosen, why = decision.action, _reason(decision)
        if self._future and wanted and not world.find(wanted):
            found = [a for a in options if wanted in {kind(t) for t in named_things(foreseen[a])}]
            if found and chosen not in found:
                chosen, why = found[0], f"There I find a {wanted}."
        lines = [f"{OPTIONS}{'; '.join(options)}."]
        for option in options:
            line = simulation_line(option, foreseen[option])
            lines.append(line if option == chosen else f"{line}\n{self._dismissal(world, option)}")
        scene = detour.Scene(expert, chosen, tuple((a, foreseen[a]) for a in options if a != chosen), wanted)
        lines = self._with_detours(lines, detour.detours(scene, self._rng))
        if self._last is not None:
            lines.insert(0, self._verification(world, wanted))
        return Choice(chosen, "\n".join([*lines, why, f"{SO}{chosen}."]), expert=True)

    def _outcome(self, env: ForkableEnv, world: KnownWorld, action: str, wanted: str | None) -> str:
        return outcomes.shown(env, action) if self._future else outcomes.expected(world, action, wanted)

    def _dismissal(self, world: KnownWorld, option: str) -> str:
        if outcomes.is_impossible(world, option):
            return f"That is no use: {refusal(world, option)}."
        return self._rng.choice(
            ("That can wait.", "That is not what I need now.", "That would not bring me further now.")
        )

    def _with_detours(self, lines: list[str], drawn: list[tuple[str, str]]) -> list[str]:
        """Put detours between the lines; those that look back at the simulations come after all of them."""
        for name, line in drawn:
            lines.insert(len(lines) if name in detour.LATE else self._rng.randint(0, len(lines)), line)
        return lines

    def _verification(self, world: KnownWorld, wanted: str | None) -> str:
        assert self._last is not None
        before, command, observation, simulation = self._last
        return verification(before, world, command, observation, simulation, wanted)


def wanted_kind(expert: SearchingExpert) -> str | None:
    """Return the kind of object that has to be found or fetched next; None while it is at hand."""
    world, task = expert.world, expert.task
    if world.holding is None:
        return task.object
    if kind(world.holding) == task.object and task.task_type == "look_at_obj_in_light":
        return task.target
    return None


def _reason(decision: Decision) -> str:
    """Return an expert's reason without the decision that follows from it, which is a line of its own."""
    if decision.action.startswith("move ") and decision.thought.startswith("I put "):
        return "It belongs here."
    reason, _, _ = decision.thought.partition(";")
    return " ".join(s for s in sentences(reason) if not s.startswith("I go to ")).rstrip(".") + "."
