"""Two experts: one that was told the solution, and one that searches with nothing but its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dyna_training.environments.alfworld.game import Game
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.priors import search_prior
from dyna_training.environments.alfworld.task import Task, kind, number

_TOOLS: Final = {
    "pick_clean_then_place_in_recep": ("clean", "clean", "sinkbasin"),
    "pick_heat_then_place_in_recep": ("heat", "hot", "microwave"),
    "pick_cool_then_place_in_recep": ("cool", "cool", "fridge"),
}
"""Task type to verb, resulting state and kind of appliance."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: a short reason that follows from the history, and the command."""

    thought: str
    action: str


class WalkthroughExpert:
    """Plays the stored walkthrough. It knows where things are, so a policy cannot learn its choices."""

    def __init__(self, game: Game) -> None:
        """Prepare to play `game` from its beginning.

        Raises:
            ValueError: The game file holds no walkthrough.
        """
        if not game.walkthrough:
            raise ValueError(f"{game.id}: the game file holds no walkthrough; use SearchingExpert.")
        self._steps = game.walkthrough
        self._next = 0

    def observe(self, action: str, observation: str) -> None:
        """Take note that an action was executed; only the expert's own next action moves it on."""
        if self._next < len(self._steps) and action.strip() == self._steps[self._next]:
            self._next += 1

    def decide(self) -> Decision:
        """Return the next command of the walkthrough; ``look`` after its end."""
        if self._next >= len(self._steps):
            return Decision("The walkthrough is over.", "look")
        return Decision("The walkthrough says so.", self._steps[self._next])

    def fork(self) -> WalkthroughExpert:
        """Return an independent copy."""
        twin = WalkthroughExpert.__new__(WalkthroughExpert)
        twin._steps, twin._next = self._steps, self._next
        return twin


