"""The hidden state of a game as compact text, for the privileged context of a world model.

    at: kitchen
    goal: focus on water (done); water is boiling
    bonus: be in same location as water (done); ...
    kitchen: stove (off) [metal pot [water (liquid, 57 C)]], cupboard (closed) [tin cup], ...
    inventory: thermometer

What is inside of something stands behind it in brackets. Temperatures are told that are not those of the room, states
of matter of substances alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dyna_training.environments.scienceworld.play import Play
from dyna_training.environments.scienceworld.text import clean

_LEFT_OUT = re.compile(r"terminal [12]|anode|cathode|air|agent|inventory")
_GOAL = re.compile(r"\d+\t(true|false)\s+\S+\t(.+)")
_UNORDERED: Final = "Unordered and Optional"
_ROOM_TEMPERATURE: Final = 10.0
Thing = Mapping[str, Any]


def hidden_state(play: Play) -> str:
    """Describe where everything is and in which state, and how far the task's goals are met."""
    universe = json.loads(play.tree(), strict=False)
    agent, room = _agent(universe, universe)
    carried = next((t for t in _inside(agent) if t["name"] == "inventory"), agent)
    ordered, _, unordered = play.progress().partition(_UNORDERED)
    lines = [f"at: {room['name']}", f"goal: {_goals(ordered)}", f"bonus: {_goals(unordered)}"]
    places = [t for t in _inside(universe) if t["name"] not in ("terminal 1", "terminal 2", "sewer")]
    lines += [f"{place['name']}: {_contents(place) or 'nothing'}" for place in places]
    lines.append(f"inventory: {_contents(carried) or 'nothing'}")
    return clean("\n".join(lines))


def _inside(thing: Thing) -> list[Thing]:
    """Return what a thing contains, in the order in which it was made."""
    return sorted(thing["contents"].values(), key=lambda inner: int(inner["uuid"]))


def _agent(thing: Thing, place: Thing) -> tuple[Thing, Thing]:
    found = _find(thing, place)
    assert found is not None
    return found


def _find(thing: Thing, place: Thing) -> tuple[Thing, Thing] | None:
    """Return the agent and what it is directly in."""
    if thing["name"] == "agent":
        return thing, place
    return next((found for inner in _inside(thing) if (found := _find(inner, thing))), None)


def _contents(thing: Thing) -> str:
    return ", ".join(_described(inner) for inner in _inside(thing) if not _LEFT_OUT.fullmatch(inner["name"]))


def _described(thing: Thing) -> str:
    states = ", ".join(_states(thing))
    contents = _contents(thing)
    return f"{thing['name']}{f' ({states})' if states else ''}{f' [{contents}]' if contents else ''}"


def _states(thing: Thing) -> Iterator[str]:
    container, device = thing["propContainer"] or {}, thing["propDevice"] or {}
    material, life = thing["propMaterial"] or {}, thing["propLife"] or {}
    if container.get("isClosable"):
        yield "open" if container["isOpen"] else "closed"
    if device.get("isActivable"):
        yield "on" if device["isActivated"] else "off"
    if device.get("isBroken"):
        yield "broken"
    if material.get("substanceName") == thing["name"]:
        yield str(material["stateOfMatter"])
    if material.get("isCombusting"):
        yield "on fire"
    if abs(material.get("temperatureC", _ROOM_TEMPERATURE) - _ROOM_TEMPERATURE) >= 1:
        yield f"{material['temperatureC']:.0f} C"
    if life.get("isDead"):
        yield "dead"
    elif life.get("isSickly"):
        yield "sick"


def _goals(table: str) -> str:
    goals = [(found[1] == "true", found[2].strip()) for found in _GOAL.finditer(table)]
    return "; ".join(f"{goal} (done)" if done else goal for done, goal in goals) or "nothing"
