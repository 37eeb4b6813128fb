"""What a collecting worker does: play an episode, by a behaviour or a model, and write it as a line."""

from __future__ import annotations

import functools
import json
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dyna_nodes.experience import trajectory_line
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.behaviours import BEHAVIOURS
from dyna_training.environments.base import ForkableEnv, GameFileError
from dyna_training.environments.catalogue import CATALOGUES, catalogue
from dyna_training.hosts import TaskError, WorkersFailed
from dyna_training.imagined import IMAGINED, ImaginedEnv, imagined_trajectory, load_world_model, policy_base
from dyna_training.rollouts import ENVIRONMENT, episode_id, play, provenance, step_id, value_after
from dyna_training.traces.thinking import split_thinking, thought_text

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from dyna_graph.agent import DynaGraph
    from dyna_nodes.settings import Memory
    from dyna_training.tools import EnvironmentTool

FURTHER: Final = "further_call"
"""Label of a step that is a further action of one response; the first action of a response has none."""
TOKENS_PER_EPISODE: Final = 2_500
"""Tokens of an episode of 50 steps, for room in a local model's store of prefixes."""


class Episode(NamedTuple):
    """An episode to be played.

    Attributes:
        game: Name of the game; of ALFWorld the path of its file, or ``generated:`` and the seed of a household.
        player: A behaviour, or the name of a model.
        seed: Seed of the episode.
        environment: Gymnasium id.
    """

    game: str
    player: str
    seed: int
    environment: str = ENVIRONMENT

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells episodes apart, before they are played as after."""
        return (game_key(self.game, self.environment), self.player, self.seed)


class Record(NamedTuple):
    """What a collection knows of a recorded episode.

    Attributes:
        game: Key of the game.
        policy: Who played.
        seed: Seed of the episode.
        outcome: As in `Trajectory`.
        steps: Number of executed steps.
        unacted: Whether it ended with a response without an action that could be read.
    """

    game: str
    policy: str
    seed: int
    outcome: str
    steps: int
    unacted: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """The key of the episode."""
        return (self.game, self.policy, self.seed)


def game_key(game: str, environment: str = ENVIRONMENT) -> str:
    """Return what tells the games of an environment apart, of a game's name as of its id in a record."""
    return catalogue(environment).key(game) if environment in CATALOGUES else game


def record_of(line: bytes) -> Record | None:
    """Return the record of a trajectory's line; None where the line is none."""
    try:
        data = json.loads(line)
        origin = data["provenance"]
        game = _played(origin["environment"])
        outcome, steps = data.get("outcome", "unknown"), data.get("transitions", ())
        unacted = _unacted(outcome, steps and steps[-1].get("done"))
        return Record(game, origin["policy"], origin.get("seed", 0), outcome, len(steps), unacted)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _unacted(outcome: str, done: object) -> bool:
    """Tell, of an episode's outcome and whether its last step ended it, whether its player stopped acting."""
    return outcome == "failure" and not done


def _played(origin: str) -> str:
    """Return the key of the game that a record's provenance names: environment, colon, id of the game."""
    environment, _, game = origin.removeprefix(f"{IMAGINED} ").partition(":")
    return game_key(game, environment)


class Played(NamedTuple):
    """An episode that was played: what a collection knows of it, and its line in a file of trajectories."""

    record: Record
    line: bytes


