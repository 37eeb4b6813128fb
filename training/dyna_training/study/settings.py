"""The settings of a study: which arms, how much data, which games, what is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dyna_graph.config.problems import explain
from dyna_graph.config.source import Source, read_source
from dyna_graph.errors import ConfigError, Problem, suggestion
from dyna_graph.models import shipped_adapters
from dyna_training.collect import behaviour_names
from dyna_training.recipes import settings_of
from dyna_training.shipped import find_file, shipped_files

PACKAGE: Final = "dyna_training.study"
Arm = Literal[
    "distill-direct",
    "distill-no-thinking",
    "distill-full",
    "dit",
    "rft",
    "rft-matched",
    "vanilla-dyna",
    "ddt-next-state",
    "ddt-difference",
    "ddt-critique",
    "ddt-mixed",
]
ARMS: Final[tuple[Arm, ...]] = get_args(Arm)
IMITATION: Final[tuple[Arm, ...]] = ARMS[:4]
"""Arms that imitate the teacher; all others go on from ``dit``."""
OBJECTIVES: Final[Mapping[Arm, tuple[str, ...]]] = {
    "ddt-next-state": (),
    "ddt-difference": ("difference",),
    "ddt-critique": ("critique",),
    "ddt-mixed": ("difference", "critique"),
}
"""What has to be written beside the rollouts of a DDT arm before its first stage; a next state is there."""
PHASES: Final = {
    "imitation": "policy",
    "world_model_stage": "ddt",
    "policy_stage": "policy",
    "separate_world_model": "world-model",
}
"""The recipe of each training phase, by its name under ``recipes``."""
PROCESSES: Final = "processes"
"""The key beside a recipe's settings: how many processes train together."""
Domain = Literal["in", "out"]
Types = Literal["trained", "held-out", "all"]
METHODS: Final = ("structural", "extractive")
"""How thinking is shortened without a chat model."""
GENERATED: Final = "generated"
GROUNDED: Final = "grounded"
"""Who annotates and judges without a chat model: what the environment says."""
ALFWORLD: Final = "dyna/ALFWorld-v0"


