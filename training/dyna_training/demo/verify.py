"""What would really have happened: every overruled proposal is run in a fork of the real game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dyna_nodes.critics.mechanisms import NO_EFFECT
from dyna_nodes.nouns import COMMAND_TOOL, Decision, Noun
from dyna_training.demo.record import ENVIRONMENT, Candidate, Play, Turn
from dyna_training.sessions import Episode, Session
from dyna_training.tools import make_environment

EXPERT_STEPS = 50
"""Steps that the searching expert gets to finish the task from a fork."""


class Overruling(Noun):
    """A step at which something else ran than what the policy proposed first.

    Attributes:
        game: Number of the game.
        step: Number of the step, from 1.
        first: What the policy proposed first.
        ran: What ran, in words.
        vetoed: Whether ``first`` was rejected, rather than ranked behind.
        first_really: What ``first`` really does, seen in a fork.
        ran_really: What really happened.
        first_left: Steps that the searching expert, knowing only what the agent has seen, needs after
            ``first``; None where it does not manage in `EXPERT_STEPS`.
        ran_left: The same after what ran.
    """

    game: int
    step: int
    first: Candidate
    ran: str
    vetoed: bool
    first_really: str
    ran_really: str
    first_left: int | None
    ran_left: int | None

    @property
    def effect(self) -> Literal["better", "worse", "same"]:
        """Whether the game was nearer to its end after what ran than it would have been."""
        return "better" if self.gain > 0 else "worse" if self.gain < 0 else "same"

    @property
    def gain(self) -> int:
        """Steps saved; a game that the expert cannot finish counts as one step more than it was given."""
        first, ran = (EXPERT_STEPS + 1 if n is None else n for n in (self.first_left, self.ran_left))
        return first - ran

    @property
    def useless(self) -> bool:
        """Whether what was proposed first really does nothing."""
        return self.first_really.strip() in NO_EFFECT


def overrulings(play: Play) -> list[Overruling]:
    """Replay a game and try in a fork what the policy would have done at every step where it was overruled.

    Args:
        play: The play; nothing in it is overruled without a world model.

    Raises:
        ValueError: The replay observes something else than the play did, so that nothing can be verified.
    """
    env = make_environment(
        ENVIRONMENT, max_steps=len(play.turns) + 2 * EXPERT_STEPS, admissible_actions=False
    )
    session = Session(env, Episode(seed=play.game.number, options={"game": play.game.file}))
    found: list[Overruling] = []
    for number, turn in enumerate(play.turns, start=1):
        action = turn.transition.action
        if action.tool != COMMAND_TOOL:
            raise ValueError(f"{action.text!r} is no command of the game, so the replay ends here")
        before = session.fork()
        observation = session.step(action.text).observation
        if observation != turn.transition.observation:
            raise ValueError(
                f"step {number} of {play.game.id} was observed as {turn.transition.observation!r}, "
                f"its replay gives {observation!r}"
            )
        overruling = _tried(play.game.number, number, turn, before, session)
        if overruling is not None:
            found.append(overruling)
    return found


def _tried(game: int, number: int, turn: Turn, before: Session, after: Session) -> Overruling | None:
    """Run the first proposal in ``before``; None where it was not overruled, or is no command."""
    first = turn.first if turn.overruled else None
    if first is None or first.action is None or first.action.tool != COMMAND_TOOL:
        return None
    reality = before.step(first.action.text)
    return Overruling(
        game=game,
        step=number,
        first=first,
        ran=turn.transition.action.text,
        vetoed=first.verdict is not None and first.verdict.decision is Decision.REJECT,
        first_really=reality.observation,
        ran_really=turn.transition.observation,
        first_left=steps_left(before),
        ran_left=steps_left(after),
    )


def steps_left(session: Session) -> int | None:
    """Return how many steps the environment's expert, told only the history, needs from here.

    Args:
        session: It is forked, not stepped.

    Returns:
        0 when the task is done; None when the expert does not manage in `EXPERT_STEPS`.
    """
    if session.last is not None and session.last.success:
        return 0
    twin = session.fork()
    if twin.expert is None:
        return None
    for steps in range(1, EXPERT_STEPS + 1):
        reality = twin.step(twin.expert.decide().action)
        if reality.success:
            return steps
        if reality.done:
            return None
    return None


def best_example(found: Sequence[Overruling]) -> Overruling | None:
    """Return the overruling that shows most: the most steps saved, real vetoes of useless actions first."""
    return max(found, key=lambda o: (o.gain, o.vetoed and o.useless, -o.game, -o.step), default=None)
