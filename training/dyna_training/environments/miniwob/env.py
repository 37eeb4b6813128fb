"""The gymnasium environment ``dyna/MiniWoB-v0``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space
from dyna_training.environments.miniwob.actions import LONGEST, NoAction, parse
from dyna_training.environments.miniwob.experts import PageExpert, expert_for
from dyna_training.environments.miniwob.pages import Page, State
from dyna_training.environments.miniwob.splits import Split
from dyna_training.environments.miniwob.splits import games as games_of
from dyna_training.environments.miniwob.tasks import Game

MAX_STEPS: Final = 50
"""Steps after which an episode is cut off."""
LONGEST_PAGE: Final = 16_000
"""Characters of a page that are shown."""
Reward = Literal["success", "score"]
GameLike = Game | str


class MiniWobEnv(ForkableEnv):
    """Small web pages in a real Chromium: buttons, forms, dialogs, tabs, mails, drawings.

    A page is shown as text, with a number for all that can be acted on, and `actions` tells what can be done. The
    page itself ends the episode and gives the reward. The reward is 1 with the step that does the task and 0 before;
    with ``reward="score"`` it is what the page gives, from 0 to 1, in parts where the page gives parts. The page's
    loss of reward over time is left out.

    Time stands still while nothing is done, and each action lets one second pass; so the same actions lead to the
    same page however fast the machine is.

    `info` always has ``task``, ``task_type``, ``game_id``, ``score``, ``max_score``, ``won``, ``lost`` and, unless
    switched off, ``admissible_actions``.

    `fork` copies nothing but what was done: the fork opens the page again and repeats that when it is first stepped,
    which takes about fifty milliseconds. Environments can be pickled, too, and go on in another process.

    Example:
        >>> env = gymnasium.make("dyna/MiniWoB-v0", games=["click-button/7"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("click [2]")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[GameLike] | None = None,
        reward: Reward = "success",
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment; the browser starts with the first `reset`.

        Args:
            split: Draw games from this split.
            games: Draw from these games, or their names, instead.
            reward: What is rewarded: that the task is done, or what the page gives.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameNameError: A game is named that does not exist.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        check_arguments(split, games, max_steps, render_mode, reward=reward)
        self.action_space = text_space(LONGEST)
        self.observation_space = text_space(LONGEST_PAGE + 2000)
        self._games: list[Game] = [_checked(game) for game in games or ()]
        if split is not None:
            self._games.extend(games_of(split))
        self._reward = reward
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._page: Page | None = None
        self._opening = ""
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode; the first one starts the browser, in about a second.

        Args:
            seed: Seeds the drawing of games; the same seed draws the same game.
            options: ``{"game": …}`` plays that game, by its name, instead of drawing one.

        Returns:
            The first observation, task included, and `info`.

        Raises:
            GameNameError: A game is named that does not exist.
            PackageMissing: Chromium or the package miniwob is not installed.
            BrowserError: The browser does not start, or the page fails.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen = _checked(self.choose_game(self._games, options))
        if self._page is not None:
            self._page.close()
        self._page = Page(chosen)
        self._steps = 0
        self._opening = f"Task: {self._page.task}\n{_shown(self._page.state)}"
        return self._opening, self._info(self._page)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one action.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated (the page ended the episode), truncated (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
            BrowserError: The browser or the page failed; the environment is as it was before the step.
        """
        page = self._require()
        was_over = page.state.done
        try:
            if was_over:
                raise NoAction("The episode is over.")
            state = page.act(parse(action))
            observation = f"Nothing happens. {state.refused}" if state.refused else _shown(state)
        except NoAction as error:
            observation = f"Nothing happens. {error}"
        self._steps += 1
        state = page.state
        ended = state.done and not was_over
        reward = _score(state) if self._reward == "score" else float(_won(state))
        truncated = not state.done and self._steps >= self._max_steps
        return observation, reward if ended else 0.0, state.done, truncated, self._info(page)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later games independently."""
        page = self._require()
        return self._twin(_page=page.fork())

    def admissible(self) -> list[str]:
        """Return the admissible actions, in the order of the page.

        What can be typed is any text; listed are the words of the task.
        """
        return list(self._require().state.options)

    def inadmissible(self, rng: random.Random) -> str:
        """Return an action on an element that is not there."""
        page = self._require()
        return f"{rng.choice(('click', 'hover'))} [{1000 + rng.randrange(len(page.state.lines) + 9)}]"

    def hidden_state(self) -> str:
        """Return the whole page as text, with what cannot be seen; unseen elements have no number."""
        page = self._require()
        lines = [f"Game: {page.game}", f"Task: {page.task}"]
        if page.state.done:
            return "\n".join([*lines, _shown(page.state)])
        return "\n".join([*lines, *page.hidden()])

    def expert(self) -> PageExpert | None:
        """Return an expert at the beginning of the episode; None for tasks without one (see `experts.EXPERTS`)."""
        return expert_for(self._require().game.task, self._opening)

    def close(self) -> None:
        """Let other environments have the tab of the browser, which stays for them."""
        if self._page is not None:
            self._page.close()

    def _require(self) -> Page:
        if self._page is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._page

    def _info(self, page: Page) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task": page.task,
            "task_type": page.game.task,
            "game_id": str(page.game),
            "score": _score(page.state),
            "max_score": 1,
            "won": _won(page.state),
            "lost": page.state.done and not _won(page.state),
        }
        if self._list_admissible:
            info["admissible_actions"] = list(page.state.options)
        return info


def _won(state: State) -> bool:
    return state.done and state.reward >= 1.0


def _score(state: State) -> float:
    return min(1.0, max(0.0, state.reward)) if state.done else 0.0


def _shown(state: State) -> str:
    """Return a state as an observation."""
    said = [f'The page says "{text[:500]}".' for text in state.said[:3]]
    if state.done:
        return "\n".join([*said, f"The episode is over. The page gives {_score(state):.3g} of 1."])
    page = "\n".join(state.lines) or "The page is empty."
    if len(page) > LONGEST_PAGE:
        page = f"{page[:LONGEST_PAGE]}\n(The rest of the page is left out.)"
    return "\n".join([*said, page])


def _checked(game: GameLike) -> Game:
    """Return a game with its name understood."""
    return game if isinstance(game, Game) else Game.parse(game)
