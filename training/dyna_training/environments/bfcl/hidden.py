"""The state of the APIs as compact text, for the privileged context of a world model.

    turn: 2 of 4
    GorillaFileSystem at /workspace/document
    /workspace: document/, archive/
    /workspace/document/notes.txt: "Budget"
    TwitterAPI username: "analyst_pro"

What the user will say later is no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dyna_training.environments.bfcl.play import Play


def hidden_state(play: Play) -> str:
    """Describe where a conversation is and what the APIs hold."""
    turns = len(play.task.turns)
    lines = [f"turn: {min(play.turn + 1, turns)} of {turns}" + (", over" if play.over else "")]
    for api, instance in play.apis.instances.items():
        lines += _files(instance) if api == "GorillaFileSystem" else _attributes(api, instance)
    return "\n".join(lines)


def _attributes(api: str, instance: Any) -> Iterator[str]:
    for name, value in vars(instance).items():
        if name.startswith("_") or name == "long_context":
            continue
        yield f"{api} {name}: {json.dumps(value, default=sorted)}"  # sets have no order


def _files(instance: Any) -> Iterator[str]:
    yield f"GorillaFileSystem at {instance.pwd()['current_working_directory']}"
    waiting, seen = [(f"/{instance.root.name}", instance.root)], set()
    while waiting:
        path, item = waiting.pop()
        if not hasattr(item, "contents"):
            yield f"{path}: {json.dumps(item.content)}"
        elif id(item) in seen:  # a folder that was copied into itself
            yield f"{path}: ..."
        else:
            seen.add(id(item))
            names = [name + "/" * hasattr(part, "contents") for name, part in item.contents.items()]
            yield f"{path}: {', '.join(names) or 'nothing'}"
            waiting.extend((f"{path}/{name}", part) for name, part in reversed(item.contents.items()))
