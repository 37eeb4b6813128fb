"""What the history of a game determines about the next observation, and what it leaves open.

The rules of the household are taken as known (what can be heated, which commands exist); what differs
between games is known only from the history: what stands together, what is in what, what can be opened, what
may be put where. `KnownWorld.predict` is therefore also a world model without learning, exact where it
answers at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from dyna_training.environments.alfworld.statistics import acceptance
from dyna_training.environments.alfworld.task import kind, split_command
from dyna_training.environments.alfworld.text import HELP, NOTHING_HAPPENS, joined, listing
from dyna_training.environments.alfworld.tracking import Tracker

Unknown = Literal["first look", "hidden"]
"""Why an observation is not determined: it reports contents or a state for the first time, or it depends on
something else that the history does not tell, such as whether two receptacles stand together."""

HEATABLE: Final = frozenset({"apple", "bread", "cup", "egg", "mug", "plate", "potato", "tomato"})
COOLABLE: Final = frozenset(
    {
        "apple",
        "bowl",
        "bread",
        "cup",
        "egg",
        "lettuce",
        "mug",
        "pan",
        "plate",
        "pot",
        "potato",
        "tomato",
        "winebottle",
    }
)
CLEANABLE: Final = frozenset(
    {
        "apple",
        "bowl",
        "butterknife",
        "cloth",
        "cup",
        "dishsponge",
        "egg",
        "fork",
        "kettle",
        "knife",
        "ladle",
        "lettuce",
        "mug",
        "pan",
        "plate",
        "pot",
        "potato",
        "soapbar",
        "spatula",
        "spoon",
        "tomato",
    }
)
SLICEABLE: Final = frozenset({"apple", "bread", "egg", "lettuce", "potato", "tomato"})
LAMPS: Final = frozenset({"desklamp", "floorlamp"})
HOLDERS: Final = frozenset({"bowl", "box", "cup", "mug", "pan", "plate", "pot"})
"""Kinds of objects that can hold other objects."""
FIXED: Final = frozenset(
    {
        "bathtub",
        "blinds",
        "chair",
        "curtains",
        "desklamp",
        "floorlamp",
        "houseplant",
        "laundryhamperlid",
        "lightswitch",
        "mirror",
        "painting",
        "poster",
        "showerdoor",
        "showerglass",
        "sink",
        "stoveknob",
        "television",
        "window",
    }
)
"""Kinds of objects that cannot be picked up in any game."""
_APPLIANCES: Final = {
    "clean": (CLEANABLE, "sinkbasin"),
    "heat": (HEATABLE, "microwave"),
    "cool": (COOLABLE, "fridge"),
}
"""Verb to the kinds of objects it works on and the kind of receptacle that does it."""


class KnownWorld(Tracker):
    """A `Tracker` that can say what it knows about the next observation."""

    __slots__ = ()

    def predict(self, action: str) -> str | None:
        """Return the observation of an action if the history determines it, else None.

        Args:
            action: Any text, as it would be given to `State.step`.
        """
        outcome = self._outcome(action)
        return None if outcome in ("first look", "hidden") else outcome

    def is_determined(self, action: str) -> bool:
        """Return whether the history determines the observation of `action`."""
        return self.predict(action) is not None

    def unknown(self, action: str) -> Unknown | None:
        """Return why the observation of `action` is not determined; None where it is."""
        outcome = self._outcome(action)
        if outcome == "first look":
            return "first look"
        return "hidden" if outcome == "hidden" else None

    def _outcome(self, action: str) -> str:
        command = action.strip()
        if command in self.repeated:
            return self.repeated[command]
        if not self.receptacles:
            return "hidden"
        verb, first, second = split_command(command)
        judge = _JUDGES.get(verb)
        if judge is None:
            return NOTHING_HAPPENS
        return judge(self, verb, first, second)

    def accepts(self, thing: str, receptacle: str) -> bool | None:
        """Return whether a thing can be put on a receptacle; None where neither rules nor history tell."""
        pair = kind(thing), kind(receptacle)
        return self.accepted.get(pair, acceptance().get(pair))

    # ------------------------------------------------------- parts of an answer

    def _presence(self, receptacle: str) -> bool | None:
        """Return whether the agent is at `receptacle`; None where that is not known."""
        if receptacle not in self.receptacles or self.here is None:
            return False
        return self.together(self.here, receptacle)

    def _has_no_door(self, receptacle: str) -> bool:
        """Return whether `receptacle` is known to have no door."""
        return receptacle in self.contents and receptacle not in self.opened

    def description(self, receptacle: str) -> str | None:
        """Return what is known to be seen at a receptacle; None where it was not looked at."""
        if self.is_closed(receptacle):
            return f"The {receptacle} is closed."
        if receptacle not in self.contents:
            return None
        things = listing(self.contents[receptacle])
        if receptacle in self.opened:
            return f"The {receptacle} is open. In it, you see {things}."
        return f"On the {receptacle}, you see {things}."

    # ------------------------------------------------------------------- judges

    def _go(self, verb: str, receptacle: str, _: str) -> str:
        if receptacle not in self.receptacles:
            return NOTHING_HAPPENS
        present = self._presence(receptacle)
        if present:
            return NOTHING_HAPPENS
        text = self.description(receptacle)
        if text is None:
            return "first look"
        return "hidden" if present is None else f"You arrive at {receptacle}. {text}"

    def _open(self, verb: str, receptacle: str, _: str) -> str:
        present = self._presence(receptacle)
        if present is False or self._has_no_door(receptacle) or self.opened.get(receptacle):
            return NOTHING_HAPPENS
        if receptacle not in self.opened:
            return "first look"
        if present is None:
            return "hidden"
        if receptacle not in self.contents:
            return "first look"
        things = listing(self.contents[receptacle])
        return f"You open the {receptacle}. The {receptacle} is open. In it, you see {things}."

    def _close(self, verb: str, receptacle: str, _: str) -> str:
        # Everything is closed at the start, so only what is known to be open can be closed.
        present = self._presence(receptacle)
        if present is False or not self.opened.get(receptacle):
            return NOTHING_HAPPENS
        return "hidden" if present is None else f"You close the {receptacle}."

    def _take(self, verb: str, thing: str, receptacle: str) -> str:
        present = self._presence(receptacle)
        if present is False or self.holding is not None or self.is_closed(receptacle) or kind(thing) in FIXED:
            return NOTHING_HAPPENS
        if receptacle not in self.contents:
            return "first look"
        if thing not in self.contents[receptacle]:
            return NOTHING_HAPPENS
        if present is None or kind(thing) == "footstool":
            return "hidden"
        return f"You pick up the {thing} from the {receptacle}."

    def _move(self, verb: str, thing: str, receptacle: str) -> str:
        present = self._presence(receptacle)
        if present is False or thing != self.holding or self.is_closed(receptacle):
            return NOTHING_HAPPENS
        accepted = self.accepts(thing, receptacle)
        if accepted is False:
            return NOTHING_HAPPENS
        if receptacle not in self.contents:
            return "first look"
        if present is None or (accepted is None and not self._is_the_task(thing, receptacle)):
            return "hidden"
        return f"You move the {thing} to the {receptacle}."

    def _is_the_task(self, thing: str, receptacle: str) -> bool:
        """Return whether the task asks for this, so that it must be possible."""
        task = self.task
        if task is None or task.task_type == "look_at_obj_in_light":
            return False
        return (kind(thing), kind(receptacle)) == (task.object, task.target)

    def _prepare(self, verb: str, thing: str, receptacle: str) -> str:
        things, appliance = _APPLIANCES[verb]
        present = self._presence(receptacle)
        if present is False or thing != self.holding or kind(thing) not in things:
            return NOTHING_HAPPENS
        if kind(receptacle) != appliance:
            # A bathtub basin works as a sink in some rooms and not in others.
            return "hidden" if verb == "clean" and kind(receptacle) == "bathtubbasin" else NOTHING_HAPPENS
        if present is None or (verb == "cool" and self._maybe_cold(thing) and kind(thing) not in HEATABLE):
            return "hidden"
        return f"You {verb} the {thing} using the {receptacle}."

    def _maybe_cold(self, thing: str) -> bool:
        """Return whether a thing may be cold from the start: it was first seen in the fridge."""
        return kind(self.was_in.get(thing, "fridge")) == "fridge"

    def _use(self, verb: str, lamp: str, _: str) -> str:
        if kind(lamp) not in LAMPS or self.here is None:
            return NOTHING_HAPPENS
        group = self.group(self.here)
        if any(lamp in self.contents.get(receptacle, ()) for receptacle in group):
            return f"You turn on the {lamp}."
        if self.here in self.whole and all(receptacle in self.contents for receptacle in group):
            return NOTHING_HAPPENS
        return "hidden"

    def _slice(self, verb: str, thing: str, knife: str) -> str:
        if (
            knife != self.holding
            or kind(knife) not in ("knife", "butterknife")
            or kind(thing) not in SLICEABLE
        ):
            return NOTHING_HAPPENS
        put = self.put.get(thing)
        if put is not None and self._presence(put) and thing in self.contents.get(put, ()):
            return f"You sliced the {thing} with the {knife}."
        # A thing may be listed in a receptacle that stands elsewhere, or lie on the floor.
        return "hidden"

    def _examine(self, verb: str, name: str, _: str) -> str:
        present = self._presence(name)
        if present is not False:
            text = self.description(name)
            if text is None:
                return "first look"
            return "hidden" if present is None else text
        return self._describe_held(name) if name == self.holding else NOTHING_HAPPENS

    def _describe_held(self, thing: str) -> str:
        if kind(thing) in HOLDERS:
            return self.normal.get(thing, "first look")
        clean, hot, cool, sliced = (
            (thing, state) in self.states for state in ("clean", "hot", "cool", "sliced")
        )
        if not hot and not cool and kind(thing) in COOLABLE and self._maybe_cold(thing):
            return "first look"
        name = f"sliced {thing}" if sliced else thing
        if clean and (hot or cool):
            return f"This is a {'hot' if hot else 'cool'} and clean {name}."
        if hot or clean or cool:
            return f"This is a {'hot' if hot else 'clean' if clean else 'cool' if sliced else 'cold'} {name}."
        return f"This is a {name}." if sliced else f"There's nothing special about {thing}."

    def _look(self, verb: str, rest: str, _: str) -> str:
        if rest:
            return NOTHING_HAPPENS
        if self.here is None:
            return "You are in the middle of a room. Looking quickly around you, you see nothing."
        group = self.group(self.here)
        alone = all(self.together(self.here, other) is not None for other in self.receptacles)
        if not alone:
            return "hidden"
        floor = []
        for thing, receptacle in sorted(self.taken, key=lambda pair: (kind(pair[0]), pair)):
            if receptacle in group and thing != self.holding:
                put = self.put.get(thing)
                if put is None or self.together(self.here, put) is None:
                    return "hidden"
                if put in group:
                    floor.append(thing)
        # The order among several is that of hidden names.
        if len(set(floor)) > 1:
            return "hidden"
        facing = joined([receptacle for receptacle in self.receptacles if receptacle in group])
        return f"You are facing the {facing}. Next to it, you see {listing(floor)}."

    def _inventory(self, verb: str, rest: str, _: str) -> str:
        if rest:
            return NOTHING_HAPPENS
        return f"You are carrying: a {self.holding}." if self.holding else "You are not carrying anything."

    def _help(self, verb: str, rest: str, _: str) -> str:
        return NOTHING_HAPPENS if rest else HELP


_JUDGES: Final[dict[str, Callable[[KnownWorld, str, str, str], str]]] = {
    "look": KnownWorld._look,
    "inventory": KnownWorld._inventory,
    "help": KnownWorld._help,
    "go": KnownWorld._go,
    "examine": KnownWorld._examine,
    "open": KnownWorld._open,
    "close": KnownWorld._close,
    "take": KnownWorld._take,
    "move": KnownWorld._move,
    "use": KnownWorld._use,
    "clean": KnownWorld._prepare,
    "heat": KnownWorld._prepare,
    "cool": KnownWorld._prepare,
    "slice": KnownWorld._slice,
}
