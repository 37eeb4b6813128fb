"""Experts that know what the task and the history tell: one follows instructions, one looks for food and cooks it.

Both play the same commands in a game of their own, so that they see what the player sees, and are told about any
command, whoever chose it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from dyna_training.environments.textworld.knowledge import BETWEEN_THINGS, KnownGame, thing_of
from dyna_training.environments.textworld.tracking import Play
from dyna_training.environments.textworld.world import CUTS, HEATS, INVENTORY, World, world_of


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: a short reason that follows from the history, and the command.

    Attributes:
        thought: The reason.
        action: The command.
        wanted: What is looked for, by its name; empty where it was found.
    """

    thought: str
    action: str
    wanted: str = ""


class _Player(ABC):
    """Plays the same commands in a game of its own.

    Args:
        play: A game at its beginning.
    """

    def __init__(self, play: Play) -> None:
        self.play = play
        self._known = KnownGame(play.interpreter.opening.text)

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command; what it does is seen in the expert's own game."""
        self._known.observe(action, self.play.step(action))

    @abstractmethod
    def decide(self) -> Decision:
        """Return the next thought and command."""

    def foreseen(self, action: str, outcome: str) -> str:
        """Return what the history lets one say of an outcome; see `KnownGame.foreseen`."""
        decision = self.decide()
        return self._known.foreseen(action, outcome, decision.wanted if action == decision.action else "")

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.play, twin._known = self.play.fork(), self._known.fork()
        return twin


class InstructedExpert(_Player):
    """Does what the task says, step by step, and from anywhere else first goes back to where it left off.

    TextWorld's own plan tells the steps. The tasks of coin collector, treasure hunter, custom and simple games (with
    ``goal=detailed``) spell out the same steps, so the plan tells nothing that the first observation does not; only
    with ``goal=brief`` and ``goal=none`` it knows more than the player.
    """

    def __init__(self, play: Play) -> None:
        """Start with a game at its beginning."""
        super().__init__(play)
        self._steps = play.plan()

    def decide(self) -> Decision:
        """Return the next thought and command."""
        plan = self.play.plan()
        if not plan:
            return Decision("There is nothing left to do; I look around.", "look")
        on_the_way = plan == self._steps[-len(plan) :]
        why = (
            "Next, the task wants me to"
            if on_the_way
            else "I left the way that the task describes, so first I"
        )
        return Decision(f"{why} {spoken(plan[0])}.", plan[0], self._told(plan[1:2]) if on_the_way else "")

    def _told(self, then: list[str]) -> str:
        """Return the thing that the task names for the step after the next; empty where it names none."""
        verb, _, rest = then[0].partition(" ") if then else ("", "", "")
        thing = "" if verb == "go" else thing_of(rest)
        return thing if thing and thing in self.play.interpreter.opening.text else ""


