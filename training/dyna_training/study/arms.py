"""The stages of the study ``dyna-think``: from the teacher's games to every arm's evaluation.

    teacher ─► abbreviated ─► imitation/ARM ─► rollouts ─► annotated/ARM ─► stage1/ARM ─► stage2/ARM ─► evaluate/ARM/SET

Dyna-Think (arXiv 2506.00320, sections 3 and 4). Stages are named ``ENVIRONMENT/KIND/…/seedN``. The teacher's games,
the shortened thinking and the choice of all games are the same for all seeds, so that no game of the rollouts is one
of the teacher's unless the settings say so; a seed is a training seed, and what a policy plays is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dyna_graph.config.source import write_yaml
from dyna_training.study.settings import (
    ALFWORLD,
    GROUNDED,
    IMITATION,
    METHODS,
    OBJECTIVES,
    PROCESSES,
    Arm,
    EnvironmentStudy,
    EvaluationSet,
    Rollouts,
    StudySettings,
    Types,
)
from dyna_training.study.stages import Stage, in_order

Words = tuple[str, ...]
TEACHER: Final = "teacher"
"""The row of the teacher itself, in the table."""


def build(settings: StudySettings) -> dict[str, Stage]:
    """Return the stages of a study, in order."""
    stages: list[Stage] = []
    for name, part in settings.environments.items():
        stages += Part(settings, name, part).stages()
    return in_order(stages)


class Part:
    """The study in one environment.

    Args:
        settings: The settings of the study.
        name: Name of this part.
        part: Its own settings.
    """

    def __init__(self, settings: StudySettings, name: str, part: EnvironmentStudy) -> None:
        self.settings = settings
        self.name = name
        self.part = part
        self.arms: tuple[Arm, ...] = settings.arms if part.arms is None else part.arms
        self.rows: Words = self.arms if part.teacher.data else (TEACHER, *self.arms)

    def stages(self) -> Iterator[Stage]:
        """Yield the stages, in no particular order; one that several arms share only once."""
        made: dict[str, Stage] = {}
        stages = [self.teacher(), *self.teacher_evaluations(), *self.judgements(TEACHER)]
        for seed in self.settings.seeds:
            for arm in self.arms:
                stages += self.arm(arm, seed)
                stages += self.evaluations(arm, seed)
                stages += self.judgements(arm, seed)
                stages += self.foresights(arm, seed)
        for stage in stages:
            made.setdefault(stage.name, stage)
        yield from made.values()

    # The teacher.

    def teacher(self) -> Stage:
        """Return the stage in which the teacher plays training games, or its episodes are taken over."""
        teacher = self.part.teacher
        name = self._name("teacher")
        if teacher.data:
            words: Words = ("data", "filter", *map(str, teacher.data), "--out", _data(name))
            return Stage(name, (words,), resumes=False)
        games = Rollouts(games=teacher.games, repeats=teacher.repeats, skip=teacher.skip)
        words = self._training_games(games, name)
        return Stage(name, ((*words, *self._teaches(teacher.behaviours, teacher.max_steps)),))

    def abbreviated(self) -> Stage:
        """Return the stage in which its thinking is shortened."""
        name, teacher = self._name("abbreviated"), self._name("teacher")
        words: Words = ("traces", "abbreviate", "--data", _data(teacher), "--base", self.settings.base)
        by = self.settings.abbreviator
        words += ("--method", by) if by in METHODS else ("--method", "chat", "--model", by)
        if self.settings.keep_under is not None:
            words += ("--keep-under", str(self.settings.keep_under))
        return Stage(name, ((*words, "--out", _data(name)),), (teacher,), resumes=False)

    # The arms.

    def arm(self, arm: Arm, seed: int) -> list[Stage]:
        """Return all stages that an arm needs, up to its policy."""
        if arm in IMITATION:
            return self.imitation(arm, seed)
        stages = self.imitation("dit", seed)
        for round_ in range(1, self.settings.rounds + 1):
            stages += self.round(arm, seed, round_)
        return stages

    def imitation(self, arm: Arm, seed: int) -> list[Stage]:
        """Return the stages of an arm that imitates the teacher."""
        source = self.abbreviated() if arm == "dit" else self.teacher()
        name = self._name("imitation", arm, f"seed{seed}")
        words = self._train("policy", arm, name, seed, "imitation", self.settings.start_of(arm))
        stage = Stage(name, ((*words, "--data", _data(source.name)),), (source.name,), product="run/adapter")
        return [source, stage]

    def round(self, arm: Arm, seed: int, round_: int) -> list[Stage]:
        """Return the stages of one round: rollouts of the newest policy, and what is learned from them."""
        newest = self.policy(arm, seed, round_ - 1)
        # The first rollouts are those of the DIT policy, and the same for all arms.
        shared = self._name("rollouts", *self._round(1), "dit", f"seed{seed}")
        name = shared if round_ == 1 else self._name("rollouts", *self._round(round_), arm, f"seed{seed}")
        words = self._training_games(self.part.rollouts, name)
        rollouts = Stage(name, ((*words, *self._plays(newest)),), (newest,))
        if arm in OBJECTIVES:
            return [rollouts, *self.ddt(arm, seed, round_, rollouts, newest)]
        if arm == "vanilla-dyna":
            return [rollouts, *self.vanilla(seed, round_, rollouts, newest)]
        extra: Words = ()
        needs: Words = ()
        if arm == "rft-matched":
            needs = tuple(
                self._name(stage, *self._round(round_), self.settings.matched_to, f"seed{seed}")
                for stage in ("stage1", "stage2")
            )
            extra = ("--set", f"target_tokens={{tokens:{'+'.join(needs)}}}")
        matched = self.round(self.settings.matched_to, seed, round_) if needs else []
        return [rollouts, *matched, self.stage2(arm, seed, round_, newest, (rollouts,), needs, extra)]

    def ddt(self, arm: Arm, seed: int, round_: int, rollouts: Stage, newest: str) -> list[Stage]:
        """Return stage 1, on all rollouts, and stage 2, on the correct ones."""
        stages, source = [], rollouts
        if OBJECTIVES[arm]:
            source = self.annotated(arm, seed, round_, rollouts)
            stages.append(source)
        name = self._name("stage1", *self._round(round_), arm, f"seed{seed}")
        words = self._train("ddt", arm, name, seed, "world_model_stage", _adapter(newest))
        needs = (newest, source.name)
        stage1 = Stage(name, ((*words, "--data", _data(source.name)),), needs, product="run/adapter")
        return [*stages, stage1, self.stage2(arm, seed, round_, name, (rollouts,))]

    def annotated(self, arm: Arm, seed: int, round_: int, rollouts: Stage) -> Stage:
        """Return the stage that writes differences and critiques beside rollouts."""
        name = self._name("annotated", *self._round(round_), arm, f"seed{seed}")
        commands, source = [], _data(rollouts.name)
        for objective in OBJECTIVES[arm]:
            last = objective == OBJECTIVES[arm][-1]
            to = _data(name) if last else _data(name).removesuffix("data") + objective
            words = ("annotate", source, "--objective", objective, "--by", self.settings.annotator)
            commands.append((*words, "--out", to))
            source = to
        return Stage(name, tuple(commands), (rollouts.name,))

    def vanilla(self, seed: int, round_: int, rollouts: Stage, newest: str) -> list[Stage]:
        """Return the stages of vanilla Dyna: a separate world model, and games that are played in it."""
        where = (*self._round(round_), "vanilla-dyna", f"seed{seed}")
        model, imagined = self._name("world-model", *where), self._name("imagined", *where)
        words = self._train("world-model", None, model, seed, "separate_world_model", None)
        learned = Stage(
            model, ((*words, "--data", _data(rollouts.name)),), (rollouts.name,), product="run/adapter"
        )
        words = self._training_games(self.part.imagined, imagined)
        inside = ("--imagined", _adapter(model))
        played = Stage(imagined, ((*words, *inside, *self._plays(newest)),), (model, newest))
        extra = ("--set", "imagined=true")
        stage2 = self.stage2("vanilla-dyna", seed, round_, newest, (rollouts, played), extra=extra)
        return [learned, played, stage2]

    def stage2(
        self,
        arm: Arm,
        seed: int,
        round_: int,
        start: str,
        data: tuple[Stage, ...],
        needs: Words = (),
        extra: Words = (),
    ) -> Stage:
        """Return the policy stage: imitation of the policy's own best successes."""
        name = self._name("stage2", *self._round(round_), arm, f"seed{seed}")
        words = self._train("policy", "rft", name, seed, "policy_stage", _adapter(start))
        read = [word for stage in data for word in ("--data", _data(stage.name))]
        wanted = tuple(dict.fromkeys((start, *(stage.name for stage in data), *needs)))
        return Stage(name, ((*words, *read, *extra),), wanted, product="run/adapter")

    def policy(self, arm: Arm, seed: int, round_: int | None = None) -> str:
        """Return the name of the stage that trains an arm's policy, by default that of the last round."""
        round_ = self.settings.rounds if round_ is None else round_
        if arm in IMITATION or round_ == 0:
            return self._name("imitation", arm if arm in IMITATION else "dit", f"seed{seed}")
        return self._name("stage2", *self._round(round_), arm, f"seed{seed}")

    # Evaluation.

    def evaluations(self, arm: Arm, seed: int) -> list[Stage]:
        """Return the stages in which an arm plays the games that it is judged on."""
        policy = self.policy(arm, seed)
        stages = []
        for set_name, games in self.part.evaluate.items():
            name = self.evaluation(arm, set_name, seed)
            commands = [(*self._evaluated_games(games, name), *self._plays(policy))]
            needs = [policy]
            if self.part.teacher.data:  # where these come from nobody has planned
                needs.append(self._name("teacher"))
                by = ("--by", "task-type") if games.task_types == "held-out" else ()
                commands.append(("data", "check", *by, _data(needs[1]), _data(name)))
            stages.append(Stage(name, tuple(commands), tuple(needs)))
        return stages

    def foresights(self, arm: Arm, seed: int) -> list[Stage]:
        """Return the stage in which an arm is asked in the states of the teacher's games, the same for all arms."""
        if not self.part.states:
            return []
        settings, name = self.settings, self.foresight(arm, seed)
        played = tuple(self.evaluation(TEACHER, games) for games in self.part.evaluate)
        words: Words = ("eval", "thinking", "--policy", f"{arm}={_adapter(self.policy(arm, seed))}")
        words += ("--states", str(self.part.states), *(w for p in played for w in ("--data", _data(p))))
        words += (
            "--base",
            settings.base,
            "--memory",
            settings.memory,
            "--max-tokens",
            str(settings.max_tokens),
        )
        if settings.judge != GROUNDED:
            words += ("--judge", settings.judge)
        words += ("--no-baselines", "--out", _data(name))
        return [Stage(name, (words,), (self.policy(arm, seed), *played))]

    def judgements(self, arm: str, seed: int | None = None) -> list[Stage]:
        """Return the stages in which a chat model judges what an arm foresaw in its own plays."""
        if self.settings.judge == GROUNDED or arm not in self.rows:
            return []
        stages = []
        for set_name in self.part.evaluate:
            played, name = self.evaluation(arm, set_name, seed), self.judgement(arm, set_name, seed)
            words: Words = ("eval", "thinking", "--rollouts", f"{arm}={_data(played)}")
            words += ("--judge", self.settings.judge, "--no-baselines", "--out", _data(name))
            stages.append(Stage(name, (words,), (played,)))
        return stages

    def teacher_evaluations(self) -> list[Stage]:
        """Return the stages in which the teacher plays the same games; none if it only left episodes."""
        if self.part.teacher.data:
            return []
        plays = self._teaches((self.part.teacher.judged,), self.settings.max_steps)
        return [
            Stage(name, ((*self._evaluated_games(games, name), *plays),))
            for set_name, games in self.part.evaluate.items()
            for name in [self.evaluation(TEACHER, set_name)]
        ]

    def evaluation(self, arm: str, set_name: str, seed: int | None = None) -> str:
        """Return the name of the stage in which an arm plays a set of games."""
        return self._name("evaluate", arm, set_name, *([] if seed is None else [f"seed{seed}"]))

    def judgement(self, arm: str, set_name: str, seed: int | None = None) -> str:
        """Return the name of the stage in which a chat model judges these plays."""
        return self._name("judged", arm, set_name, *([] if seed is None else [f"seed{seed}"]))

    def foresight(self, arm: str, seed: int) -> str:
        """Return the name of the stage in which an arm is asked what it foresees in the same states."""
        return self._name("foresight", arm, f"seed{seed}")

    # Words of commands.

    def _name(self, *parts: str) -> str:
        return "/".join([self.name, *parts])

    def _round(self, number: int) -> Words:
        return (f"round{number}",) if self.settings.rounds > 1 else ()

    def _training_games(self, games: Rollouts, name: str) -> Words:
        # A seed shuffles the games before some are skipped: with another one, those would be others.
        seed = self.settings.seeds[0]
        words = self._games(self.part.train, games.games, games.skip, seed, "trained", name)
        return (*words, "--repeats", str(games.repeats))

    def _evaluated_games(self, games: EvaluationSet, name: str) -> Words:
        words = self._games(games.split, games.games, games.skip, games.seed, games.task_types, name)
        return (*words, "--repeats", str(self.settings.runs))

    def _games(self, split: str, number: int, skip: int, seed: int, types: Types, name: str) -> Words:
        held_out = self.part.held_out_task_type
        words: Words = ("collect", "--split", split, "--quiet")
        if self.part.environment != ALFWORLD:
            words += ("--environment", self.part.environment)
        words += ("--games", str(number), "--skip", str(skip), "--seed", str(seed))
        if held_out is not None and types != "all":
            words += ("--task-type" if types == "held-out" else "--without-task-type", held_out)
        return (*words, "--out", _data(name))

    def _teaches(self, behaviours: tuple[str, ...], max_steps: int) -> Words:
        """Return who teaches: behaviours, or a chat model, which reads its own thoughts as such models do."""
        steps = ("--max-steps", str(max_steps))
        policy, settings = self.part.teacher.policy, self.settings
        if policy is None:
            return (*steps, "--behaviours", ",".join(behaviours))
        words: Words = (*steps, "--policy", policy, "--temperature", f"{settings.temperature:g}")
        return (*words, "--concurrency", str(settings.concurrency))

    def _plays(self, policy: str) -> Words:
        settings = self.settings
        words: Words = ("--policy", f"local:{settings.base}+{_adapter(policy)}")
        words += ("--max-steps", str(settings.max_steps))
        words += ("--temperature", f"{settings.temperature:g}", "--max-tokens", str(settings.max_tokens))
        words += ("--memory", settings.memory)
        return (*words, "--concurrency", str(settings.concurrency))

    def _train(
        self, recipe: str, file: str | None, name: str, seed: int, phase: str, start: str | None
    ) -> Words:
        settings = self.settings
        given: dict[str, Any] = {"base": settings.base, "seed": seed}
        if recipe == "world-model":
            given["privileged"] = 0  # it answers a policy, and learns from no more than that one sees
        else:
            given["memory"] = settings.memory
        given |= settings.recipes.get(phase, {})
        processes = given.pop(PROCESSES, 1)
        words = tuple(w for k, v in given.items() for w in ("--set", f"{k}={_yaml(v)}"))
        words = words if start is None else ("--set", f"adapter={start}", *words)
        config: Words = () if file is None else ("--config", file)
        if processes > 1:
            words = ("--processes", str(processes), *words)
        return ("train", recipe, *config, *words, "--out", f"{_folder(name)}/run")


def _folder(stage: str) -> str:
    return f"{{out}}/stages/{stage}"


def _data(stage: str) -> str:
    return f"{_folder(stage)}/data"


def _adapter(stage: str) -> str:
    return f"{_folder(stage)}/run/adapter"


def _yaml(value: Any) -> str:
    """Write a value as it stands after ``key=`` on the command line."""
    return write_yaml({"v": value}).strip().removeprefix("v:").strip()
