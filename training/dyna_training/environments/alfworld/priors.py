"""Where things usually are, counted on the training games.

Command that made ``data/search_prior.json`` (``train`` split only: no held-out scene, no held-out game)::

    python -m dyna_training.environments.alfworld.priors
"""

from __future__ import annotations

import argparse
import functools
import json
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Final

from dyna_training.environments.alfworld.game import load_game
from dyna_training.environments.alfworld.splits import games

_FILE: Final = "search_prior.json"


@functools.cache
def search_prior() -> dict[str, dict[str, float]]:
    """Return, for each kind of object, the kinds of receptacle from the most to the least promising.

    The value is the chance that one receptacle of the kind holds at least one such object, divided by the
    mean number of actions that looking into it takes (1, or 2 where it has to be opened).
    """
    text = resources.files("dyna_training.environments.alfworld").joinpath("data", _FILE).read_text("utf-8")
    table: dict[str, dict[str, float]] = json.loads(text)["promise"]
    return table


def count(files: list[Path]) -> dict[str, dict[str, float]]:
    """Compute the table of `search_prior` from game files.

    Receptacles are counted only in rooms that hold the object at all, so that the chance is conditional on
    the thing being somewhere.
    """
    seen: Counter[tuple[str, str]] = Counter()
    rooms: Counter[tuple[str, str]] = Counter()
    looks: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for file in files:
        game = load_game(file)
        kinds = {r: game.names[r].partition(" ")[0] for r in game.receptacles}
        held = {
            r: {game.names[o].partition(" ")[0] for o in game.start_contents[r]} for r in game.receptacles
        }
        present = set().union(*held.values())
        for receptacle, receptacle_kind in kinds.items():
            total[receptacle_kind] += 1
            looks[receptacle_kind] += 2 if receptacle in game.openable else 1
            for thing in present:
                rooms[thing, receptacle_kind] += 1
                seen[thing, receptacle_kind] += thing in held[receptacle]
    table: dict[str, dict[str, float]] = {}
    for (thing, receptacle_kind), found in seen.items():
        cost = looks[receptacle_kind] / total[receptacle_kind]
        if found:
            promise = found / rooms[thing, receptacle_kind] / cost
            table.setdefault(thing, {})[receptacle_kind] = float(f"{promise:.3g}")
    return {
        thing: dict(sorted(table[thing].items(), key=lambda item: (-item[1], item[0])))
        for thing in sorted(table)
    }


def main() -> None:
    """Write the table from the games of the ``train`` split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / _FILE)
    out = parser.parse_args().out
    files = games("train")
    about = (
        f"Counted on the {len(files)} games of the split 'train' (ALFWorld 2.1.1, MIT licence) by "
        "`python -m dyna_training.environments.alfworld.priors`."
    )
    out.write_text(json.dumps({"about": about, "promise": count(files)}, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: {len(files)} games")


if __name__ == "__main__":
    main()
