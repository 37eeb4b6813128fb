"""A teacher for any environment that forks: its expert chooses, and forks show what the choice and others would do.

    dyna collect --environment dyna/TextWorld-v0 --behaviours teacher --out data/teacher

In the history arm the expert says how much of an outcome the history lets one expect (`Foreseeing`), and what it hopes
for where something is open. Of the environment itself the teacher knows nothing but actions and answers, so where the
expert cannot tell there is the future arm only: its thinking states as facts what nobody could know, as ReSim's does
(Dyna-Mind, arXiv 2510.09577). Households have a teacher of their own (`dyna_training.teachers.grounded`).
"""

from __future__ import annotations

import random
from typing import Final

from dyna_nodes.codec.thinking import CHECK, OPTIONS, SO, simulation_line, simulation_of
from dyna_nodes.nouns import digest_of
from dyna_training.annotate.plain import saying
from dyna_training.behaviours import Choice, TeacherName
from dyna_training.environments.base import Expert, Foreseeing, ForkableEnv
from dyna_training.teachers import mistakes
from dyna_training.teachers.candidates import CHOSEN_FIRST, OTHERS, ordered
from dyna_training.teachers.checks import against
from dyna_training.teachers.detours import LATE, NUMBER
from dyna_training.teachers.outcomes import shown

KINDS: Final = ("restate", "recheck", "return")
"""Kinds of detours; a turn has each at most once."""
SAID: Final = 3
"""An imagined outcome has at most so many sentences."""
DISMISSALS: Final = ("That can wait.", "That is not what I need now.", "That would not bring me further now.")


def distribution() -> dict[str, object]:
    """Return all that the teacher draws from; collections record it with its digest."""
    return {
        "detours": {"number": NUMBER, "kinds": KINDS},
        "candidates": {"others": OTHERS, "chosen first": CHOSEN_FIRST},
        "outcomes": {"said": SAID},
        "noise": {"share": mistakes.NOISE, "clumsy": mistakes.CLUMSY},
    }


def distribution_digest() -> str:
    """Return the digest by which results name the distribution."""
    return digest_of(distribution())[:16]


class ForkingTeacher:
    """Plays as the environment's expert does and writes down verbose thinking.

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
        self._seen = ""
        self._thought = ""
        self._check = ""

    def choose(self, env: ForkableEnv, expert: Expert) -> Choice:
        """Choose the next command and think it through.

        Raises:
            TypeError: This expert cannot tell what nobody could know, and this is not the future arm.
        """
        if self._noise and self._rng.random() < self._noise:
            self._thought = ""
            return Choice(mistakes.mistake(env, expert, self._rng))
        decision = expert.decide()
        chosen = decision.action
        options = ordered(chosen, self._others(env, chosen), self._rng)
        foreseen = {
            option: first_sentences(self._foreseen(env, expert, option))
            for option in options
            if _readable(option)
        }
        lines = [f"{OPTIONS}{'; '.join(options)}."]
        for option in [option for option in options if foreseen.get(option)]:
            line = simulation_line(option, foreseen[option])
            lines.append(line if option == chosen else f"{line}\n{self._rng.choice(DISMISSALS)}")
        others = [(option, said) for option, said in foreseen.items() if option != chosen and said]
        for kind, line in self._detours(others):
            lines.insert(len(lines) if kind in LATE else self._rng.randint(0, len(lines)), line)
        reason = " ".join(decision.thought.split())
        self._thought = "\n".join(filter(None, [self._check, *lines, reason, f"{SO}{chosen}."]))
        return Choice(chosen, self._thought, expert=True)

    def observe(self, command: str, observation: str) -> None:
        """Take note of what the command did, to verify it in the next turn."""
        self._seen = first_sentences(observation, 1).rstrip(".!?")
        imagined = simulation_of(self._thought, command)
        self._check = f"{CHECK}{self._seen}{against(imagined, observation)}." if self._seen else ""

    def _foreseen(self, env: ForkableEnv, expert: Expert, option: str) -> str:
        outcome = shown(env, option)
        if self._future:
            return outcome
        if not isinstance(expert, Foreseeing):
            raise TypeError(
                f"{type(expert).__name__} cannot tell what nobody could know; take teacher-future"
            )
        return expert.foreseen(option, outcome)

    def _others(self, env: ForkableEnv, chosen: str) -> list[str]:
        """Return other candidates: admissible commands, none twice."""
        there = [command for command in env.admissible() if command != chosen]
        wanted = self._rng.choices(list(OTHERS), list(OTHERS.values()))[0]
        return self._rng.sample(there, min(wanted, len(there)))

    def _detours(self, others: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return pairs of kind and line; the lines are true and lead nowhere."""
        lines = {"restate": "Let me think about what I was asked to do once more."}
        if self._seen:
            lines["recheck"] = f"Let me check that again: {self._seen}."
        if others:
            option, outcome = self._rng.choice(others)
            lines["return"] = f"Or should I {option} after all? {outcome} No, that does not help as much."
        wanted = self._rng.choices(list(NUMBER), list(NUMBER.values()))[0]
        there = [kind for kind in KINDS if kind in lines]
        return [(kind, lines[kind]) for kind in self._rng.sample(there, min(wanted, len(there)))]


def _readable(action: str) -> bool:
    """Tell whether a simulation of an action can be read; a search with a colon in it is not told from its outcome."""
    return simulation_of(simulation_line(action, "It."), action) is not None


def first_sentences(text: str, number: int = SAID) -> str:
    """Return the first sentences of an observation that say something."""
    return " ".join(saying(text)[:number])
