"""What a collecting process does: play an episode, by a behaviour or a model, and append it to its file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dyna_nodes.experience import ExperienceError, TrajectoryWriter
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.behaviours import BEHAVIOURS
from dyna_training.environments.alfworld.env import AlfworldEnv, GameLike
from dyna_training.environments.base import ForkableEnv, GameFileError
from dyna_training.imagined import ImaginedEnv, imagined_trajectory, load_world_model, policy_base
from dyna_training.rollouts import ENVIRONMENT, episode_id, play, provenance, return_to_go, step_id
from dyna_training.traces.thinking import split_thinking, thought_text
from dyna_training.workers import TaskError, WorkersFailed

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from dyna_graph.agent import DynaGraph
    from dyna_nodes.settings import Memory
    from dyna_training.tools import EnvironmentTool

GENERATED: Final = "generated:"
TOKENS_PER_EPISODE: Final = 2_500
"""Tokens of an episode of 50 steps, for room in a local model's store of prefixes."""
PROMPT: Final = (
    "Solve the household task with the tool `act`, one command at a time. Before each call, think in one "
    "sentence. "
    "Commands:\n"
)


class Episode(NamedTuple):
    """An episode to be played.

    Attributes:
        game: Path of the game file, or ``generated:`` and the seed of a household.
        player: A behaviour, or the name of a model.
        seed: Seed of the episode.
    """

    game: str
    player: str
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells episodes apart, before they are played as after."""
        return (game_key(self.game), self.player, self.seed)


class Record(NamedTuple):
    """What a collection knows of a recorded episode."""

    game: str
    policy: str
    seed: int
    outcome: str
    steps: int

    @property
    def key(self) -> tuple[str, str, int]:
        """The key of the episode."""
        return (self.game, self.policy, self.seed)


def game_key(game: str) -> str:
    """Return what tells games apart: task and trial folder of a path or game id, or a household's seed."""
    if game.startswith(GENERATED):
        return game
    parts = Path(game).parts
    task, trial = parts[-3:-1] if parts[-1].endswith(".tw-pddl") else parts[-2:]
    return f"{GENERATED}{trial[len('generated_') :]}" if trial.startswith("generated_") else f"{task}/{trial}"


def record_of(line: bytes) -> Record | None:
    """Return the record of a trajectory's line; None where the line is none."""
    try:
        data = json.loads(line)
        origin = data["provenance"]
        game = game_key(origin["environment"].partition(":")[2])
        outcome, steps = data.get("outcome", "unknown"), len(data.get("transitions", ()))
        return Record(game, origin["policy"], origin.get("seed", 0), outcome, steps)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


