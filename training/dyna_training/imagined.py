"""Vanilla Dyna: games that are played inside a world model instead of the environment.

    dyna collect --imagined runs/world-model/adapter --policy local:smollm2+runs/policy/adapter --out data/imagined

The baseline of Dyna-Think (arXiv 2506.00320, section 4): a separate model answers each command of the policy, from a
real game's first observation on, until it says that the task is done or the steps are over. The trajectories say
``imagination`` in their provenance, and no recipe learns from them unless it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from dyna_nodes.codec import Outcome
from dyna_nodes.nouns import Action, History, Query, Trajectory, Transition, digest_of
from dyna_nodes.protocols import WorldModel
from dyna_nodes.scoring import solved
from dyna_training.environments.base import ForkableEnv, Function, text_space

MAX_STEPS: Final = 50
IMAGINED: Final = "imagined"
"""Stands before the name of the environment in an imagined trajectory: its games are not the real ones."""


class ImaginedEnv(ForkableEnv):
    """An environment whose every answer is a world model's.

    Imagined success and an imagined end end the episode; without an imagined reward, success is worth 1. Where the
    world model gives no answer the episode is cut off there, and ``info["problem"]`` says why.

    Args:
        world_model: Who answers.
        real: The environment that an episode's first observation, and its task, are taken from.
        max_steps: Steps after which an episode is truncated.
    """

    def __init__(self, world_model: WorldModel, real: ForkableEnv, max_steps: int = MAX_STEPS) -> None:
        self.action_space = text_space(256)
        self.observation_space = text_space(8192)
        self._world_model = world_model
        self._real = real
        self._max_steps = max_steps
        self._history: History | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode as the real environment does."""
        observation, info = self._real.reset(seed=seed, options=options)
        self._history = History(task=observation)
        return observation, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Imagine one command.

        Returns:
            Imagined observation, reward, terminated (success or end imagined), truncated, and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        history, command = self._require(), Action.command(action)
        steps = len(history.steps)
        [prediction] = self._world_model.predict([Query(history=history, action=command, imagined=steps)])
        if prediction.error is not None or prediction.observation is None:
            return "", 0.0, False, True, {"problem": prediction.error or "it imagines no observation"}
        self._history = history.then(command, prediction.observation)
        reward = float(bool(prediction.success)) if prediction.reward is None else prediction.reward
        over = bool(prediction.success or prediction.done)
        truncated = not over and steps + 1 >= self._max_steps
        return prediction.observation, reward, over, truncated, {}

    def fork(self) -> Self:
        """Return an independent environment in the same state."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._real = self._real.fork()
        return twin

    def hidden_state(self) -> str:
        """Return nothing: what is imagined has no state behind it."""
        self._require()
        return ""

    def admissible(self) -> list[str]:
        """Return no commands: nobody knows what a world model would take."""
        self._require()
        return []

    def functions(self) -> Sequence[Function]:
        """Return the functions of the real environment."""
        return self._real.functions()

    def _require(self) -> History:
        if self._history is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._history


def load_world_model(adapter: str, base: str, device: str) -> WorldModel:
    """Return the trained world model of an adapter, without values, which nobody needs here.

    Args:
        adapter: Folder of the adapter, or the name of a shipped one.
        base: Its base model.
        device: A torch device.

    Raises:
        ModelError: There is no such adapter.
        LocalModelError: It cannot be loaded.
    """
    from dyna_graph.models import find_adapter
    from dyna_nodes.local import get_engine
    from dyna_nodes.world_models import TrainedWorldModel

    folder = find_adapter(adapter)
    engine = get_engine(base, device=device)
    name = f"imagination:{folder}"
    if name not in engine.adapters:
        engine.load_adapter(name, folder)
    return TrainedWorldModel(engine, name, value=None, name=folder.name)


def imagined_trajectory(
    real: Trajectory, taken: Sequence[Transition], *, world_model: str, max_steps: int
) -> Trajectory:
    """Return what was played in imagination as a trajectory that says so.

    Args:
        real: The trajectory of the real game so far: no steps, and who plays which game.
        taken: The imagined steps, in order; with neither observation nor end where the world model had no answer.
        world_model: The adapter that imagined, for the record.
        max_steps: Longest episode.
    """
    origin = real.provenance.model_copy(
        update={
            "source": "imagination",
            "environment": f"{IMAGINED} {real.provenance.environment}",
            "versions": {**real.provenance.versions, "world_model": Path(world_model).name},
        }
    )
    id = digest_of(real.id, "imagined", world_model)[:32]
    answered = [s for s in taken if s.status == "ok" and (s.observation or Outcome.of(s).done)]
    steps = tuple(
        Transition(
            id=digest_of(id, index)[:32],
            trajectory=id,
            index=index,
            thought=step.thought,
            action=step.action,
            observation=step.observation,
            reward=step.reward,
            done=bool(Outcome.of(step).done),
            labels=step.labels,
            time=0.0,
        )
        for index, step in enumerate(answered)
    )
    won = bool(steps and solved(steps[-1].reward, steps[-1].done))
    cut_off = len(steps) >= max_steps or len(answered) < len(taken)
    return real.model_copy(
        update={
            "id": id,
            "hidden_state": None,
            "transitions": steps,
            "provenance": origin,
            "outcome": "success" if won else "truncated" if cut_off else "failure",
        }
    )


def policy_base(policy: str) -> str:
    """Return the base of a local policy, which its world model shares.

    Raises:
        ModelError: The policy does not run here.
    """
    from dyna_graph.errors import ModelError
    from dyna_graph.models import LOCAL, parse_model

    parsed = parse_model(policy)
    if parsed.provider != LOCAL:
        raise ModelError(
            f"--imagined needs a policy that runs here, such as local:smollm2+ADAPTER, not {policy}"
        )
    return parsed.model
