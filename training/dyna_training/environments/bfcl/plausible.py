"""Calls that might do something now: for random play and to look around. Far from all that could be said.

Arguments are what the documentation lists, what is in the current folder, and what the APIs hold under a name that
goes with the parameter; the ground truth has no part in it.
"""

from __future__ import annotations

import json
import pickle
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dyna_training.environments.base import Function
from dyna_training.environments.bfcl.apis import Apis
from dyna_training.environments.bfcl.functions import functions_of, parameters_of
from dyna_training.environments.calls import Call, canonical

TRIES: Final = 3
"""Calls that are tried of each function with parameters."""
ERRORS: Final = ("Error during execution", '{"error"', "{'error'", "[{'error'")
"""How answers begin that are errors."""
_ENUM: Final = re.compile(r"\[Enum\]:\s*(\[[^\]]*\])")
_BY_TYPE: Final[Mapping[str, Sequence[Any]]] = {
    "string": ("notes", "report"),
    "number": (10.0, 0.5, 100.0),
    "integer": (1, 2, 0),
    "boolean": (True, False),
    "object": ({"status": "Open"},),
}

Source = Callable[[Any], Sequence[Any]]


def _named(*kinds: str) -> Source:
    """Return what lists the names in the current folder that are files, folders, or both."""

    def find(api: Any) -> Sequence[str]:
        contents = api._current_dir.contents.items()
        return [
            name for name, item in contents if ("folder" if hasattr(item, "contents") else "file") in kinds
        ]

    return find


def _keys(attribute: str) -> Source:
    return lambda api: list(getattr(api, attribute, ()))


def _held(attribute: str) -> Source:
    return lambda api: [value for value in [getattr(api, attribute, None)] if value is not None]


_FILES, _FOLDERS, _BOTH = _named("file"), _named("folder"), _named("file", "folder")
_SOURCES: Final[Mapping[str, Source]] = {
    "file_name": _FILES,
    "file_name1": _FILES,
    "file_name2": lambda api: _FILES(api)[::-1],
    "folder": lambda api: [*_FOLDERS(api), ".."],
    "source": _BOTH,
    "destination": lambda api: [*_FOLDERS(api), "copy"] if hasattr(api, "_current_dir") else ["Rivermist"],
    "symbol": _keys("stocks"),
    "stock": _keys("stocks"),
    "stocks": lambda api: [list(api.stocks)[:2]],
    "sector": lambda api: ["Technology", "Automobile"],
    "order_id": _keys("orders"),
    "order_type": lambda api: ["Buy", "Sell"],
    "tweet_id": _keys("tweets"),
    "username": _held("username"),
    "password": _held("password"),
    "username_to_follow": lambda api: ["carol"],
    "username_to_unfollow": _keys("following_list"),
    "ticket_id": lambda api: [ticket["id"] for ticket in api.ticket_queue if "id" in ticket],
    "user": _keys("user_map"),
    "user_id": lambda api: list(api.user_map.values()),
    "receiver_id": lambda api: list(api.user_map.values()),
    "access_token": _held("access_token"),
    "card_id": _keys("credit_card_list"),
    "booking_id": _keys("booking_record"),
    "travel_from": lambda api: ["SFO", "JFK"],
    "travel_to": lambda api: ["LAX", "ORD"],
    "travel_date": lambda api: ["2026-11-15"],
    "travel_class": lambda api: ["economy", "business", "first"],
    "location": lambda api: ["San Francisco", "Rivermist"],
    "city": lambda api: ["San Francisco", "Rivermist"],
    "cityA": lambda api: ["94016"],
    "cityB": lambda api: ["83214"],
    "door": lambda api: [["driver", "passenger", "rear_left", "rear_right"], ["driver"]],
    "pedalPosition": lambda api: [1.0, 0.5],
    "unit_in": lambda api: ["km", "m"],
    "unit_out": lambda api: ["m", "ft"],
}
_NEW: Final[Mapping[str, Sequence[str]]] = {"touch": ("new.txt",), "mkdir": ("new",)}
"""Functions whose argument must not be there yet."""


class Tried(NamedTuple):
    """What a call did in a copy.

    Attributes:
        text: The call, in the project's form.
        failed: Whether it was answered by an error.
        idle: Whether it left the state as it was, which not all errors do.
    """

    text: str
    failed: bool
    idle: bool


def accepted(apis: Apis) -> list[str]:
    """Return calls that would be answered with something else than an error, sorted; tried in copies."""
    return sorted(call.text for call in _tried(apis) if not call.failed)


def rejected(apis: Apis, rng: random.Random) -> str:
    """Return a call that looks like the others, would be answered with an error, and change nothing."""
    wrong = sorted(call.text for call in _tried(apis) if call.failed and call.idle)
    return rng.choice(wrong) if wrong else 'open({"file_name": "notes"})'


def _tried(apis: Apis) -> Iterator[Tried]:
    for api, instance in apis.instances.items():
        known: set[str] = set()
        copy = apis.only(api)
        before = pickle.dumps(copy.instances)
        for function in functions_of(api):
            for call in _calls(function, instance):
                text = canonical(call, parameters_of(function.name))
                if text in known:
                    continue
                known.add(text)
                failed = copy.execute(call).startswith(ERRORS)
                idle = pickle.dumps(copy.instances) == before
                if not idle:
                    copy = apis.only(api)
                yield Tried(text, failed, idle)


def _calls(function: Function, instance: Any) -> list[Call]:
    """Return calls of a function with its required parameters."""
    required = function.parameters["required"]
    values = {name: _values(function, name, instance) for name in required}
    if not all(values.values()):
        return []
    tries = range(TRIES if required else 1)
    return [Call(function.name, (), {n: v[i % len(v)] for n, v in values.items()}) for i in tries]


def _values(function: Function, name: str, instance: Any) -> Sequence[Any]:
    if function.name in _NEW:
        return _NEW[function.name]
    schema = function.parameters["properties"][name]
    listed = _ENUM.search(schema.get("description", ""))
    if listed is not None and schema["type"] == "string":
        values: Sequence[Any] = json.loads(listed[1].replace("'", '"'))
        return values
    if name in _SOURCES:
        return _SOURCES[name](instance)
    if schema["type"] == "array":
        return [list(_BY_TYPE[schema["items"]["type"]])]
    return _BY_TYPE[schema["type"]]
