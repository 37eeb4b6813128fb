"""Games and command lists that exercise an engine: solved, wandered through, and with invalid commands."""

from __future__ import annotations

import random
from pathlib import Path

from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.experts import SearchingExpert, WalkthroughExpert
from dyna_training.environments.alfworld.game import TASK_TYPES, Game

_INVALID = (
    "dance",
    "",
    "go to the moon",
    "take mug 99 from desk 77",
    "open",
    "put mug 1 in desk 1",
    "examine everything",
    "look around",
    "GO TO desk 1",
    "use",
    "move to desk 1",
)


def select(number: int, seed: int, files: list[Path]) -> list[Path]:
    """Draw `number` game files, as evenly over the six task types as they allow.

    Args:
        number: How many; fewer if there are not as many.
        seed: Seeds the drawing.
        files: To draw from.
    """
    generator = random.Random(seed)
    piles = [[file for file in files if str(file.parts[-3]).startswith(kind)] for kind in TASK_TYPES]
    for pile in piles:
        generator.shuffle(pile)
    chosen: list[Path] = []
    while len(chosen) < number and any(piles):
        chosen.extend(pile.pop() for pile in piles if pile)
    return chosen[:number]


def commands(game: Game, steps: int, seed: int) -> list[str]:
    """Make up at least `steps` commands for a game, the same for the same seed."""
    generator = random.Random(f"{seed} {game.id}")
    state = State(game)
    observation = state.introduction()
    searcher = SearchingExpert(game.task, observation)
    random_first = generator.random() < 0.5 or not game.walkthrough
    guide = None if random_first else WalkthroughExpert(game)
    wander = steps // 2 if random_first else 0
    done: list[str] = []
    solved = False
    while len(done) < steps or (not solved and len(done) < 3 * steps):
        draw = generator.random()
        if draw < 0.1:
            command = invalid_command(game, generator)
        elif wander > 0 or solved or len(done) >= 2 * steps:
            command = _explore(state, generator)
            wander -= 1
        elif draw < 0.25:
            command = generator.choice(("look", "inventory", "examine", "help", *_passive(state)))
        else:
            command = guide.decide().action if guide else "look"
            if command == "look":
                # No walkthrough, or something upset it.
                command = searcher.decide().action
        observation, won = state.step(command)
        searcher.observe(command, observation)
        if guide:
            guide.observe(command, observation)
        solved = solved or won
        done.append(command)
    return done


def invalid_command(game: Game, generator: random.Random) -> str:
    """Make up a command that is usually not admissible: nonsense, or real names in wrong places."""
    if generator.random() < 0.4:
        return generator.choice(_INVALID)
    things, places = list(game.object_by_name), list(game.receptacle_by_name)
    thing, place = generator.choice(things), generator.choice(places)
    patterns = ("take {} from {}", "move {} to {}", "heat {} with {}", "cool {} with {}", "clean {} with {}")
    more = ("open {1}", "close {1}", "use {0}", "examine {0}", "slice {0} with knife 1", " go to {1} ")
    return generator.choice((*patterns, *more)).format(thing, place)


def _passive(state: State) -> list[str]:
    return [command for command in state.admissible() if command.startswith("examine ")]


def _explore(state: State, generator: random.Random) -> str:
    """Draw a verb first, then a command, so that rare verbs are not drowned by the many places to go to."""
    by_verb: dict[str, list[str]] = {}
    for command in state.admissible():
        by_verb.setdefault(command.partition(" ")[0], []).append(command)
    weights = {"go": 4.0, "help": 0.1, "look": 0.7, "inventory": 0.2, "examine": 1.0, "open": 2.0}
    verbs = sorted(by_verb)
    verb = generator.choices(verbs, [weights.get(verb, 1.5) for verb in verbs])[0]
    options = by_verb[verb]
    if generator.random() < 0.6:
        options = _special(state, verb, options) or options
    return generator.choice(options)


def _special(state: State, verb: str, options: list[str]) -> list[str]:
    """Keep the commands that lead to what seldom happens: preparing, slicing, shared places."""
    game, held = state.game, state.holding
    if verb == "take":
        useful = game.cleanable | game.coolable | game.heatable
        return [c for c in options if game.object_by_name[c[5:].partition(" from ")[0]] in useful]
    if verb != "go":
        return []
    wanted = {location for location, group in game.receptacles_at.items() if len(group) > 1}
    if held is not None:
        for things, kind in (
            (game.cleanable, "sinkbasintype"),
            (game.heatable, "microwavetype"),
            (game.coolable, "fridgetype"),
        ):
            if held in things:
                wanted |= {game.location_of[r] for r in game.receptacles if game.receptacle_type[r] == kind}
        if game.object_type[held] in {"knifetype", "butterknifetype"}:
            wanted = {place for thing in game.sliceable for place in state.places.get(thing, ())}
    return [c for c in options if game.location_of[game.receptacle_by_name[c[6:]]] in wanted]
