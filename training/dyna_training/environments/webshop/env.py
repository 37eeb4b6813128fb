"""The gymnasium environment ``dyna/WebShop-v0``."""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space
from dyna_training.environments.text import cut, plain
from dyna_training.environments.webshop.experts import OracleExpert
from dyna_training.environments.webshop.hidden import hidden_state
from dyna_training.environments.webshop.nouns import NOUNS, Nouns
from dyna_training.environments.webshop.pages import SEPARATOR
from dyna_training.environments.webshop.session import LONGEST, Session
from dyna_training.environments.webshop.shop import Shop, open_shop, parse
from dyna_training.environments.webshop.splits import Split
from dyna_training.environments.webshop.splits import games as games_of
from dyna_training.environments.webshop.suggestions import searches

MAX_STEPS: Final = 50
"""Steps after which an episode is cut off, as in the papers."""
LONGEST_PAGE: Final = 32_768
"""Characters of a page; what is longer is cut off."""
_OFFERED, _CHOSEN, _NORMAL = "\x1b[36m", "\x1b[1;32m", "\x1b[0m"
Reward = Literal["success", "score"]
_BUTTONS: Final = ("back to search", "next >", "< prev", "description", "features", "reviews", "buy now")


class WebShopEnv(ForkableEnv):
    """WebShop: find and buy the product that an instruction asks for, with the right options.

    Actions are ``search[words]`` and ``click[what the page offers]``. Buying ends the episode. Its ``score`` is the
    paper's reward, between 0 and 1, and a score of 1 is a success (``won``). The reward is 1 with a success and 0
    otherwise, as everywhere in this project; with ``reward="score"`` it is the paper's. What the page does not offer
    costs a step and shows the page again, as in the original.

    `info` always has ``task``, ``task_type`` (the department), ``game_id``, ``score``, ``max_score``, ``won`` and,
    unless switched off, ``admissible_actions``: what can be clicked on and, where there is a search bar, some
    searches that the instruction suggests; any other words can be searched for, too.

    `fork` copies a reference, since a session's whole state is a small value; environments can be pickled, too, and go
    on in another process that has the data.

    Example:
        >>> env = gymnasium.make("dyna/WebShop-v0", split="dev")  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("search[red shoes]")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[str] | None = None,
        data_dir: str | Path | None = None,
        reward: Reward = "success",
        nouns: Nouns = "words",
        attributes_page: bool = False,
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw goals from this split.
            games: Draw from these goals instead: ``synthetic/<number>`` or ``human/<number>``.
            data_dir: Folder with the original's data files, or the file of products; default ``$WEBSHOP_DATA``.
            reward: What is rewarded: that exactly the right thing is bought, or the paper's score.
            nouns: How the reward finds the words of a title that name things: ``words`` goes by lists, ``spacy`` asks
                the original's model, which must be installed.
            attributes_page: Whether products have a page of attributes, as the original's ``show_attrs``.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: The data of `split` are not there, or a goal has no such name.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        check_arguments(split, games, max_steps, render_mode, reward=reward)
        if nouns not in NOUNS:
            raise ValueError(f"nouns must be 'words' or 'spacy', got {nouns!r}.")
        self.action_space = text_space(LONGEST)
        self.observation_space = text_space(LONGEST_PAGE)
        self._source = (data_dir, nouns)
        self._games = list(games or ())
        for game in self._games:
            parse(game)
        if split is not None:
            self._games.extend(games_of(split, self._shop()))
        self._reward = reward
        self._weights: list[float] = []
        self._attributes_page = attributes_page
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._session: Session | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of goals; the same seed draws the same goal.
            options: ``{"game": …}`` plays that goal, by its name, instead of drawing one.

        Returns:
            The page with the search bar, task included, and `info`.

        Raises:
            GameFileError: The data are missing or broken, or there is no such goal.
            PackageMissing: ``nouns="spacy"``, and the model is not installed.
            ValueError: There is no goal to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        shop, name = self._shop(), str(self.choose_game(self._drawn(), options))
        shop.goal(name)
        self._session = Session(shop, name, self._attributes_page)
        self._steps = 0
        return self._page(self._session), self._info(self._session)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Search or click.

        Args:
            action: Any text.

        Returns:
            The page, reward (with the purchase), terminated (bought), truncated (`max_steps` reached),
            and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        session = self._require()
        bought = session.act(action) and session.state.bought
        self._steps += 1
        over = session.state.bought is not None
        truncated = not over and self._steps >= self._max_steps
        score = bought.total if bought else 0.0
        reward = score if self._reward == "score" else float(score == 1.0)
        return self._page(session), reward, over, truncated, self._info(session)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later goals independently."""
        session = self._require()
        return self._twin(_session=session.fork())

    def admissible(self) -> list[str]:
        """Return what can be clicked on, and where there is a search bar, some searches."""
        session = self._require()
        if session.state.page == "search":
            return [f"search[{words}]" for words in map(plain, searches(session.goal.instruction))]
        names = (plain(name) for name in session.clickables() if name and "[" not in name)
        return [f"click[{name}]" for name in dict.fromkeys(names)]

    def inadmissible(self, rng: random.Random) -> str:
        """Return a click on what the page does not offer."""
        session = self._require()
        offered = session.clickables()
        others = [button for button in _BUTTONS if button not in offered]
        asins = (rng.choice(session.shop.products).asin.lower() for _ in range(3))
        return f"click[{rng.choice([*others, *(asin for asin in asins if asin not in offered)])}]"

    def hidden_state(self) -> str:
        """Return the hidden state as compact text (see `hidden.hidden_state`)."""
        return hidden_state(self._require())

    def render(self) -> str:
        """Return the page line by line: what can be clicked on in colour, what is chosen in another."""
        session = self._require()
        offered, chosen = session.clickables(), session.state.options
        lines = []
        for piece in session.page().split(SEPARATOR):
            name = piece.lower()
            colour = _CHOSEN if (offered.get(name), name) in chosen else _OFFERED
            text = plain(" ".join(piece.split()))
            lines.append(f"{colour}{text}{_NORMAL}" if name in offered else text)
        return "\n".join(lines)

    def expert(self) -> OracleExpert:
        """Return an oracle at the beginning of the episode: it knows the product."""
        session = self._require()
        return OracleExpert(Session(session.shop, session.name, self._attributes_page))

    @property
    def session(self) -> Session:
        """The session being played; acting in it steps the environment without counting steps."""
        return self._require()

    def _drawn(self) -> list[str]:
        """Return one goal, drawn by its weight as in the original; none where there is none to draw from."""
        if self._games and not self._weights:
            goals = map(self._shop().goal, self._games)
            self._weights = list(itertools.accumulate(goal.weight for goal in goals))
        place = self.np_random.random() * self._weights[-1] if self._games else 0.0
        return self._games[bisect.bisect(self._weights, place) :][:1]

    def _shop(self) -> Shop:
        return open_shop(*self._source)

    def _require(self) -> Session:
        if self._session is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._session

    @staticmethod
    def _page(session: Session) -> str:
        return cut(plain(session.page()), LONGEST_PAGE)

    def _info(self, session: Session) -> dict[str, Any]:
        goal, bought = session.goal, session.state.bought
        info: dict[str, Any] = {
            "task": plain(goal.instruction),
            "task_type": goal.product.category,
            "game_id": session.name,
            "score": bought.total if bought else 0.0,
            "max_score": 1.0,
            "won": bought is not None and bought.total == 1.0,
        }
        if self._list_admissible:
            info["admissible_actions"] = self.admissible()
        return info
