"""Makes one game and compiles it, in a process of its own.

    python -m dyna_training.environments.textworld.making coin_collector/level=5/17 FOLDER

A process of its own because the makers draw from a global generator and iterate over sets: only with
``PYTHONHASHSEED`` fixed does the same seed give the same game. `cache.game_file` calls it that way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dyna_training.environments.textworld.games import GameSpec

if TYPE_CHECKING:
    from textworld import Game, GameOptions

ATTEMPTS: Final = 20
"""Not every seed gives a game: a map may not have room for the quest. Then the next seed of these is tried."""
NEXT_SEED: Final = 2**31 - 1
"""Added to a seed (modulo 2³²) that gave no game."""


class CannotMake(Exception):
    """No game comes of these settings."""


def make(spec: GameSpec) -> tuple[Game, GameOptions]:
    """Make a game.

    Raises:
        CannotMake: None of `ATTEMPTS` seeds gave one.
    """
    import textworld
    from textworld.generator import QuestGenerationError

    reason: Exception | None = None
    for attempt in range(ATTEMPTS):
        options = textworld.GameOptions()
        seed = (spec.seed + attempt * NEXT_SEED) % 2**32
        textworld.g_rng.set_seed(seed)
        options.seeds = seed
        try:
            return _made(spec, options), options
        except (QuestGenerationError, AssertionError, IndexError, ValueError) as error:
            reason = error
    raise CannotMake(f"{ATTEMPTS} seeds gave no game, the last because: {type(reason).__name__}: {reason}")


def _made(spec: GameSpec, options: GameOptions) -> Game:
    import textworld
    import textworld.challenges

    settings: dict[str, Any] = spec.all_settings
    if spec.kind == "custom":
        options.nb_rooms, options.nb_objects = settings["rooms"], settings["objects"]
        options.quest_length = settings["length"]
        return textworld.generator.make_game(options)
    if spec.kind == "cooking":
        settings |= {name: bool(settings[name]) for name in ("cook", "cut", "open", "drop")}
    if spec.kind == "simple":
        settings["test"] = bool(settings["test"])
    _, maker, _ = textworld.challenges.CHALLENGES[f"tw-{spec.kind}"]
    return maker(settings=settings, options=options)


def main(name: str, folder: str) -> None:
    """Make a game and write ``game.z8`` and ``game.json`` to a folder."""
    import textworld

    try:
        game, options = make(GameSpec.parse(name))
    except CannotMake as error:
        sys.exit(str(error))
    options.path = str(Path(folder) / "game.z8")
    textworld.generator.compile_game(game, options)
    (Path(folder) / "game.ni").unlink(missing_ok=True)  # the source, which nobody needs any more


if __name__ == "__main__":
    main(*sys.argv[1:])
