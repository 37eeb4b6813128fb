"""An oracle that knows which product the goal was made from, and buys it with the options that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dyna_training.environments.text import plain
from dyna_training.environments.webshop.pages import BACK, BUY, NEXT, PREV
from dyna_training.environments.webshop.reward import alike, normal
from dyna_training.environments.webshop.search import RESULTS
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.shop import PAGE
from dyna_training.environments.webshop.suggestions import searches

_BRACKETS: Final = str.maketrans("[]", "  ")


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: a short reason, and the command."""

    thought: str
    action: str


class OracleExpert:
    """Searches for what the instruction says, in the words that bring the product up first, and buys it.

    It knows the product, so the choice among results is not to be learned from it alone. Where no words of the
    instruction find the product, it searches for its title.
    """

    def __init__(self, session: Session) -> None:
        """Prepare to play.

        Args:
            session: At its beginning; the expert keeps a copy, in which it follows what happens.
        """
        self._session = session.fork()
        goal = session.goal
        self._number = session.shop.by_asin[goal.product.asin.lower()]
        self._query = _best_query(session, self._number)

    def decide(self) -> Decision:
        """Return the next thought and command."""
        session, state = self._session, self._session.state
        match state.page:
            case "search":
                thought = "I search for what is asked for."
                return Decision(thought, f"search[{self._query}]")
            case "results" if self._number in state.results:
                return self._towards(state.results.index(self._number) // PAGE + 1)
            case "results":
                return Decision("What I want is not among these results; I search again.", _click(BACK))
            case "item" if state.product == self._number:
                return self._choose()
            case "item":
                return Decision("This is not what is asked for; I go back to the results.", _click(PREV))
            case "sub_page":
                return Decision("I know enough; I go back to the product.", _click(PREV))
            case _:
                return Decision(f"{session.product.asin} is bought; nothing is left to do.", _click(BUY))

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command."""
        self._session.act(action)

    def fork(self) -> OracleExpert:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._session = self._session.fork()
        return twin

    def _towards(self, page: int) -> Decision:
        here, product = self._session.state.number, self._session.goal.product
        if page == here:
            thought = f"{product.asin} fits: {plain(product.title[:80]).strip()}."
            return Decision(" ".join(thought.split()), _click(product.asin))
        thought = "Nothing on this page fits best; I turn the page."
        return Decision(thought, _click(NEXT if page > here else PREV))

    def _choose(self) -> Decision:
        chosen = dict(self._session.state.options)
        for name, value in wanted_options(self._session).items():
            if chosen.get(name) != value:
                thought = f"The {name} has to be {value}."
                return Decision(" ".join(plain(thought).split()), _click(value))
        return Decision("It is what is asked for, with the right options; I buy it.", _click(BUY))


def wanted_options(session: Session) -> dict[str, str]:
    """Return what is to be clicked on for a goal, as name and value of options.

    Args:
        session: Of the goal, on the page of its product.
    """
    offered, found = session.clickables(), {}
    for wish in session.goal.options:
        wished = wish[1] if isinstance(wish, tuple) else wish
        values = [value for value in (wished, *offered) if offered.get(value)]
        # The value itself, else one that counts as the same; the reward has wishes that no value meets.
        met = [value for value in values if alike(normal(value), normal(wish))]
        for value in met or [value for value in values if value == wished]:
            if _can_choose(session, value):
                found[offered[value]] = value
                break
    return found


def _can_choose(session: Session, value: str) -> bool:
    """Return whether a click chooses a value; some are named like a button, or have brackets."""
    after = session.fork()
    after.act(_click(value))
    return after.state.page == "item" and value in dict(after.state.options).values()


def _best_query(session: Session, number: int) -> str:
    """Return the search by words of the instruction that lists a product first, or its title."""
    index, best = session.shop.index, RESULTS
    title = " ".join(session.goal.product.title.lower().translate(_BRACKETS).split())
    query = plain(title)
    for words in map(plain, searches(session.goal.instruction)):
        results = index.search(words)
        if number in results and results.index(number) < best:
            query, best = words, results.index(number)
    return query


def _click(name: str) -> str:
    return f"click[{plain(name.lower())}]"
