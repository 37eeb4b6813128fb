"""Tasks that are almost another one, and commands that would complete a task if all else were right.

A world model's success flag is only worth something if it tells these apart: the object is not clean yet, it is the
first of two, or it is another object.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from dyna_training.environments.alfworld.task import Task, kind, split_command

TRIED: Final = 12
"""So many other kinds of objects are tried at most."""


def almost(task: Task, kinds: Collection[str], rng: random.Random) -> list[Task]:
    """Return tasks that are almost this one, in the order in which they are to be tried.

    Of heating, cooling and cleaning tasks the preparation is skipped, of two objects one is left out; where there is
    nothing to skip, it is about another kind of object.

    Args:
        task: The task.
        kinds: Kinds of objects that there are.
        rng: Shuffles the kinds.
    """
    if task.task_type not in ("look_at_obj_in_light", "pick_and_place_simple"):
        return [Task("pick_and_place_simple", task.object, task.target)]
    others = sorted(set(kinds) - {task.object})
    rng.shuffle(others)
    return [Task(task.task_type, other, task.target) for other in others[:TRIED]]


def is_goal_command(task: Task, command: str) -> bool:
    """Return whether a command is of the kind that completes this task.

    For the tasks that end with a placement: moving an object of the wanted kind to a receptacle of the wanted
    kind, wherever the agent stands and whatever it holds. For looking at something in the light: using a lamp
    of the wanted kind. Such a command that does *not* complete the task is a near miss: the object is not
    clean yet, it is the first of two, the agent stands elsewhere, nothing is in its hand.
    """
    verb, first, second = split_command(command)
    if task.task_type == "look_at_obj_in_light":
        return verb == "use" and kind(first) == task.target
    return verb == "move" and kind(first) == task.object and kind(second) == task.target
