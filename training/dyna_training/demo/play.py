"""Plays all games in both arms at once, so that the local engine batches their requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.outputs import ChatGeneration, LLMResult

from dyna_graph.agent import DynaGraph
from dyna_graph.config import DynaConfig
from dyna_nodes.nouns import Provenance
from dyna_nodes.scoring import solved
from dyna_training.demo.record import ARMS, ENVIRONMENT, Arm, DemoGame, Play, Recorder, Turn
from dyna_training.tools import EnvironmentTool, environment_tools, task_message


def make_tool(max_steps: int) -> EnvironmentTool:
    """Return the tool that all plays act with.

    Args:
        max_steps: Steps after which a game is cut off.
    """
    [tool] = environment_tools(ENVIRONMENT, max_steps=max_steps, admissible_actions=False)
    return tool


def configuration(config: DynaConfig, arm: Arm) -> DynaConfig:
    """Return the configuration of an arm; without a world model, the most probable response runs."""
    if arm == "with":
        return config
    return config.model_copy(
        update={
            "model": config.policy.model_copy(update={"temperature": 0.0}),
            "world_model": type(config.world_model)(kind="none"),
            "critic": (),
            "simulate": config.simulate.model_copy(update={"candidates": 1, "resample": 0, "horizon": 1}),
        }
    )


class TokenCount(AsyncCallbackHandler):
    """Counts the tokens that the policy writes, over all candidates."""

    def __init__(self) -> None:
        self.tokens = 0

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Add the tokens of one request; what a provider reports of all generations together goes first."""
        reported = ((response.llm_output or {}).get("token_usage") or {}).get("completion_tokens")
        if reported is not None:
            self.tokens += reported
            return
        for generations in response.generations:
            for generation in generations:
                if isinstance(generation, ChatGeneration):
                    usage = getattr(generation.message, "usage_metadata", None)
                    self.tokens += usage["output_tokens"] if usage else 0


class Playing:
    """A play under way.

    Args:
        agent: The agent.
        tool: Its tool.
        game: The game.
        arm: The arm.

    Attributes:
        recorder: What has happened so far.
    """

    def __init__(self, agent: DynaGraph, tool: EnvironmentTool, game: DemoGame, arm: Arm) -> None:
        self.game, self.arm = game, arm
        self.recorder = Recorder()
        self._agent = agent
        self._tokens = TokenCount()
        self._began = time.perf_counter()
        self._seconds: float | None = None
        self._message = task_message(tool, seed=game.number, options={"game": game.file})
        self._turns: asyncio.Queue[Turn | None] = asyncio.Queue()

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.recorder.ended is not None

    def play(self) -> Play:
        """Return what has happened so far."""
        turns = self.recorder.turns
        last = turns[-1].transition if turns else None
        outcome: Literal["success", "failure", "truncated", "unknown"] = "unknown"
        if self.finished:
            won = last is not None and solved(last.reward, last.done)
            cut = self.recorder.ended in ("done", "max_steps")
            outcome = "success" if won else "truncated" if cut else "failure"
        now = time.perf_counter() - self._began
        return Play(
            arm=self.arm,
            game=self.game,
            introduction=str(self._message.content),
            turns=tuple(turns),
            rest=tuple(self.recorder.rest),
            outcome=outcome,
            ended=self.recorder.ended,
            policy_tokens=self._tokens.tokens,
            seconds=now if self._seconds is None else self._seconds,
        )

    async def run(self) -> None:
        """Play to the end."""
        self._began = time.perf_counter()
        try:
            stream = self._agent.astream(
                {"messages": [self._message]},
                {
                    "configurable": {
                        "thread_id": f"game {self.game.number} {self.arm}",
                        "provenance": provenance(self.game).model_dump(
                            exclude_defaults=True, exclude={"thread"}
                        ),
                    },
                    "callbacks": [self._tokens],
                },
                stream_mode="custom",
            )
            async for event in stream:
                turn = self.recorder.feed(event)
                if turn is not None:
                    self._turns.put_nowait(turn)
            self.recorder.ended = self.recorder.ended or "blocked"
        finally:
            self._seconds = time.perf_counter() - self._began
            self._turns.put_nowait(None)

    async def turns(self) -> AsyncIterator[Turn]:
        """Yield the turns as they come; for one listener."""
        while (turn := await self._turns.get()) is not None:
            yield turn


def provenance(game: DemoGame) -> Provenance:
    """Return where the transitions of a game come from."""
    return Provenance(environment=f"{ENVIRONMENT}:{game.id}", split=game.split, seed=game.seed)


def prepare(
    agents: Mapping[Arm, DynaGraph], tool: EnvironmentTool, games: Sequence[DemoGame]
) -> list[Playing]:
    """Return every game in every arm, game by game; nothing runs yet."""
    return [Playing(agents[arm], tool, game, arm) for game in games for arm in ARMS]
