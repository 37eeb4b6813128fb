"""The ALFWorld engine in pure Python: the same text, the same commands, the same success as the original.

The official games run on TextWorld, which grounds the PDDL problem with Fast Downward and writes text with a
grammar. This module computes the same directly. Where the original does something odd, a comment says so.
"""

from __future__ import annotations

from typing import Final

from dyna_training.environments.alfworld.game import Game
from dyna_training.environments.alfworld.text import (
    HELP,
    NOTHING_HAPPENS,
    WELCOME,
    describe_object,
    describe_receptacle,
    look,
)

_SINKS: Final = frozenset({"sinkbasintype", "sinktype"})
_KNIVES: Final = frozenset({"knifetype", "butterknifetype"})


class State:
    """The state of one game. `step` changes it; `fork` gives an independent copy.

    No collection is ever changed in place: a step replaces what it changes, so that a fork only copies a
    dozen references.
    """

    __slots__ = (
        "clean",
        "contents",
        "cool",
        "game",
        "holding",
        "hot",
        "location",
        "opened",
        "places",
        "sliced",
        "taken",
        "toggled",
        "won",
    )

    game: Game
    location: str
    holding: str | None
    contents: dict[str, tuple[str, ...]]
    places: dict[str, frozenset[str]]
    opened: frozenset[str]
    taken: frozenset[tuple[str, str]]
    clean: frozenset[str]
    hot: frozenset[str]
    cool: frozenset[str]
    toggled: frozenset[str]
    sliced: frozenset[str]
    won: bool

    def __init__(self, game: Game) -> None:
        """Start `game` from its beginning."""
        nothing: frozenset[str] = frozenset()
        self.game = game
        self.location = game.start_location
        self.holding = None
        self.contents = dict(game.start_contents)
        self.places = dict(game.start_places)
        self.opened = game.start_opened
        # Pairs (object, receptacle) out of which something was taken: the floor text depends on it.
        self.taken = frozenset()
        self.clean = self.hot = self.toggled = self.sliced = nothing
        self.cool = game.start_cool
        self.won = self._goal_holds()

    def fork(self) -> State:
        """Return an independent state equal to this one."""
        twin = State.__new__(State)
        twin.game = self.game
        twin.location = self.location
        twin.holding = self.holding
        twin.contents = self.contents
        twin.places = self.places
        twin.opened = self.opened
        twin.taken = self.taken
        twin.clean = self.clean
        twin.hot = self.hot
        twin.cool = self.cool
        twin.toggled = self.toggled
        twin.sliced = self.sliced
        twin.won = self.won
        return twin

    def introduction(self) -> str:
        """Return the first observation: welcome, what is around, and the task."""
        return f"{WELCOME}\n\n{look(self, first=True)}\n\nYour task is to: {self.game.task}"

    def step(self, command: str) -> tuple[str, bool]:
        """Execute one command.

        Args:
            command: Any text; what is not admissible now changes nothing.

        Returns:
            The observation, and whether the task is done in the new state.
        """
        verb, _, rest = command.strip().partition(" ")
        execute = _VERBS.get(verb)
        observation = execute(self, rest) if execute else None
        if observation is None:
            return NOTHING_HAPPENS, self.won
        if verb not in _PASSIVE:
            self.won = self._goal_holds()
        return observation, self.won

    def admissible(self) -> list[str]:
        """Return the admissible commands, sorted as in the alfworld package."""
        game, names, held = self.game, self.game.names, self.holding
        commands = ["help", "inventory", "look", *game.go_commands[self.location]]
        for receptacle in game.receptacles_at.get(self.location, ()):
            name = names[receptacle]
            commands.append(f"examine {name}")
            accessible = True
            if receptacle in game.openable:
                accessible = receptacle in self.opened
                commands.append(f"{'close' if accessible else 'open'} {name}")
            inside = self.contents[receptacle]
            # The lamp's switch can be reached even in a closed receptacle.
            commands.extend(f"use {names[thing]}" for thing in inside if thing in game.toggleable)
            if held is None:
                if accessible:
                    commands.extend(f"take {names[o]} from {name}" for o in inside if o in game.pickupable)
                continue
            if accessible and game.object_type[held] in game.accepts[receptacle]:
                commands.append(f"move {names[held]} to {name}")
            for verb, things, kinds in (
                ("clean", game.cleanable, _SINKS),
                ("heat", game.heatable, _MICROWAVE),
                ("cool", game.coolable, _FRIDGE),
            ):
                fits = game.receptacle_type[receptacle] in kinds and held in things
                if fits and (verb != "cool" or self._can_cool(held)):
                    commands.append(f"{verb} {names[held]} with {name}")
        if held is not None:
            # The original's condition for looking at an unheld object names a type that does not exist.
            commands.append(f"examine {names[held]}")
            if game.object_type[held] in _KNIVES:
                commands.extend(
                    f"slice {names[o]} with {names[held]}"
                    for o in game.sliceable
                    if self.location in self.places.get(o, ())
                )
        return sorted(set(commands))

    # -------------------------------------------------------------- commands

    def _at(self, name: str) -> str | None:
        """Return the receptacle of that name if it is where the agent is."""
        receptacle = self.game.receptacle_by_name.get(name)
        if receptacle is None or self.game.location_of[receptacle] != self.location:
            return None
        return receptacle

    def _accessible(self, receptacle: str) -> bool:
        return receptacle not in self.game.openable or receptacle in self.opened

    def _go(self, rest: str) -> str | None:
        receptacle = self.game.receptacle_by_name.get(rest[3:]) if rest.startswith("to ") else None
        if receptacle is None or self.game.location_of[receptacle] == self.location:
            return None
        self.location = self.game.location_of[receptacle]
        return f"You arrive at {rest[3:]}. {describe_receptacle(self, receptacle)}"

    def _open(self, name: str) -> str | None:
        receptacle = self._at(name)
        if receptacle is None or receptacle not in self.game.openable or receptacle in self.opened:
            return None
        self.opened = self.opened | {receptacle}
        return f"You open the {name}. {describe_receptacle(self, receptacle)}"

    def _close(self, name: str) -> str | None:
        receptacle = self._at(name)
        if receptacle is None or receptacle not in self.game.openable or receptacle not in self.opened:
            return None
        self.opened = self.opened - {receptacle}
        return f"You close the {name}."

    def _take(self, rest: str) -> str | None:
        thing_name, _, name = rest.partition(" from ")
        receptacle, thing = self._at(name), self.game.object_by_name.get(thing_name)
        if (
            receptacle is None
            or thing is None
            or self.holding is not None
            or thing not in self.game.pickupable
            or thing not in self.contents[receptacle]
            or not self._accessible(receptacle)
        ):
            return None
        self.holding = thing
        # A thing may be in two receptacles: only this one and this place lose it.
        left = tuple(o for o in self.contents[receptacle] if o != thing)
        self.contents = {**self.contents, receptacle: left}
        self.places = {**self.places, thing: self.places.get(thing, frozenset()) - {self.location}}
        self.taken = self.taken | {(thing, receptacle)}
        return f"You pick up the {thing_name} from the {name}."

    def _move(self, rest: str) -> str | None:
        thing_name, _, name = rest.partition(" to ")
        receptacle, thing = self._at(name), self._held(thing_name)
        if (
            receptacle is None
            or thing is None
            or self.game.object_type[thing] not in self.game.accepts[receptacle]
            or not self._accessible(receptacle)
        ):
            return None
        self.holding = None
        self.contents = {**self.contents, receptacle: tuple(sorted({*self.contents[receptacle], thing}))}
        self.places = {**self.places, thing: self.places.get(thing, frozenset()) | {self.location}}
        self.taken = self.taken - {(thing, receptacle)}
        return f"You move the {thing_name} to the {name}."

    def _held(self, name: str) -> str | None:
        thing = self.game.object_by_name.get(name)
        return thing if thing is not None and thing == self.holding else None

    def _appliance(
        self, rest: str, kinds: frozenset[str], things: frozenset[str]
    ) -> tuple[str, str, str] | None:
        """Return the held object and both names of ``<object> with <receptacle>``, if they fit."""
        thing_name, _, name = rest.partition(" with ")
        receptacle, thing = self._at(name), self._held(thing_name)
        if receptacle is None or thing is None or thing not in things:
            return None
        return (thing, thing_name, name) if self.game.receptacle_type[receptacle] in kinds else None

    def _clean(self, rest: str) -> str | None:
        used = self._appliance(rest, _SINKS, self.game.cleanable)
        if used is None:
            return None
        self.clean = self.clean | {used[0]}
        return f"You clean the {used[1]} using the {used[2]}."

    def _heat(self, rest: str) -> str | None:
        used = self._appliance(rest, _MICROWAVE, self.game.heatable)
        if used is None:
            return None
        self.hot, self.cool = self.hot | {used[0]}, self.cool - {used[0]}
        return f"You heat the {used[1]} using the {used[2]}."

    def _cool(self, rest: str) -> str | None:
        used = self._appliance(rest, _FRIDGE, self.game.coolable)
        if used is None or not self._can_cool(used[0]):
            return None
        self.cool, self.hot = self.cool | {used[0]}, self.hot - {used[0]}
        return f"You cool the {used[1]} using the {used[2]}."

    def _can_cool(self, thing: str) -> bool:
        # The planner drops actions that can never change anything: cooling what is cold from the start and
        # cannot be heated in this game.
        game = self.game
        if thing not in game.start_cool:
            return True
        return thing in game.heatable and any(kind in _MICROWAVE for kind in game.receptacle_type.values())

    def _use(self, name: str) -> str | None:
        thing = self.game.object_by_name.get(name)
        here = self.game.receptacles_at.get(self.location, ())
        if thing not in self.game.toggleable or not any(thing in self.contents[r] for r in here):
            return None
        # Toggling twice leaves it toggled, and the text never says "off".
        self.toggled = self.toggled | {thing}
        return f"You turn on the {name}."

    def _slice(self, rest: str) -> str | None:
        thing_name, _, knife_name = rest.partition(" with ")
        thing, knife = self.game.object_by_name.get(thing_name), self._held(knife_name)
        if (
            thing is None
            or knife is None
            or thing not in self.game.sliceable
            or self.game.object_type[knife] not in _KNIVES
            or self.location not in self.places.get(thing, ())
        ):
            return None
        self.sliced = self.sliced | {thing}
        return f"You sliced the {thing_name} with the {knife_name}."

    def _examine(self, name: str) -> str | None:
        receptacle = self._at(name)
        if receptacle is not None:
            return describe_receptacle(self, receptacle)
        thing = self._held(name)
        return describe_object(self, thing) if thing is not None else None

    def _look_command(self, rest: str) -> str | None:
        return None if rest else look(self)

    def _inventory(self, rest: str) -> str | None:
        if rest:
            return None
        held = self.holding
        return f"You are carrying: a {self.game.names[held]}." if held else "You are not carrying anything."

    def _help(self, rest: str) -> str | None:
        return None if rest else HELP

    # ------------------------------------------------------------------ goal

    def _goal_holds(self) -> bool:
        goal, game = self.game.goal, self.game
        if goal.task_type == "look_at_obj_in_light":
            if self.holding is None or game.object_type[self.holding] != goal.object_type:
                return False
            return any(
                thing in self.toggled and game.object_type[thing] == goal.target_type
                for r in game.receptacles_at.get(self.location, ())
                for thing in self.contents[r]
            )
        needed = 2 if goal.task_type == "pick_two_obj_and_place" else 1
        for receptacle in game.receptacles:
            if game.receptacle_type[receptacle] != goal.target_type:
                continue
            done = 0
            for thing in self.contents[receptacle]:
                if game.object_type[thing] == goal.object_type and self._prepared(thing):
                    done += 1
            if done >= needed:
                return True
        return False

    def _prepared(self, thing: str) -> bool:
        kind = self.game.goal.task_type
        if kind == "pick_clean_then_place_in_recep":
            return thing in self.clean and thing in self.game.cleanable
        if kind == "pick_heat_then_place_in_recep":
            return thing in self.hot and thing in self.game.heatable
        if kind == "pick_cool_then_place_in_recep":
            return thing in self.cool and thing in self.game.coolable
        return True


_MICROWAVE: Final = frozenset({"microwavetype"})
_FRIDGE: Final = frozenset({"fridgetype"})
_PASSIVE: Final = frozenset({"look", "inventory", "help", "examine"})
_VERBS: Final = {
    "look": State._look_command,
    "inventory": State._inventory,
    "help": State._help,
    "go": State._go,
    "examine": State._examine,
    "open": State._open,
    "close": State._close,
    "take": State._take,
    "move": State._move,
    "use": State._use,
    "clean": State._clean,
    "heat": State._heat,
    "cool": State._cool,
    "slice": State._slice,
}
