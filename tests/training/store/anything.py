"""Random nouns, every field of them, with what columns and JSON find hard; and small episodes by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from enum import StrEnum
from inspect import isclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from typer.testing import CliRunner

from dyna_graph import cli
from dyna_nodes.experience import TrajectoryWriter
from dyna_nodes.nouns import Action, Noun, Provenance, Trajectory, Transition

N = TypeVar("N", bound=Noun)
TEXTS = ["", "a", " \n\t", "naïve café 🌍", "\x00\x1f", '"quoted" \\ {}', "x" * 3000, "\u2028"]
HARD_TEXTS = ["\ud800", "file\udcff.txt"]
INTEGERS = [0, 1, -1, 2**63 - 1, -(2**63)]
HARD_INTEGERS = [2**63, -(2**100), 10**30]
FLOATS = [0.0, -0.0, 1.0, 1e-320, 1e308, 0.1 + 0.2, math.inf, -math.inf, math.nan]
JSON: list[Any] = [None, True, 3, 2.5, "text", [], {}, [1, {"a": [None]}], {"b": {"c": "ü"}}, 2**70]


def anything(annotation: Any, rng: random.Random, hard: bool) -> Any:
    """Return a random value of an annotation, such as the fields of nouns have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        inner = next(a for a in arguments if a is not NoneType)
        return None if rng.random() < 0.3 else anything(inner, rng, hard)
    if origin is Literal:
        return rng.choice(arguments)
    if origin is tuple:
        return tuple(anything(arguments[0], rng, hard) for _ in range(rng.randrange(3)))
    if origin is Mapping:
        names = rng.sample([t for t in TEXTS if "\x00" not in t], rng.randrange(4))
        value = (
            (lambda: rng.choice(JSON)) if arguments[1] is Any else (lambda: anything(arguments[1], rng, hard))
        )
        return {name: value() for name in names}
    if isclass(annotation) and issubclass(annotation, Noun):
        return noun(annotation, rng, hard)
    if isclass(annotation) and issubclass(annotation, StrEnum):
        return rng.choice(list(annotation))
    simple: dict[Any, list[Any]] = {
        str: TEXTS + HARD_TEXTS * hard,
        int: INTEGERS + HARD_INTEGERS * hard,
        float: FLOATS,
        bool: [True, False],
    }
    return rng.choice(simple[annotation])


def noun(kind: type[N], rng: random.Random, hard: bool) -> N:
    """Return a noun with random values in all of its fields."""
    values = {name: anything(field.annotation, rng, hard) for name, field in kind.model_fields.items()}
    return kind.model_validate(values)


def episodes(number: int, *, hard: bool = False, seed: int = 0) -> list[Trajectory]:
    """Return random episodes with ids of their own, some without steps."""
    rng = random.Random(seed)
    return [noun(Trajectory, rng, hard).model_copy(update={"id": f"episode-{i}"}) for i in range(number)]


def episode(
    id: str,
    *actions: str,
    game: str = "a-b-c/one",
    won: bool = True,
    policy: str = "expert",
    task: str = "",
    split: str = "train",
    thought: str = "I look.",
) -> Trajectory:
    """Return an episode in a household; what is observed follows from the action."""
    steps = tuple(
        Transition(
            id=f"{id}-{i}",
            trajectory=id,
            index=i,
            thought=thought,
            action=Action.command(action),
            observation=f"You {action}.",
            reward=float(won and i == len(actions) - 1),
            done=won and i == len(actions) - 1,
            time=float(len(id)),
        )
        for i, action in enumerate(actions)
    )
    environment = f"dyna/ALFWorld-v0:{game}" if game else ""
    origin = Provenance(source="collect", policy=policy, environment=environment, split=split, seed=0)
    return Trajectory(
        id=id,
        task=task or f"The room of {game}.",
        hidden_state=f"state of {game}",
        transitions=steps,
        outcome="success" if won else "failure",
        provenance=origin,
    )


def written(file: Path, *trajectories: Trajectory) -> Path:
    """Write episodes to a file of lines; return the file."""
    with TrajectoryWriter(file) as writer:
        for trajectory in trajectories:
            writer.append(trajectory)
    return file


def dyna(*arguments: object) -> tuple[int, str]:
    """Run a command; return exit code and all that it said."""
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments], prog_name="dyna")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
