"""Dividing episodes into parts that share no game, nor whatever else they are kept together by.

Episodes of one game, of one group (by level, item, task or task type), and episodes that are the same but for ids
belong together; what belongs together, over however many links, goes to one part. Groups are ordered by a digest of
their name and the seed, so that the order of files decides nothing. What was written is read once more, and nothing
is kept if two parts share anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dyna_nodes.nouns import Trajectory, digest_of
from dyna_training.store.duplicates import content_digest
from dyna_training.store.folder import Form
from dyna_training.store.problems import StoreError
from dyna_training.store.rewriting import Kept, rewrite
from dyna_training.store.sharing import GROUPS, By, contents, game, shared
from dyna_training.store.source import Source

NAMES: Final = ("train", "dev", "test")


def parse_fractions(text: str) -> dict[str, float]:
    """Return the parts with their fractions, of ``0.8,0.1,0.1`` or ``train=0.8,test=0.2``.

    Two numbers are train and test, three are train, dev and test.

    Raises:
        StoreError: They are no fractions that sum to 1, or parts have no names that folders can have.
    """
    items = [item.strip() for item in text.split(",")]
    named = [item.partition("=")[::2] if "=" in item else ("", item) for item in items]
    defaults = {2: ("train", "test"), 3: NAMES}.get(len(items), ())
    if any(not name for name, _ in named):
        if len(defaults) != len(items) or any(name for name, _ in named):
            raise StoreError(f"--fractions {text}: name every part, as in train=0.8,dev=0.1,test=0.1")
        named = [(name, value) for name, (_, value) in zip(defaults, named, strict=True)]
    try:
        found = {name.strip(): float(value) for name, value in named}
    except ValueError:
        raise StoreError(f"--fractions {text}: expected numbers, as in 0.8,0.1,0.1") from None
    if len(found) < max(2, len(items)) or any(not (name.isidentifier() or name.isalnum()) for name in found):
        raise StoreError(
            f"--fractions {text}: at least two parts, each with a name of its own made of letters"
        )
    if any(not 0 < f < 1 for f in found.values()) or not math.isclose(sum(found.values()), 1, abs_tol=1e-6):
        raise StoreError(
            f"--fractions {text}: fractions lie between 0 and 1 and sum to 1, not {sum(found.values()):g}"
        )
    return found


class _Together:
    """What belongs together, over however many links (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def root(self, node: object) -> object:
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, nodes: Sequence[object]) -> None:
        first, *rest = (self.root(node) for node in nodes)
        for other in rest:
            self._parent[other] = first


def assign(
    trajectories: Iterable[Trajectory], by: By, fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the part of every game.

    Args:
        trajectories: The episodes.
        by: What is kept together besides games and equal episodes.
        fractions: Name and fraction of each part; of the groups, not of the episodes.
        seed: Seeds the order of the groups.

    Raises:
        StoreError: There are fewer groups than parts.
    """
    together = _Together()
    names: dict[str, str] = {}
    for trajectory in trajectories:
        name, group = game(trajectory), GROUPS[by](trajectory)
        together.join([("game", name), ("group", group), content_digest(trajectory)])
        names[name] = group
    groups: dict[object, list[str]] = {}
    for name in names:
        groups.setdefault(together.root(("game", name)), []).append(name)
    if len(groups) < len(fractions):
        raise StoreError(
            f"{len(names)} games make {len(groups)} groups that share nothing by {by}, too few for {len(fractions)} "
            "parts; collect more games, ask for fewer parts, or divide by something else"
        )
    ordered = sorted(groups.values(), key=lambda group: digest_of(seed, min(group)))
    parts: dict[str, str] = {}
    start = 0
    for part, size in sizes(len(ordered), fractions).items():
        parts |= {name: part for group in ordered[start : start + size] for name in group}
        start += size
    return parts


def sizes(number: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Return how many of ``number`` groups each part gets: its share to the nearest, and one at least."""
    exact = {part: number * fraction for part, fraction in fractions.items()}
    found = {part: max(1, math.floor(share)) for part, share in exact.items()}
    while (left := number - sum(found.values())) != 0:
        step = 1 if left > 0 else -1
        among = [part for part in found if found[part] + step >= 1]
        found[max(among, key=lambda part: step * (exact[part] - found[part]))] += step
    return found


def split(
    source: Source,
    out: Path,
    by: By,
    fractions: Mapping[str, float],
    seed: int,
    form: Form,
    command: str = "",
) -> dict[str, Any]:
    """Write the parts, each into a folder of its name.

    Raises:
        StoreError: See `assign` and `rewrite`; or the parts share something, and then nothing is kept.
    """
    parts = assign(source.trajectories(), by, fractions, seed)

    def check(folder: Path) -> dict[str, Any]:
        sets = {part: contents(Source([folder / part]).trajectories(), by) for part in fractions}
        for found in shared(sets):
            if found.leaks:
                what = (found.games or found.groups or found.episodes)[0]
                raise StoreError(f"{found.one} and {found.other} would share {what}; nothing was written")
        games = {part: sorted(found.games) for part, found in sets.items()}
        return {"games": games, "shared": [found.to_json() for found in shared(sets)]}

    return rewrite(
        source,
        out,
        form,
        lambda trajectory: Kept(trajectory, parts[game(trajectory)]),
        made="split",
        settings={"by": by, "fractions": dict(fractions), "seed": seed},
        command=command,
        check=check,
    )