class Section(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Teacher(Section):
    """Who is imitated, and on how many games; or, with ``data``, which episodes."""

    behaviours: tuple[str, ...] = Field(
        ("teacher",), min_length=1, description="Who plays, each every game; see `dyna collect --help`."
    )
    judged: str = Field("teacher", description="The behaviour that stands in the table as the teacher.")
    policy: str | None = Field(
        None,
        description="A chat model that plays instead of behaviours, such as openai:…; its name for the table, too.",
    )
    data: tuple[Path, ...] = Field(
        (),
        description="Episodes that are imitated instead of games being played: imported traces, for one. They are "
        "copied once; nobody stands in the table as the teacher then.",
    )
    games: int = Field(300, ge=1, description="Training games.")
    repeats: int = Field(
        1, ge=1, description="Episodes per game; each arm's recipe keeps the best, or all of them."
    )
    skip: int = Field(0, ge=0, description="Training games to leave out first.")
    max_steps: int = Field(50, ge=1, description="Longest episode of the teacher on training games.")


class Rollouts(Section):
    """What the policy plays on training games, to learn from."""

    games: int = Field(200, ge=1, description="Training games.")
    repeats: int = Field(3, ge=1, description="Episodes per game.")
    skip: int = Field(0, ge=0, description="Training games to leave out first; 0: those of the teacher.")


class EvaluationSet(Section):
    """Games that arms are compared on."""

    domain: Domain = Field(description="in: like the training games; out: not.")
    split: str = Field(description="Split of the environment.")
    games: int = Field(70, ge=1, description="Number of games.")
    skip: int = Field(0, ge=0, description="Games of the split to leave out first.")
    seed: int = Field(0, ge=0, description="Seeds the choice of games, the same for all arms.")
    task_types: Types = Field(
        "trained", description="trained: without the held-out task type; held-out; all."
    )


class EnvironmentStudy(Section):
    """The study in one environment."""

    environment: str = Field(ALFWORLD, description="Gymnasium id.")
    train: str = Field("train", description="Split of the training games.")
    arms: tuple[Arm, ...] | None = Field(
        None, min_length=1, description="Rows of this environment's table; none: those of the study."
    )
    held_out_task_type: str | None = Field(
        None, description="Task type that is in no training data, for evaluation out of domain."
    )
    teacher: Teacher = Field(
        default_factory=lambda: Teacher.model_validate({}), description="The teacher's games."
    )
    rollouts: Rollouts = Field(
        default_factory=lambda: Rollouts.model_validate({}), description="The policy's own games."
    )
    imagined: Rollouts = Field(
        default_factory=lambda: Rollouts.model_validate({}), description="Games that vanilla Dyna imagines."
    )
    states: int = Field(
        0,
        ge=0,
        description="States of the teacher's evaluated games in which every arm is asked what it foresees; 0: none.",
    )
    evaluate: dict[str, EvaluationSet] = Field(min_length=1, description="Sets of games, by name.")


class StudySettings(Section):
    """Everything that decides what a study finds."""

    study: Literal["dyna-think"] = Field("dyna-think", description="The study.")
    base: str = Field("smollm2", description="Base model: `smollm2`, a folder, or an id on the hub.")
    start: str | dict[Arm, str] | None = Field(
        None,
        description="Adapter that the imitating arms go on from: a folder, or a shipped one; by arm, where each has "
        "its own; none: a fresh one. With a held-out task type, one that never saw it; the shipped ones have seen all.",
    )
    arms: tuple[Arm, ...] = Field(ARMS, min_length=1, description="The rows of the table.")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="Training seeds.")
    rounds: int = Field(
        1, ge=1, description="Times of rollouts, stage 1 and stage 2, each from the newest policy."
    )
    memory: Literal["actions", "thoughts"] = Field(
        "actions", description="Whether the policy reads its earlier thoughts again, in training and in play."
    )
    temperature: float = Field(1.0, ge=0, description="Of rollouts and evaluation.")
    runs: int = Field(
        3, ge=1, description="Plays of each evaluated game: their average and the best of them."
    )
    max_steps: int = Field(50, ge=1, description="Longest episode of rollouts and evaluation.")
    max_tokens: int = Field(
        512,
        ge=1,
        description="Most tokens of a response; one that is cut has no action, and ends its episode.",
    )
    concurrency: int = Field(16, ge=1, description="Episodes that are played at once, in one batch.")
    annotator: str = Field(
        GROUNDED, description="Who writes differences and critiques: grounded, or a chat model."
    )
    judge: str = Field(
        GROUNDED,
        description="Who holds simulations against what happened: grounded, for this project's form of thinking, or a "
        "chat model, for any other.",
    )
    abbreviator: str = Field(
        "structural",
        description="Who shortens the teacher's thinking for DIT: structural, extractive, or a chat model.",
    )
    keep_under: int | None = Field(
        None,
        ge=0,
        description="Turns of at most so many tokens of thinking stay untouched; none: the method's own.",
    )
    matched_to: Arm = Field("ddt-critique", description="The arm whose gradient tokens `rft-matched` gets.")
    stage_minutes: float | None = Field(None, gt=0, description="A stage that takes longer is reported.")
    tolerated_failures: float = Field(
        0.02, ge=0, lt=1, description="Share of the episodes of a stage that may fail for good."
    )
    margin: float = Field(
        0.05, gt=0, lt=1, description="Loss of success that counts as none (DIT, full thinking)."
    )
    recipes: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description=f"Settings of the recipes by phase: {', '.join(PHASES)}; and `processes`, see `dyna train`.",
    )
    environments: dict[str, EnvironmentStudy] = Field(min_length=1, description="The study's parts, by name.")

    def start_of(self, arm: Arm) -> str | None:
        """Return the adapter that an imitating arm goes on from; None for a fresh one."""
        return self.start.get(arm) if isinstance(self.start, dict) else self.start


def shipped_studies() -> dict[str, Path]:
    """Return the study files that come with the package, by name."""
    return shipped_files(PACKAGE)


def read_study(name: str) -> StudySettings:
    """Return the settings in a study file, given by its path or by the name of a shipped one.

    Raises:
        ConfigError: Lists everything that is wrong, with file, line and key.
    """
    source = read_source(find_file(name, "study", PACKAGE))
    try:
        settings = StudySettings.model_validate(source.data)
    except ValidationError as error:
        raise ConfigError([*source.problems, *explain(error, StudySettings, source)]) from None
    source.problems += _problems(settings, source)
    source.raise_problems()
    return settings


