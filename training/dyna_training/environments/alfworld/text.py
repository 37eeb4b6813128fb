"""What the games say: the fixed texts and the descriptions of places and things."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dyna_training.environments.alfworld.engine import State

NOTHING_HAPPENS: Final = "Nothing happens."
"""The observation of every command that is not admissible."""

WELCOME: Final = "-= Welcome to TextWorld, ALFRED! =-"

HELP: Final = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""


def look(state: State, *, first: bool = False) -> str:
    """Return what the agent sees around it; only the very first look lists the room."""
    game, names = state.game, state.game.names
    here = game.receptacles_at.get(state.location)
    if here:
        # An object lies on the floor only if it was once taken out of one receptacle of this place and
        # now is in another of the same place; it is named once per receptacle that it was taken from.
        floor = [
            names[o]
            for o in sorted({o for o, _ in state.taken})
            if state.location in state.places.get(o, ())
            for r in here
            if (o, r) in state.taken
        ]
        return f"You are facing the {joined([names[r] for r in here])}. Next to it, you see {listing(floor)}."
    # A later look at the same place is about things at this place, and there are none.
    seen = [names[r] for r in game.receptacles] if first else []
    return f"You are in the middle of a room. Looking quickly around you, you see {listing(seen)}."


def describe_receptacle(state: State, receptacle: str) -> str:
    """Return what examining a receptacle says."""
    name, names = state.game.names[receptacle], state.game.names
    if receptacle in state.game.openable:
        if receptacle not in state.opened:
            return f"The {name} is closed."
        return f"The {name} is open. In it, you see {listing(names[o] for o in state.contents[receptacle])}."
    return f"On the {name}, you see {listing(names[o] for o in state.contents[receptacle])}."


def describe_object(state: State, thing: str) -> str:
    """Return what examining a held object says."""
    game, name = state.game, state.game.names[thing]
    if thing in game.receptacle_objects:
        inside = game.inside_objects.get(thing, ())
        return f"This is a normal {name}. In it, you see {listing(game.names[o] for o in inside)}."
    clean, hot, cool = thing in state.clean, thing in state.hot, thing in state.cool
    sliced = "sliced " if thing in state.sliced else ""
    if clean and hot:
        return f"This is a hot and clean {sliced}{name}."
    if clean and cool:
        return f"This is a cool and clean {sliced}{name}."
    # The original's order of conditions: a sliced thing is clean before it is hot, an unsliced one hot first.
    if clean and (sliced or not hot):
        return f"This is a clean {sliced}{name}."
    if hot:
        return f"This is a hot {sliced}{name}."
    if cool:
        return f"This is a {'cool' if sliced else 'cold'} {sliced}{name}."
    if thing in game.toggleable and thing in state.toggled:
        return f"This {name} is on."
    if sliced and thing in game.sliceable:
        return f"This is a sliced {name}."
    return f"There's nothing special about {name}."


def joined(names: Iterable[str]) -> str:
    """Join names as the games do: two or more end with ``, and``."""
    items = list(names)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])}, and {items[-1]}"


def listing(names: Iterable[str]) -> str:
    """List things with articles, or ``nothing``."""
    items = [f"a {name}" for name in names]
    return joined(items) if items else "nothing"
