"""The perfect world model: a fork of the real environment says what an action would do.

For upper bounds ("the environment as oracle") and for rollouts inside a simulator. It knows what no agent can
know, so figures that it takes part in are not those of an agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import ensure_config

from dyna_nodes.nouns import COMMAND_TOOL, Action, Prediction, Query, Step
from dyna_training.acting import episode_of
from dyna_training.rollouts import return_to_go
from dyna_training.sessions import Pair, Reality, Session, SessionLost, Sessions, commands_in
from dyna_training.tools import EnvironmentTool

_READ = "__pregel_read"
"""Where LangGraph leaves the function that reads the state, which its own `ToolNode` uses in the same way."""


class EnvironmentWorldModel:
    """Forks the live session of a query and executes the action in the fork.

    A session that is not live yet, as before the very first action, is opened from the episode in the run's
    first message or in ``configurable.episode``. A query whose history cannot be had by replaying that
    episode is refused with an error; the live session is never touched.

    Args:
        tools: The agent's tools; the environment's is found among them.
        value: Also predict the return-to-go: the environment's expert, told only the history, plays on from
            the fork.
        name: Name in predictions.

    Raises:
        ValueError: There is no environment's tool, or more than one.

    Example:
        ```python
        [act] = environment_tools("dyna/ALFWorld-v0", split="dev_seen")
        agent = create_dyna_agent(model, [act], world_model=EnvironmentWorldModel([act]), candidates=4)
        ```
    """

    def __init__(self, tools: Sequence[Any] = (), *, value: bool = True, name: str = "environment") -> None:
        found = [tool for tool in tools if isinstance(tool, EnvironmentTool)]
        environments = {id(tool.sessions) for tool in found}
        if len(environments) != 1:
            raise ValueError(
                "the environment world model needs the tools of exactly one environment among the agent's, "
                f"got {len(environments)}; "
                "make them with environment_tools()"
            )
        self.name = name
        self.value = value
        self.sessions: Sessions = found[0].sessions
        self.functions = frozenset(tool.name for tool in found)

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order; what cannot be answered gets an ``error``."""
        known: dict[tuple[str | None, int, int], Session] = {}
        predictions = []
        try:
            for query in queries:
                try:
                    key = (query.session, id(query.history), query.imagined)
                    if key not in known:
                        known[key] = self._before(query)
                    predictions.append(self._imagine(known[key], query.action))
                except SessionLost as error:
                    if error.session is not None:
                        error.session.close()
                    predictions.append(Prediction(model=self.name, error=str(error)))
        finally:
            for fork in known.values():
                fork.close()
        return predictions

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order, in a thread."""
        return await asyncio.to_thread(self.predict, queries)

    def _before(self, query: Query) -> Session:
        """Return a fork in the state before the query's action, imagined steps executed."""
        if query.session is None:
            raise SessionLost("the query names no session to fork")
        steps = query.history.steps
        count = len(steps) - query.imagined
        live = self.sessions.live(query.session)
        session = self.sessions.at(
            query.session, query.history.task, self._commands(steps[:count]), self._episode, keep=live is None
        )
        try:
            with session.lock:
                fork = session.fork()
        finally:
            if live is not None and session is not live:  # rebuilt for this query alone
                session.close()
        for command, _ in self._commands(steps[count:]):
            self._step(fork, command)
        return fork

    def _commands(self, steps: Sequence[Step]) -> list[Pair]:
        return commands_in(steps, self.functions - {COMMAND_TOOL})

    def _imagine(self, before: Session, action: Action) -> Prediction:
        commands = self._commands([Step(action=action, observation="")])
        if not commands:
            names = ", ".join(map(repr, sorted(self.functions)))
            raise SessionLost(f"{action.text!r} is no command of the environment; its tools are {names}")
        fork = before.fork()
        try:
            reality = self._step(fork, commands[0][0])
            value = None
            if self.value and fork.expert is not None:
                cut_off = reality.done and not reality.success
                value = 0.0 if cut_off else return_to_go(fork.env, fork.expert, solved=reality.success)
        finally:
            fork.close()
        return Prediction(
            observation=reality.observation,
            reward=reality.reward,
            done=reality.done and not reality.truncated,
            success=reality.success,
            value=value,
            confidence=1.0,
            model=self.name,
        )

    @staticmethod
    def _step(fork: Session, command: str) -> Reality:
        if fork.done:
            raise SessionLost("the episode has ended before this action")
        return fork.step(command)

    @staticmethod
    def _episode() -> Any:
        config = ensure_config()
        read = config.get("configurable", {}).get(_READ)
        messages: Sequence[BaseMessage] = (read("messages", False) if callable(read) else None) or ()
        return episode_of(messages, config)
