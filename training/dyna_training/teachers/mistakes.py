"""The mistakes of the noisy teachers: they have no thinking and are not imitated, and the next turn notices them."""

from __future__ import annotations

import random
from typing import Final

from dyna_training.behaviours import TeacherName, clumsy_command
from dyna_training.environments.base import Expert, ForkableEnv

NOISE: Final = 0.2
"""Share of a noisy teacher's steps that are mistakes."""
CLUMSY: Final = 0.6
"""Share of the mistakes that do nothing; the others are uniformly random admissible commands."""


def noise_of(name: TeacherName) -> float:
    """Return which share of a teacher's steps are mistakes."""
    return NOISE if name == "teacher-noisy" else 0.0


def mistake(env: ForkableEnv, expert: Expert, rng: random.Random) -> str:
    """Return a command that is drawn without asking the expert, who may have given it, too."""
    if rng.random() < CLUMSY:
        return clumsy_command(env, expert, rng)
    return rng.choice([c for c in env.admissible() if c != "help"])