class CookingExpert(_Player):
    """Finds the cookbook, then the ingredients, prepares them as the recipe says, and eats the meal.

    It knows of rooms it was in, of things it saw, and of the recipe once it was read; to find what it has not seen it
    goes through the nearest exit or opens the nearest container that is new to it.
    """

    def __init__(self, play: Play) -> None:
        """Start with a game at its beginning."""
        super().__init__(play)
        self._infos: Any = play.interpreter.game.infos
        self._gathered = False
        self._visited: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()
        self._look()
        # Of a meal that was prepared TextWorld says that it takes a slot, also where there are none.
        self._limited = self._world.slots is not None

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command; what it does is seen in the expert's own game."""
        super().observe(action, observation)
        self._look()

    def _look(self) -> None:
        self._world = world_of(self.play.facts())
        self._visited |= {self._world.here}
        self._seen |= set(self._world.visible())
        self._gathered |= self._known.recipe and all(
            self._world.place.get(food) == INVENTORY for food in self._world.recipe
        )

    # ------------------------------------------------------------------ the task

    def decide(self) -> Decision:
        """Return the next thought and command."""
        if self.play.over:
            return Decision("There is nothing left to do; I look around.", "look")
        world = self._world
        meal = next((x for x in world.place if self._infos[x].type == "meal"), None)
        if meal is not None and world.place[meal] != INVENTORY:
            return self._take(meal, "The meal is ready")
        if meal is not None:
            return Decision("The meal is ready; I eat it.", f"eat {self._name(meal)}")
        if not self._known.recipe:
            return self._read_cookbook()
        foods = list(world.recipe)
        held = [food for food in foods if world.place.get(food) == INVENTORY]
        missing = [food for food in foods if food not in held]
        if missing and not self._gathered:
            return self._collect(missing)
        raw = [food for food in held if self._lacks(food, HEATS)]
        if raw:
            return self._cook(raw[0])
        whole = [food for food in held if self._lacks(food, CUTS)]
        if whole:
            return self._cut(whole[0])
        if missing:
            return self._collect(missing)
        if world.here != world.kitchen:
            return self._go(world.kitchen, "Everything is prepared and the meal is made in the kitchen.")
        return Decision("I have all that the recipe needs, prepared as it says.", "prepare meal")

    def _read_cookbook(self) -> Decision:
        book = self._named("cookbook")
        if book is None:
            return self._explore("I need the recipe and have not seen the cookbook", "cookbook")
        if (room := self._world.room_of(book)) != self._world.here:
            return self._go(room, f"The cookbook is in the {self._name(room)}.")
        return Decision("I see the cookbook; I read the recipe.", f"examine {self._name(book)}")

    def _collect(self, missing: list[str]) -> Decision:
        known = [food for food in missing if food in self._seen]
        if not known:
            names = " and the ".join(self._name(food) for food in missing)
            return self._explore(f"I need the {names}", self._name(missing[0]))
        distance = self._distances()
        return self._take(
            min(known, key=lambda food: distance[self._world.room_of(food)]), "The recipe needs it"
        )

    def _cook(self, food: str) -> Decision:
        wanted = self._world.recipe[food][1]
        tool = next((x for x in sorted(self._seen) if self._infos[x].type == HEATS[wanted]), None)
        name = self._name(food)
        if tool is None:
            return self._explore(f"The {name} has to be {wanted} and I know nothing to do that with")
        if (room := self._world.room_of(tool)) != self._world.here:
            return self._go(
                room,
                f"The {name} has to be {wanted} and the {self._name(tool)} is in the {self._name(room)}.",
            )
        return Decision(f"The {name} has to be {wanted}.", f"cook {name} with {self._name(tool)}")

    def _cut(self, food: str) -> Decision:
        wanted, name = self._world.recipe[food][0], self._name(food)
        knife = next((x for x in sorted(self._seen) if "sharp" in self._world.states.get(x, ())), None)
        if knife is None:
            return self._explore(f"The {name} has to be {wanted} and I have not seen a knife", "knife")
        if self._world.place.get(knife) != INVENTORY:
            return self._take(knife, f"The {name} has to be {wanted}", keep=food)
        return Decision(f"The {name} has to be {wanted}.", f"{CUTS[wanted]} {name} with {self._name(knife)}")

    def _lacks(self, food: str, states: dict[str, str]) -> bool:
        wanted = self._world.recipe[food][0 if states is CUTS else 1]
        return bool(wanted) and wanted not in self._world.states.get(food, ())

    # ------------------------------------------------------------------ means

    def _take(self, thing: str, why: str, keep: str = "") -> Decision:
        world, name = self._world, self._name(thing)
        if (room := world.room_of(thing)) != world.here:
            return self._go(room, f"{why}; the {name} is in the {self._name(room)}.")
        place = world.place[thing]
        if world.is_closed(place):
            return Decision(
                f"{why}; the {name} is in the closed {self._name(place)}.", f"open {self._name(place)}"
            )
        if self._limited and world.slots == 0 and world.carried():
            least = min(world.carried(), key=lambda x: (x == keep, self._use(x), x))
            return Decision(
                f"I need the {name} and cannot carry more; I put down the {self._name(least)}.",
                f"drop {self._name(least)}",
            )
        source = "" if place == world.here else f" from {self._name(place)}"
        return Decision(f"{why}; I take the {name}.", f"take {name}{source}")

    def _use(self, thing: str) -> int:
        """Return how much a carried thing is needed: not, done with, or still to be worked on."""
        uncut = any(self._lacks(food, CUTS) for food in self._world.recipe)
        if thing not in self._world.recipe:
            return 2 if uncut and "sharp" in self._world.states.get(thing, ()) else 0
        return 2 if self._lacks(thing, CUTS) or self._lacks(thing, HEATS) else 1

    def _explore(self, why: str, wanted: str = "") -> Decision:
        """Go or look where nothing is known yet, the nearest first."""
        world, distance = self._world, self._distances()
        options: list[tuple[int, int, str, str, str]] = []
        for thing in sorted(self._seen):
            if world.is_closed(thing) and self._infos[thing].type == "c":
                room = world.room_of(thing)
                options.append(
                    (
                        distance[room],
                        0,
                        room,
                        f"open {self._name(thing)}",
                        f"the {self._name(thing)} is closed",
                    )
                )
        for room in sorted(distance):
            for way in world.exits[room]:
                if way.room not in self._visited:
                    where = f"I have not been {way.direction} of the {self._name(room)}"
                    options.append((distance[room], 1, room, self._through(room, way.room), where))
        if not options:
            return Decision(f"{why}, and I have looked everywhere.", "look")
        _, _, room, action, where = min(options)
        if room != world.here:
            return self._go(room, f"{why}; {where}.", wanted)
        return Decision(f"{why}; {where}.", action, wanted)

    def _go(self, room: str, why: str, wanted: str = "") -> Decision:
        return Decision(why, self._through(self._world.here, self._way(room)), wanted)

    def _through(self, room: str, other: str) -> str:
        """Return the command that leads from a room towards the one beside it."""
        way = next(way for way in self._world.exits[room] if way.room == other)
        if way.door is not None and self._world.is_closed(way.door):
            return f"open {self._name(way.door)}"
        return f"go {way.direction}"

    def _way(self, room: str) -> str:
        """Return the first room on the way to a room that was visited, through rooms that were."""
        before = dict(self._steps_from(self._world.here))
        while before[room] != self._world.here:
            room = before[room]
        return room

    def _distances(self) -> dict[str, int]:
        distance = {self._world.here: 0}
        for room, before in self._steps_from(self._world.here):
            distance[room] = distance[before] + 1
        return distance

    def _steps_from(self, start: str) -> Iterator[tuple[str, str]]:
        """Yield each visited room, the nearest first, with the room before it."""
        reached, queue = {start}, [start]
        for room in queue:
            for way in self._world.exits[room]:
                if way.room in self._visited and way.room not in reached:
                    reached.add(way.room)
                    queue.append(way.room)
                    yield way.room, room

    def _named(self, name: str) -> str | None:
        return next((x for x in sorted(self._seen) if self._name(x) == name), None)

    def _name(self, id: str) -> str:
        return str(self._infos[id].name)


def expert_of(play: Play) -> InstructedExpert | CookingExpert:
    """Return the expert for a game at its beginning."""
    world: World = world_of(play.facts())
    return CookingExpert(play) if world.kitchen else InstructedExpert(play)


def spoken(command: str) -> str:
    """Return a command as part of a sentence: ``take the coin from the table``."""
    verb, _, rest = command.partition(" ")
    if verb == "go" or not rest:
        return command
    return f"{verb} the " + BETWEEN_THINGS.sub(r" \1 the ", rest)
