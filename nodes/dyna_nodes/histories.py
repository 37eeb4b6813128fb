"""The history that world model and critic are told, kept incrementally.

State holds it as plain dicts. Building the nouns and hashing them anew for every step would take time
quadratic in the length of the run, so the last few are remembered; whatever is not remembered is built from
the state.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from dyna_nodes.nouns import History, Step, canonical_json


class Known(NamedTuple):
    """A history with its digest, and the open hash that the next step continues."""

    source: dict[str, Any]
    history: History
    digest: str
    open_hash: Any
    empty: bool


class Histories:
    """Remembers the latest history of each of the last ``size`` sessions."""

    def __init__(self, size: int = 64) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._size = size
        self._lock = threading.Lock()

    def get(self, session: str, source: dict[str, Any]) -> Known:
        """Return the history that ``source`` describes."""
        with self._lock:
            known = self._known.get(session)
        if known is not None and known.source is source:
            return known
        history = History.model_validate(source)
        return self._remember(session, _known(source, history))

    def start(self, session: str, task: str, steps: Sequence[Step] = ()) -> Known:
        """Begin a history."""
        history = History(task=task, steps=tuple(steps))
        return self._remember(session, _known(history.model_dump(), history))

    def extend(self, session: str, known: Known, steps: Sequence[Step]) -> Known:
        """Return the history with further executed steps."""
        history = known.history.model_copy(update={"steps": (*known.history.steps, *steps)})
        source = {**known.source, "steps": [*known.source["steps"], *map(_written, steps)]}
        open_hash, empty = known.open_hash.copy(), known.empty
        for step in steps:
            open_hash.update(_piece(step, first=empty))
            empty = False
        return self._remember(session, Known(source, history, _close(open_hash), open_hash, empty))

    def _remember(self, session: str, known: Known) -> Known:
        with self._lock:
            self._known[session] = known
            self._known.move_to_end(session)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return known


def _known(source: dict[str, Any], history: History) -> Known:
    open_hash = hashlib.sha256(f"[{canonical_json(history.task)},[".encode("utf-8", "surrogatepass"))
    for index, step in enumerate(history.steps):
        open_hash.update(_piece(step, first=index == 0))
    return Known(source, history, _close(open_hash), open_hash, not history.steps)


def _written(step: Step) -> dict[str, Any]:
    action = {"tool": step.action.tool, "arguments": dict(step.action.arguments)}
    return {"action": action, "observation": step.observation}


def _piece(step: Step, *, first: bool) -> bytes:
    """Return what one step adds to the canonical JSON of which `History.digest` is the hash."""
    text = canonical_json([step.action.digest, step.observation])
    return (text if first else f",{text}").encode("utf-8", "surrogatepass")


def _close(open_hash: Any) -> str:
    closed = open_hash.copy()
    closed.update(b"]]")
    return str(closed.hexdigest())