class Recorder:
    """Plays episodes, several at a time if it is called so, and appends them to a file of its own.

    Args:
        number: Number of the process.
        settings: `dyna_training.collect.CollectSettings`, as JSON.

    Raises:
        WorkersFailed: The file cannot be written, or the model cannot be made.
    """

    def __init__(self, number: int, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.folder = Path(settings["out"])
        self.player: ModelPlayer | None = None
        self._lock = threading.Lock()
        try:
            self.writer = TrajectoryWriter(self.folder / f"worker-{number}.jsonl")
        except ExperienceError as error:
            raise WorkersFailed(str(error)) from error

    def __call__(self, episode: Episode) -> Record:
        """Play and record one episode."""
        try:
            trajectory = self._play(episode)
        except GameFileError as error:
            raise TaskError(str(error)) from error
        try:
            with self._lock:
                self.writer.append(trajectory)
        except ExperienceError as error:
            raise WorkersFailed(str(error)) from error
        key = game_key(trajectory.provenance.environment.partition(":")[2])
        return Record(key, episode.player, episode.seed, trajectory.outcome, len(trajectory.transitions))

    def _play(self, episode: Episode) -> Trajectory:
        split, max_steps = self.settings["split"], self.settings["max_steps"]
        if episode.player in BEHAVIOURS:
            game = self._game(episode.game)
            others = self.settings["counterfactuals"]
            return play(
                game,
                episode.player,
                seed=episode.seed,
                split=split,
                max_steps=max_steps,
                counterfactuals=others,
            )
        with self._lock:
            if self.player is None:
                self.player = ModelPlayer.from_settings(self.settings)
        return self.player.play(self._game_file(episode.game), seed=episode.seed, split=split)

    def _game(self, game: str) -> GameLike:
        if not game.startswith(GENERATED):
            return game
        from dyna_training.environments.alfworld.generator import generate

        return generate(int(game.removeprefix(GENERATED)))

    def _game_file(self, game: str) -> Path:
        """Return the file of a game; a household is written down, since a checkpoint can only name a file."""
        if not game.startswith(GENERATED):
            return Path(game)
        from dyna_training.environments.alfworld.generator import write

        return write(self.folder / "games", int(game.removeprefix(GENERATED)))


class ModelPlayer:
    """A model that plays through the agent's own loop.

    Args:
        name: Name of the policy, for the record.
        model: The policy. One that has a ``seed`` gets that of the episode.
        tool: Its environment's tool.
        max_steps: Longest episode.
        system_prompt: What it is told first.
        memory: What it reads of its own earlier turns.
        imagined: The world model that its environment is made of, where it is no real one.
    """

    def __init__(
        self,
        name: str,
        model: BaseChatModel,
        tool: EnvironmentTool,
        max_steps: int = 50,
        system_prompt: str | None = None,
        memory: Memory = "thoughts",
        imagined: str | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.tool = tool
        self.max_steps = max_steps
        self.system_prompt = system_prompt
        self.memory: Memory = memory
        self.imagined = imagined

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ModelPlayer:
        """Make the player that a collection's settings name.

        Raises:
            WorkersFailed: The model cannot be made.
        """
        from dyna_graph.errors import DynaError
        from dyna_graph.models import resolve_model
        from dyna_nodes.local import LocalChatModel, LocalModelError
        from dyna_training.tools import environment_tools

        name, max_steps = settings["policy"], settings["max_steps"]
        options = {k: settings[k] for k in ("temperature", "max_tokens") if settings[k] is not None}
        if name.startswith("local:"):
            options["device"] = settings["device"]
        imagined = settings["imagined"]
        try:
            model = resolve_model(name, **options)
            if isinstance(model, LocalChatModel):
                model.load().remember(settings["concurrency"] * TOKENS_PER_EPISODE)
            made = _maker(settings) if imagined else None
        except (DynaError, LocalModelError) as error:
            raise WorkersFailed(str(error)) from error
        if made is not None:
            [tool] = environment_tools(made)
        else:
            [tool] = environment_tools(ENVIRONMENT, max_steps=max_steps, admissible_actions=False)
        prompt = settings["system_prompt"] or default_prompt(name)
        return cls(name, model, tool, max_steps, prompt, settings["memory"], imagined)

    def _agent(self, episode: str) -> DynaGraph:
        from dyna_graph.agent import create_dyna_agent

        model = self.model
        if "seed" in type(model).model_fields:
            model = model.model_copy(update={"seed": int(episode[:8], 16) % 2**31})
        return create_dyna_agent(
            model,
            [self.tool],
            system_prompt=self.system_prompt,
            memory=self.memory,
            max_steps=self.max_steps,
        )

    def play(self, game: Path, *, seed: int, split: str) -> Trajectory:
        """Play one episode.

        Raises:
            GameFileError: The game file is missing or corrupt.
        """
        from dyna_nodes.events import ObserveEvent
        from dyna_training.tools import task_message

        env = AlfworldEnv(games=[game], max_steps=self.max_steps, admissible_actions=False)
        observation, info = env.reset(seed=seed)
        id = episode_id(info["game_id"], self.name, seed)
        message = task_message(self.tool, seed=seed, options={"game": str(game)})
        taken: list[Transition] = []
        ended = None
        for event in self._agent(id).stream(
            {"messages": [message]}, {"configurable": {"thread_id": id}}, stream_mode="custom"
        ):
            if isinstance(event, ObserveEvent):
                taken += event.transitions
                ended = event.ended
        self.tool.sessions.drop(id)
        trajectory = Trajectory(
            id=id,
            task=observation,
            hidden_state=env.hidden_state(),
            provenance=provenance(info["game_id"], self.name, seed, split),
        )
        if self.imagined is not None:
            return imagined_trajectory(trajectory, taken, world_model=self.imagined, max_steps=self.max_steps)
        steps = _labelled(env, trajectory.id, [t for t in taken if t.status == "ok"])
        won = bool(steps and steps[-1].done and (steps[-1].reward or 0) > 0)
        cut_off = ended == "max_steps" or len(steps) >= self.max_steps
        outcome = "success" if won else "truncated" if cut_off else "failure"
        return trajectory.model_copy(update={"transitions": tuple(steps), "outcome": outcome})


def _maker(settings: Mapping[str, Any]) -> Callable[[], ForkableEnv]:
    """Return what makes environments out of the world model that a collection's settings name."""
    world_model = load_world_model(settings["imagined"], policy_base(settings["policy"]), settings["device"])
    max_steps = settings["max_steps"]
    return lambda: ImaginedEnv(
        world_model, AlfworldEnv(max_steps=max_steps, admissible_actions=False), max_steps
    )


def _labelled(env: AlfworldEnv, trajectory: str, taken: list[Transition]) -> list[Transition]:
    """Return executed steps with the return-to-go, found by playing them again beside an expert.

    Think tags around a reasoning model's thinking go; where its text repeats the form of an action, that is mended.
    """
    expert = env.expert()
    steps = []
    for index, step in enumerate(taken):
        command = step.action.text
        observation, reward, won, _, _ = env.step(command)
        if observation != step.observation:
            raise TaskError(
                f"step {index} ({command!r}) cannot be repeated: {observation!r}, not {step.observation!r}"
            )
        expert.observe(command, observation)
        steps.append(
            Transition(
                id=step_id(trajectory, index),
                trajectory=trajectory,
                index=index,
                thought=thought_text(*split_thinking(step.thought)[:2]),
                action=step.action,
                observation=observation,
                reward=reward,
                done=won,
                labels={"return_to_go": return_to_go(env, expert, solved=won)},
                time=0.0,
            )
        )
    return steps


def default_prompt(name: str) -> str:
    """Return the system prompt of a policy: a local adapter's is the one it was trained with."""
    from dyna_nodes.codec.policy import POLICY_PROMPT
    from dyna_training.environments.alfworld.text import HELP

    return POLICY_PROMPT if name.startswith("local:") and "+" in name else PROMPT + HELP
