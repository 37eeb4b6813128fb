"""The hidden state of a session as compact text, for the privileged context of a world model.

page: results 2 of 5 for noise cancelling headphones
chosen: color black, and size large
goal: B08F7VYMZ8 (found as result 14)
goal attributes: noise cancelling, and hands free
goal options: color black, and size large
goal price: at most 60.00
"""

from __future__ import annotations

from collections.abc import Iterable

from dyna_training.environments.text import plain
from dyna_training.environments.webshop.goals import Wish
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.shop import PAGE


def hidden_state(session: Session) -> str:
    """Describe where the session stands and what is wanted.

    Args:
        session: The session.
    """
    goal, state = session.goal, session.state
    number = session.shop.by_asin[goal.product.asin.lower()]
    found = ""
    if state.results:
        place = state.results.index(number) + 1 if number in state.results else None
        found = f" (found as result {place})" if place else " (not among the results)"
    lines = [
        f"page: {_page(session)}",
        f"chosen: {_listed(state.options)}",
        f"goal: {goal.product.asin}{found}",
        f"goal attributes: {_listed(goal.attributes)}",
        f"goal options: {_listed(goal.options)}",
        f"goal price: at most {goal.price_upper:.2f}",
    ]
    if state.bought is not None:
        lines.append(f"reward: {state.bought.total:.4f}")
    return plain("\n".join(lines))


def _page(session: Session) -> str:
    state = session.state
    match state.page:
        case "search":
            return "search"
        case "results":
            return f"results {state.number} of {-(-len(state.results) // PAGE)} for {state.keywords}"
        case "item":
            return f"item {session.product.asin}"
        case "sub_page":
            return f"{state.sub_page.lower()} of {session.product.asin}"
        case "done":
            return f"bought {session.product.asin}"


def _listed(things: Iterable[Wish]) -> str:
    items = [" ".join(thing) if isinstance(thing, tuple) else thing for thing in things]
    return (
        ", and ".join((", ".join(items[:-1]), items[-1])) if len(items) > 1 else "".join(items) or "nothing"
    )
