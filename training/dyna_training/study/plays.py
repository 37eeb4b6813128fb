"""What the evaluated episodes of a study come to: a play per episode, with all that its figures are sums of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dyna_nodes.nouns import Trajectory
from dyna_training.evaluation.episodes import game_of
from dyna_training.evaluation.thinking import JudgedTurn, Judgement
from dyna_training.recording import FURTHER
from dyna_training.traces.abbreviating import load_tokenizer

Count = Callable[[str], int]


class Play(NamedTuple):
    """One evaluated episode.

    Attributes:
        seed: Training seed of the policy.
        games: Name of the set of games.
        domain: ``in`` or ``out``.
        game: The game.
        won: Whether the task was solved.
        tokens: Tokens of each response, thinking and action together.
        simulated: Responses that simulate the executed action.
        right: Simulations that came true, hypotheses included.
    """

    seed: int
    games: str
    domain: str
    game: str
    won: bool
    tokens: tuple[int, ...]
    simulated: int
    right: int

    @property
    def turns(self) -> int:
        """Number of executed turns."""
        return len(self.tokens)


def plays(
    trajectories: Iterable[Trajectory],
    turns: Iterable[JudgedTurn],
    *,
    seed: int,
    games: str,
    domain: str,
    count: Count,
) -> Iterator[Play]:
    """Yield the plays in a collection.

    Args:
        trajectories: The collection.
        turns: Its turns; one that could not be judged counts as without a simulation.
        seed: Training seed of the policy.
        games: Name of the set of games.
        domain: Whether they are like those that were trained on.
        count: Number of tokens of a text.
    """
    by: dict[str, list[Judgement]] = {}
    for turn in turns:
        by.setdefault(turn.trajectory, []).append(turn.judgement)
    for trajectory in trajectories:
        judged = by.get(trajectory.id, [])
        yield Play(
            seed=seed,
            games=games,
            domain=domain,
            game=game_of(trajectory),
            won=trajectory.outcome == "success",
            tokens=tuple(count(response) for response in responses(trajectory)),
            simulated=sum(bool(j.simulated) for j in judged),
            right=sum(bool(j.correct) for j in judged),
        )


def responses(trajectory: Trajectory) -> Iterator[str]:
    """Yield what the policy wrote in each executed turn: its thinking, and the action on a line of its own.

    Of a response with several actions the thinking is there once, with the first.
    """
    for step in trajectory.transitions:
        if step.status == "ok":
            thought = "" if FURTHER in step.labels else step.thought
            yield f"{thought}\n> {step.action.text}" if thought else f"> {step.action.text}"


def token_counter(base: str) -> Count:
    """Return what counts the tokens of a text, by a base model's tokenizer."""
    tokenizer = load_tokenizer(base)
    return lambda text: len(tokenizer([text], add_special_tokens=False)["input_ids"][0])


def of_domain(found: Iterable[Play], domain: str) -> list[Play]:
    """Return the plays of a domain; ``all`` is all."""
    return [play for play in found if domain in ("all", play.domain)]
