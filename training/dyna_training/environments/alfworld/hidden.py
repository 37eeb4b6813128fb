"""The hidden state of a household as compact text, for the privileged context of a world model.

One line per receptacle, then what is held and what was done to things, for example::

    at: fridge 1
    cabinet 2 (closed): cup 1, plate 3, and saltshaker 2
    fridge 1 (open): apple 1
    desk 1: nothing
    holding: mug 1
    clean: mug 1
    together: drawer 2, and drawer 1

Lists run as in the observations, with ``and`` before the last thing. Without it a reader has to look two things ahead
to know whether an ``and`` is due, and a small world model that copies a list gets just that wrong.
"""

from __future__ import annotations

from collections.abc import Iterable

from dyna_training.environments.alfworld.engine import State


def hidden_state(state: State) -> str:
    """Describe what is where, what is open, what is held and what was done to things.

    Receptacles stand in the order of the first look; those that share a place stand on one line ``together``.
    """
    game = state.game

    def named(things: Iterable[str]) -> str:
        names = [game.names[thing] for thing in sorted(things)]
        if len(names) > 1:
            names[-1] = f"and {names[-1]}"
        return ", ".join(names) or "nothing"

    here = game.receptacles_at.get(state.location)
    lines = [f"at: {named(here)}" if here else "at: middle of the room"]
    for receptacle in game.receptacles:
        opened = ""
        if receptacle in game.openable:
            opened = " (open)" if receptacle in state.opened else " (closed)"
        lines.append(f"{game.names[receptacle]}{opened}: {named(state.contents[receptacle])}")
    lines.append(f"holding: {game.names[state.holding] if state.holding else 'nothing'}")
    for label, things in (
        ("clean", state.clean),
        ("hot", state.hot),
        ("cool", state.cool),
        ("on", state.toggled),
        ("sliced", state.sliced),
    ):
        if things:
            lines.append(f"{label}: {named(things)}")
    lines.extend(
        f"inside {game.names[outer]}: {named(inner)}" for outer, inner in game.inside_objects.items()
    )
    lines.extend(f"together: {named(group)}" for group in game.receptacles_at.values() if len(group) > 1)
    return "\n".join(lines)