class SearchingExpert:
    """Searches the room in a sensible order and does the task, from the task and the history alone.

    It may be told about any action, also ones it did not choose, and goes on from what it then knows. Its
    choices are deterministic: receptacles are searched by kind, the most promising kind for the wanted object
    first (`priors.search_prior`), and within a kind by ascending number.
    """

    __slots__ = ("_task", "world")

    def __init__(self, task: str, first_observation: str) -> None:
        """Start a game.

        Args:
            task: The task sentence.
            first_observation: What `reset` returned.

        Raises:
            ValueError: The task sentence is none that the games use.
        """
        self._task = Task.parse(task)
        self.world = KnownWorld(first_observation, self._task)

    @property
    def task(self) -> Task:
        """The task that it pursues."""
        return self._task

    @property
    def wanted(self) -> str:
        """Kind of the object that the task is about."""
        return self._task.object

    def fork(self) -> SearchingExpert:
        """Return an independent copy."""
        twin = SearchingExpert.__new__(SearchingExpert)
        twin._task, twin.world = self._task, self.world.fork()
        return twin

    def pursuing(self, task: Task) -> SearchingExpert:
        """Return a copy that knows the same and pursues another task."""
        twin = self.fork()
        twin._task = task
        return twin

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed action, whoever chose it, and its observation."""
        self.world.observe(action, observation)

    def decide(self) -> Decision:
        """Return the next thought and command."""
        if not self.world.receptacles:
            return Decision("I do not know this place; I look around.", "look")
        if self._task.task_type == "look_at_obj_in_light":
            return self._light()
        return self._place()

    # ------------------------------------------------------------------ tasks

    def _light(self) -> Decision:
        held = self.world.holding
        if held is None:
            return self._fetch(set())
        if kind(held) != self._task.object:
            return self._put_away(held)
        lamps = self.world.find(self._task.target)
        if not lamps:
            return self._search(self._task.target)
        lamp, receptacle = min(lamps, key=lambda found: not self.world.is_here(found[1]))
        if self.world.is_here(receptacle):
            return Decision(f"I hold the {held}; I turn on the {lamp}.", f"use {lamp}")
        return self._go(receptacle, f"The {lamp} is at {receptacle}.")

    def _place(self) -> Decision:
        held, task = self.world.holding, self._task
        target = self._target()
        if held is None:
            known = self.world.find(task.object)
            return self._fetch({thing for thing, where in known if self._is_done(thing, where, target)})
        if kind(held) != task.object:
            return self._put_away(held)
        tool = _TOOLS.get(task.task_type)
        if tool and (held, tool[1]) not in self.world.states:
            verb, state, appliance_kind = tool
            appliance = self._first(appliance_kind)
            if appliance is not None:
                if self.world.is_here(appliance):
                    thought = f"The {held} is not {state} yet; I {verb} it."
                    return Decision(thought, f"{verb} {held} with {appliance}")
                return self._go(appliance, f"The {held} is not {state} yet.")
        if target is None:
            return Decision(f"I see no {task.target} here; I look around.", "look")
        if not self.world.is_here(target):
            return self._go(target, f"The {held} belongs in {target}.")
        if self.world.is_closed(target) or self._unseen_here(target):
            return self._uncover(target, f"I put the {held} in {target}")
        return Decision(f"I put the {held} in {target}.", f"move {held} to {target}")

    def _is_done(self, thing: str, receptacle: str, target: str | None) -> bool:
        """Return whether an object already lies where, and as, the task wants it."""
        tool = _TOOLS.get(self._task.task_type)
        two = self._task.task_type == "pick_two_obj_and_place"
        in_place = receptacle == target if two else kind(receptacle) == self._task.target
        return in_place and (tool is None or (thing, tool[1]) in self.world.states)

    def _target(self) -> str | None:
        """Return the receptacle to fill: one that holds such objects already, else the first of its kind."""
        candidates = sorted((r for r in self.world.receptacles if kind(r) == self._task.target), key=number)
        if self._task.task_type == "pick_two_obj_and_place":
            held = {
                r: sum(kind(o) == self._task.object for o in self.world.contents.get(r, ()))
                for r in candidates
            }
            candidates.sort(key=lambda receptacle: -held[receptacle])
        return next(iter(candidates), None)

    # ------------------------------------------------------------------ means

    def _fetch(self, not_these: set[str]) -> Decision:
        """Get hold of an object of the wanted kind, other than `not_these`."""
        wanted = [found for found in self.world.find(self._task.object) if found[0] not in not_these]
        if not wanted:
            return self._search(self._task.object)
        order = self.world.receptacles.index
        thing, receptacle = min(wanted, key=lambda at: (not self.world.is_here(at[1]), order(at[1]), at[0]))
        if not self.world.is_here(receptacle):
            return self._go(receptacle, f"The {thing} is at {receptacle}.")
        if self.world.is_closed(receptacle):
            return self._uncover(receptacle, f"I need the {thing}")
        return Decision(f"I see the {thing} here; I take it.", f"take {thing} from {receptacle}")

    def _search(self, wanted: str) -> Decision:
        """Look where the wanted kind is likely and was not looked for yet."""
        promise = search_prior().get(wanted, {})
        unseen = [r for r in self.world.receptacles if r not in self.world.contents]
        if not unseen:
            return Decision(f"I searched everywhere and saw no {wanted}.", "look")
        here = [r for r in unseen if self.world.is_here(r)]
        if here:
            return self._uncover(min(here, key=number), f"I need a {wanted}")
        best = min(unseen, key=lambda r: (-promise.get(kind(r), 0.0), kind(r), number(r)))
        return Decision(f"I need a {wanted}; {best} is not searched yet.", f"go to {best}")

    def _uncover(self, receptacle: str, why: str) -> Decision:
        if self.world.is_closed(receptacle):
            return Decision(f"{why}; {receptacle} is closed.", f"open {receptacle}")
        return Decision(f"{why}; I examine {receptacle}.", f"examine {receptacle}")

    def _unseen_here(self, receptacle: str) -> bool:
        return receptacle not in self.world.contents and receptacle not in self.world.opened

    def _go(self, receptacle: str, why: str) -> Decision:
        return Decision(f"{why} I go to {receptacle}.", f"go to {receptacle}")

    def _put_away(self, held: str) -> Decision:
        """Free the hand of something the task does not want: here, where it came from, or anywhere."""
        world, why, origin = self.world, f"I do not need the {held}", self.world.was_in.get(held)
        options = [r for r in world.receptacles if world.accepts(held, r) is not False]
        if not options:
            return Decision(f"{why}, but find no place for it.", "look")

        def effort(r: str) -> tuple[bool, bool, bool, bool, str, int]:
            return (
                world.is_closed(r),
                not world.is_here(r),
                r != origin,
                r not in world.contents,
                kind(r),
                number(r),
            )

        best = min(options, key=effort)
        if not world.is_here(best):
            return self._go(best, f"{why}.")
        if world.is_closed(best):
            return self._uncover(best, why)
        return Decision(f"{why}; I put it down.", f"move {held} to {best}")

    def _first(self, receptacle_kind: str) -> str | None:
        return min(
            (r for r in self.world.receptacles if kind(r) == receptacle_kind), key=number, default=None
        )