def _problems(settings: StudySettings, source: Source) -> Iterator[Problem]:
    """Yield what is wrong with settings that are each valid by themselves."""

    def problem(message: str, *key: str | int) -> Problem:
        return Problem(message, source.file, source.line(key), ".".join(map(str, key)))

    for phase, values in settings.recipes.items():
        if phase not in PHASES:
            yield problem(f"unknown phase {phase!r}; {suggestion(phase, PHASES)}", "recipes", phase)
            continue
        fields = settings_of(PHASES[phase]).model_fields
        for key in values:
            if key == PROCESSES:
                if type(values[key]) is not int or values[key] < 1:
                    yield problem("this is a whole number ≥ 1", "recipes", phase, key)
            elif key == "method":
                yield problem("arms are LoRA adapters; `method` stays lora", "recipes", phase, key)
            elif key in _OWN:
                yield problem(f"{key!r} is set by the study itself", "recipes", phase, key)
            elif key not in fields:
                hint = suggestion(key, [*fields, PROCESSES], what="valid keys")
                yield problem(f"unknown setting {key!r} of the recipe; {hint}", "recipes", phase, key)
    if len(set(settings.seeds)) < len(settings.seeds):
        yield problem("a seed stands twice", "seeds")
    arms = {arm for part in settings.environments.values() for arm in part.arms or settings.arms}
    if "rft-matched" in arms and settings.matched_to not in OBJECTIVES:
        message = f"rft-matched gets the gradient tokens of a DDT arm; {', '.join(OBJECTIVES)}"
        yield problem(message, "matched_to")
    for key in ("judge", "annotator"):
        if (name := getattr(settings, key)) != GROUNDED and ":" not in name:
            yield problem(
                f"no {key} is called {name!r}, and it names no chat model; {suggestion(name, [GROUNDED])}",
                key,
            )
    if settings.abbreviator not in METHODS and ":" not in settings.abbreviator:
        hint = suggestion(settings.abbreviator, METHODS)
        yield problem(
            f"nobody shortens by the name {settings.abbreviator!r}, and it names no chat model; {hint}",
            "abbreviator",
        )
    shipped = [start for start in map(settings.start_of, IMITATION) if start in shipped_adapters()]
    for name, part in settings.environments.items():
        asked = any(games.task_types != "trained" for games in part.evaluate.values())
        if shipped and asked and part.held_out_task_type is not None and part.environment == ALFWORLD:
            message = (
                f"the shipped adapter {shipped[0]} was trained on this task type; begin with a fresh adapter"
            )
            yield problem(message, "environments", name, "held_out_task_type")
        teacher = part.teacher
        if teacher.data:
            where = ("environments", name, "teacher", "data")
            for path in teacher.data:
                if not path.exists():
                    yield problem(f"there is no {path}, seen from the working directory", *where)
            if others := sorted(teacher.model_fields_set - {"data"}):
                yield problem(
                    f"these episodes are there already: nothing is played for {others[0]!r}", *where
                )
            if part.states:
                message = "states are those of the teacher's plays, and who only left episodes plays nothing"
                yield problem(message, "environments", name, "states")
        for key, names in (("behaviours", teacher.behaviours), ("judged", (teacher.judged,))):
            for behaviour in names:
                if behaviour not in behaviour_names():
                    hint = suggestion(behaviour, behaviour_names(), what="there are")
                    where = ("environments", name, "teacher", key)
                    yield problem(f"unknown behaviour {behaviour!r}; {hint}", *where)
        for set_name, games in part.evaluate.items():
            where = ("environments", name, "evaluate", set_name)
            if games.task_types == "held-out" and part.held_out_task_type is None:
                yield problem("there is no held_out_task_type in this environment", *where, "task_types")
            if games.domain == "in" and games.task_types == "held-out":
                yield problem("games of the held-out task type are out of domain", *where, "domain")
            if games.split != part.train:
                continue
            if part.train != GENERATED:
                yield problem("these games are trained on; evaluate another split", *where, "split")
            elif games.seed in settings.seeds:
                message = "households of this seed are trained on; take a seed that is not among `seeds`"
                yield problem(message, *where, "seed")


_OWN: Final = (
    "data",
    "out",
    "adapter",
    "seed",
    "base",
    "memory",
    "thinking",
    "target_tokens",
    "imagined",
)