class Recorder:
    """Plays episodes, several at a time if it is called so.

    Args:
        number: Number of the worker.
        settings: `dyna_training.collect.CollectSettings`, as JSON.
    """

    def __init__(self, number: int, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.player: ModelPlayer | None = None
        self._lock = threading.Lock()

    @functools.cached_property
    def _games(self) -> tempfile.TemporaryDirectory[str]:
        """Where games are written for a model; nobody else needs a folder, which a killed worker leaves behind."""
        return tempfile.TemporaryDirectory(prefix="dyna-games-", ignore_cleanup_errors=True)

    def __call__(self, episode: Episode) -> Played:
        """Play one episode.

        Raises:
            TaskError: Its game is missing or corrupt.
            WorkersFailed: The model cannot be made.
        """
        try:
            trajectory = self._play(episode)
        except GameFileError as error:
            raise TaskError(str(error)) from error
        key = _played(trajectory.provenance.environment)
        steps = len(trajectory.transitions)
        unacted = _unacted(trajectory.outcome, steps and trajectory.transitions[-1].done)
        record = Record(key, episode.player, episode.seed, trajectory.outcome, steps, unacted)
        return Played(record, trajectory_line(trajectory))

    def _play(self, episode: Episode) -> Trajectory:
        split, max_steps = self.settings["split"], self.settings["max_steps"]
        if episode.player in BEHAVIOURS:
            others = self.settings["counterfactuals"]
            return play(
                episode.game,
                episode.player,
                seed=episode.seed,
                split=split,
                max_steps=max_steps,
                counterfactuals=others,
                environment=episode.environment,
            )
        with self._lock:
            if self.player is None:
                self.player = ModelPlayer.from_settings(self.settings)
            games = Path(self._games.name)
        game = catalogue(episode.environment).option(episode.game, games)
        return self.player.play(game, seed=episode.seed, split=split)


class ModelPlayer:
    """A model that plays through the agent's own loop.

    Args:
        name: Name of the policy, for the record.
        model: The policy. One that has a ``seed`` gets that of the episode.
        tools: Its environment's tools; where they are functions, an episode has those of its game.
        max_steps: Longest episode.
        system_prompt: What it is told first.
        memory: What it reads of its own earlier turns.
        imagined: The world model that its environment is made of, where it is no real one.
        environment: Gymnasium id of the real one.
    """

    def __init__(
        self,
        name: str,
        model: BaseChatModel,
        tools: Sequence[EnvironmentTool],
        max_steps: int = 50,
        system_prompt: str | None = None,
        memory: Memory = "thoughts",
        imagined: str | None = None,
        environment: str = ENVIRONMENT,
    ) -> None:
        self.name = name
        self.model = model
        self.tools = tools
        self.max_steps = max_steps
        self.system_prompt = system_prompt
        self.memory: Memory = memory
        self.imagined = imagined
        self.environment = environment

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> ModelPlayer:
        """Make the player that a collection's settings name.

        Raises:
            WorkersFailed: The model cannot be made.
        """
        from dyna_graph.errors import DynaError
        from dyna_graph.models import resolve_model
        from dyna_nodes.local import LocalChatModel, LocalModelError
        from dyna_training.tools import environment_tools, make_environment

        name, max_steps, environment = settings["policy"], settings["max_steps"], settings["environment"]
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
        options = {"max_steps": max_steps, "admissible_actions": False}
        functions = bool(make_environment(environment, **options).functions())
        if made is not None:
            tools = environment_tools(made, functions=functions)
        else:
            tools = environment_tools(environment, functions=functions, **options)
        prompt = settings["system_prompt"] or default_prompt(name, environment)
        return cls(name, model, tools, max_steps, prompt, settings["memory"], imagined, environment)

    def _agent(self, episode: str, env: ForkableEnv) -> DynaGraph:
        from dyna_graph.agent import create_dyna_agent

        model = self.model
        if "seed" in type(model).model_fields:
            model = model.model_copy(update={"seed": int(episode[:8], 16) % 2**31})
        functions = {function.name for function in env.functions()}
        return create_dyna_agent(
            model,
            [tool for tool in self.tools if not functions or tool.name in functions],
            system_prompt=self.system_prompt,
            memory=self.memory,
            max_steps=self.max_steps,
        )

    def play(self, game: str | Path, *, seed: int, split: str) -> Trajectory:
        """Play one episode.

        Args:
            game: The game, as the environment's ``reset`` takes it in JSON.
            seed: Seed of the episode.
            split: Name of the split, for the record.

        Raises:
            GameFileError: The game file is missing or corrupt.
        """
        from dyna_nodes.events import ObserveEvent, SimulateEvent
        from dyna_training.tools import task_message

        env = catalogue(self.environment).open(game, max_steps=self.max_steps)
        observation, info = env.reset(seed=seed)
        id = episode_id(info["game_id"], self.name, seed)
        message = task_message(self.tools[0], seed=seed, options={"game": str(game)})
        taken: list[Transition] = []
        proposed: frozenset[str] = frozenset()  # ids of the calls of a response, which run one by one
        acted = False
        ended = None
        for event in self._agent(id, env).stream(
            {"messages": [message]}, {"configurable": {"thread_id": id}}, stream_mode="custom"
        ):
            if isinstance(event, SimulateEvent) and event.candidates:
                calls = frozenset(event.candidates[0].calls)
                acted, proposed = acted and calls == proposed, calls
            if isinstance(event, ObserveEvent):
                for transition in event.transitions:
                    taken.append(further_call(transition) if acted else transition)
                    acted = acted or transition.status == "ok"
                ended = event.ended
        self.tools[0].sessions.drop(id)
        trajectory = Trajectory(
            id=id,
            task=observation,
            hidden_state=env.hidden_state(),
            provenance=provenance(info["game_id"], self.name, seed, split, self.environment),
        )
        if self.imagined is not None:
            return imagined_trajectory(trajectory, taken, world_model=self.imagined, max_steps=self.max_steps)
        steps = _labelled(env, trajectory.id, [t for t in taken if t.status == "ok"])
        won = bool(steps and steps[-1].done and (steps[-1].reward or 0) > 0)
        cut_off = ended == "max_steps" or len(steps) >= self.max_steps
        outcome = "success" if won else "truncated" if cut_off else "failure"
        return trajectory.model_copy(update={"transitions": tuple(steps), "outcome": outcome})


def further_call(step: Transition) -> Transition:
    """Mark a step as a further action of the response that the step before is of.

    Its thinking was written once: its tokens are not counted again, and nobody learns to write it a second time.
    """
    return step.model_copy(update={"labels": {**step.labels, FURTHER: 1.0, "expert": 0.0}})


def _maker(settings: Mapping[str, Any]) -> Callable[[], ForkableEnv]:
    """Return what makes environments out of the world model that a collection's settings name."""
    world_model = load_world_model(settings["imagined"], policy_base(settings["policy"]), settings["device"])
    environment, max_steps = settings["environment"], settings["max_steps"]

    def make() -> ForkableEnv:
        from dyna_training.tools import make_environment

        real = make_environment(environment, max_steps=max_steps, admissible_actions=False)
        return ImaginedEnv(world_model, real, max_steps)

    return make


def _labelled(env: ForkableEnv, trajectory: str, taken: list[Transition]) -> list[Transition]:
    """Return executed steps with the return-to-go, found by playing them again beside an expert.

    Think tags around a reasoning model's thinking go; where its text repeats the form of an action, that is mended.
    """
    expert = env.expert()
    if expert is None:
        raise TaskError("this environment has no expert, so nothing can be labelled")
    steps = []
    for index, step in enumerate(taken):
        command = step.action.text
        observation, reward, over, _, _ = env.step(command)
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
                reward=float(reward),
                done=over,
                labels={
                    **{name: step.labels[name] for name in (FURTHER, "expert") if name in step.labels},
                    "return_to_go": value_after(env, expert, float(reward), over=over),
                },
                time=0.0,
            )
        )
    return steps


def default_prompt(name: str, environment: str = ENVIRONMENT) -> str:
    """Return the system prompt of a policy: a local adapter's is the one it was trained with."""
    from dyna_nodes.codec.policy import POLICY_PROMPT

    if name.startswith("local:") and "+" in name:
        return POLICY_PROMPT
    return catalogue(environment).prompt
