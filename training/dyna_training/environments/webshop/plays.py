"""Sessions that exercise a shop: bought well and badly, wandered through, and with what no page offers."""

from __future__ import annotations

import random
from typing import Final

from dyna_training.environments.webshop.experts import OracleExpert
from dyna_training.environments.webshop.pages import BUY
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.suggestions import searches

_NONSENSE: Final = (
    *(
        "",
        "dance",
        "search",
        "click",
        "search[]",
        "click[]",
        "Search[shoes]",
        " click[buy now]",
        "click[search]",
    ),
    *(
        "click[buy",
        "click[b000000000]",
        "click[no such option]",
        "search shoes",
        "click[next >",
        "think[shoes]",
    ),
)
_ODD: Final = (
    *("search[ ]", "search[the of and]", "search[a]b]", "search[qwxzyk]", "search[MEN'S Shoes, 10.5 (wide)]"),
    *(
        "search[3.5mm 12-pack t-shirts]",
        "search[café crème ½ ★]",
        "search[shoes] and more",
        "search[red red red]",
    ),
)


def actions(session: Session, steps: int, seed: int) -> list[str]:
    """Make up at least `steps` actions and a purchase, the same for the same seed.

    Args:
        session: At its beginning; it is left there.
        steps: Least number of actions.
        seed: Seeds them.
    """
    rng = random.Random(f"{seed} {session.name}")
    done: list[str] = []
    expert, session = OracleExpert(session), session.fork()
    wanders, buys_well = rng.random() < 0.7, rng.random() < 0.5
    while session.state.page != "done":
        ready = len(done) >= steps
        if rng.random() < 0.1:
            action = rng.choice(_NONSENSE)
        elif rng.random() < 0.1 and not ready:
            action = _search(session, rng)
        elif ready and session.state.page == "item" and not buys_well:
            action = f"click[{BUY}]"
        elif ready or not wanders:
            action = _exact(session, expert.decide().action)
        else:
            action = _wander(session, rng)
        if not ready and action == f"click[{BUY.lower()}]":
            action = "click[back to search]"
        session.act(action)
        expert.observe(action, "")
        done.append(action)
    return done


def _search(session: Session, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(_ODD)
    if draw < 0.6:
        return f"search[{rng.choice(searches(session.goal.instruction))}]"
    text = rng.choice(session.shop.products).title.translate(str.maketrans("[]", "  ")).split()
    return f"search[{' '.join(rng.choices(text, k=rng.randint(1, 8)))}]" if text else "search[shoes]"


def _wander(session: Session, rng: random.Random) -> str:
    names = [name for name in session.clickables() if name != BUY.lower()]
    if names == ["search"]:
        return _search(session, rng)
    # Pages of results have many products and two buttons, pages of products many options.
    name = rng.choice(names[:6] if rng.random() < 0.5 else names)
    return f"click[{name.upper() if rng.random() < 0.2 else name}]"


def _exact(session: Session, action: str) -> str:
    """Return a click as the original understands it, which knows no other spelling."""
    name = session.meant(action[len("click[") : -1]) if action.startswith("click[") else None
    return action if name is None else f"click[{name}]"
