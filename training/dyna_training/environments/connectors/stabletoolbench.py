"""The connector ``dyna/StableToolBench-v0``: ToolBench's web APIs, behind StableToolBench's virtual server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

from dyna_training.environments.base import (
    ForkableEnv,
    Function,
    GameFileError,
    RenderMode,
    check_render_mode,
    text_space,
)
from dyna_training.environments.calls import LONGEST as LONGEST_CALL
from dyna_training.environments.calls import NotACall, parse_call
from dyna_training.environments.connectors.machines import OVER
from dyna_training.environments.connectors.queries import FINISH, Query, queries_in
from dyna_training.environments.connectors.toolserver import ToolServer
from dyna_training.environments.text import cut, plain

MAX_STEPS: Final = 12
"""Steps of a chain in StableToolBench's own runs."""
LONGEST: Final = 8192
Judge = Callable[[str, str], float]
"""Scores an answer from 0 to 1: what was asked, and the answer."""


class StableToolBenchEnv(ForkableEnv):
    """A connector: questions that take calls of web APIs, answered by StableToolBench's virtual API server.

    The server answers from its cache of real answers, or simulates; this environment is its client. An action is a call
    of one of the question's functions, ``search_for_x({"name": "y"})`` or in Python's syntax; ``Finish`` ends the
    episode with the final answer, or gives up. StableToolBench has no programmed reward, a model judges answers: with a
    ``judge`` the reward is its score, without one it is 0.

    `fork` copies what was said: the server keeps no state of a conversation. A fork and its origin are answered alike
    where the server's cache holds the call, or its ``is_save`` is on.

    Example:
        >>> env = gymnasium.make("dyna/StableToolBench-v0", url="http://localhost:8080/virtual",
        ...     queries=["solvable_queries/test_instruction/G1_instruction.json"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        url: str = "http://localhost:8080/virtual",
        queries: Sequence[str | Path] = (),
        games: Sequence[str] | None = None,
        key: str | None = None,
        judge: Judge | None = None,
        longest_answer: int = 1024,
        max_steps: int = MAX_STEPS,
        timeout: float = 60.0,
        admissible_actions: bool = False,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            url: Address of the virtual API server.
            queries: Files of questions, as in StableToolBench's ``solvable_queries/test_instruction``.
            games: Names of questions, such as ``G1_instruction/588``; all of the files by default.
            key: The server's ``toolbench_key``; what is in ``$TOOLBENCH_KEY`` by default.
            judge: Scores final answers.
            longest_answer: Characters of an answer that are shown, as ``max_observation_length`` of StableToolBench.
            max_steps: Steps after which an episode is truncated.
            timeout: Seconds that the server may take.
            admissible_actions: Whether `info` lists calls with the documentation's example values.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: A file of questions cannot be read, or a question is named that there is not.
            ValueError: Another argument cannot be.
        """
        check_render_mode(render_mode)
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}.")
        self.action_space = text_space(LONGEST_CALL)
        self.observation_space = text_space(LONGEST)
        self._server = ToolServer(url, os.environ.get("TOOLBENCH_KEY", "") if key is None else key, timeout)
        self._queries = queries_in(list(map(Path, queries)), games)
        self._judge = judge
        self._longest_answer = longest_answer
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._query: Query | None = None
        self._said: tuple[tuple[str, str], ...] = ()
        self._steps = 0
        self._over = False
        self._score = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode; the server is not asked.

        Args:
            seed: Seeds the drawing of questions.
            options: ``{"game": …}`` asks the question of that name instead of drawing one.

        Returns:
            The functions and the question, and `info`.

        Raises:
            GameFileError: There is no question of that name.
            ValueError: There is no question to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen = self.choose_game(list(self._queries), options)
        if chosen not in self._queries:
            raise GameFileError(f"no question {chosen!r} in the files of queries=")
        query = self._query = self._queries[chosen]
        self._said, self._steps, self._over, self._score = (), 0, False, 0.0
        return cut(plain(query.shown()), LONGEST), self._info(query)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Call a function, or finish.

        Args:
            action: Any text.

        Returns:
            Observation, reward (the judge's score, with the end), terminated, truncated (`max_steps` reached), `info`.

        Raises:
            RuntimeError: `reset` was never called.
            ConnectorError: The server is down, does not answer in time, or with what is no answer; the step has not
                been taken and can be repeated.
        """
        query = self._require()
        if self._over:
            return OVER, 0.0, True, False, self._info(query)
        observation = cut(plain(self._answered(query, action)), LONGEST)
        self._steps += 1
        self._said = (*self._said, (action, observation))
        truncated = not self._over and self._steps >= self._max_steps
        return observation, self._score, self._over, truncated, self._info(query)

    def fork(self) -> Self:
        """Return an independent environment in the same state; see the class for what the server owes."""
        self._require()
        return self._twin()

    def admissible(self) -> list[str]:
        """Return calls with the example values of the documentation, and the end; far from all that could be said."""
        return [] if self._over else list(self._require().examples())

    def hidden_state(self) -> str:
        """Return what is known of the state: which calls were made. The server's cache is not."""
        self._require()
        return cut(plain("called: " + (", ".join(action for action, _ in self._said) or "nothing")), LONGEST)

    def functions(self) -> Sequence[Function]:
        """Return the functions of all questions that are asked; ``Finish`` is last."""
        found = {f.name: f for query in self._queries.values() for f in query.functions()}
        return [*found.values(), FINISH]

    def _answered(self, query: Query, action: str) -> str:
        try:
            call = parse_call(action)
        except NotACall as error:
            return str(error)
        arguments = {**call.kwargs, **dict(zip(query.parameters(call.name), call.args, strict=False))}
        if call.name == FINISH.name:
            return self._finished(query, arguments)
        api = query.apis.get(call.name)
        if api is None:
            return _said(f"No such function name: {call.name}")
        answer = self._server.ask(api.category, api.tool, api.name, arguments)
        text = json.dumps(answer)
        return text if len(text) <= self._longest_answer else text[: self._longest_answer] + "..."

    def _finished(self, query: Query, arguments: dict[str, Any]) -> str:
        how, answer = arguments.get("return_type"), arguments.get("final_answer")
        if how == "give_up_and_restart":
            self._over = True
            return _said("", "chose to give up and restart")
        if how != "give_answer":
            return _said('"return_type" must be "give_answer" or "give_up_and_restart"')
        if not isinstance(answer, str):
            return _said('must have "final_answer"')
        self._score = (
            0.0 if self._judge is None else min(1.0, max(0.0, float(self._judge(query.text, answer))))
        )
        self._over = True
        return _said("", "successfully giving the final answer.")

    def _require(self) -> Query:
        if self._query is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._query

    def _info(self, query: Query) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task": cut(plain(query.text), LONGEST),
            "task_type": query.group,
            "game_id": query.id,
            "won": self._over and self._score >= 1.0,
            "score": self._score,
            "max_score": 1.0,
        }
        if self._list_admissible:
            info["admissible_actions"] = self.admissible()
        return info


def _said(error: str, response: str = "") -> str:
    return json.dumps({"error": error, "response": response})
