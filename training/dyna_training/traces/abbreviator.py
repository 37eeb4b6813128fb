"""What abbreviators share: a turn to shorten, the protocol, and the check of what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from dyna_nodes.nouns import Action, Step, Trajectory
from dyna_training.traces.sentences import is_selection, sentences
from dyna_training.traces.wording import action_words, mentions, stems


class Turn(NamedTuple):
    """A turn whose thinking is to be shortened.

    Attributes:
        task: The task.
        history: Executed steps before the turn, oldest first.
        thought: The full thinking.
        action: The action that was executed.
        known_actions: All actions of the run, the executed one first; what candidates look like here.
        system: The agent's system prompt; empty where it is not recorded.
    """

    task: str
    history: tuple[Step, ...]
    thought: str
    action: Action
    known_actions: tuple[Action, ...] = ()
    system: str = ""


class Abbreviation(NamedTuple):
    """What an abbreviator makes of a turn.

    Attributes:
        candidates: Shortened texts; the shortest valid one is taken.
        parts: How many sentences were kept as each of the five parts, where the abbreviator knows it.
        error: Why there is no candidate; empty when there is one.
        rejected: Answers of a model that are no candidate, counted by reason.
    """

    candidates: tuple[str, ...]
    parts: Mapping[str, int] = {}
    error: str = ""
    rejected: Mapping[str, int] = {}


class Abbreviator(Protocol):
    """Shortens the thinking of turns to the five parts that Dyna-Think keeps (arXiv 2506.00320, DIT).

    Attributes:
        name: Name, for reports.
        removes_only: Whether it promises to remove whole sentences and nothing else; checked where it does.
    """

    name: str
    removes_only: bool

    def abbreviate(self, turns: Sequence[Turn]) -> list[Abbreviation]:
        """Shorten turns; one answer per turn, in their order."""
        ...


def invalid(short: str, turn: Turn, *, removes_only: bool) -> str:
    """Say why a shortened text cannot stand for the full one; empty when it can.

    A thought must still lead to the executed action: it names it, if the full text did, and where the action
    was the last one that the full text named, no other one is named after it.
    """
    if not short.strip():
        return "nothing is left"
    if removes_only and not is_selection(short, turn.thought):
        return "it is not a selection of the sentences"
    if _named_last(turn.thought, turn) and not _named_last(short, turn):
        return "it leads to another action"
    named = action_words(turn.action)
    if mentions(stems(turn.thought), named) and not mentions(stems(short), named):
        return "it does not name the action"
    return ""


def new_share(short: str, full: str) -> float:
    """Return the share of the sentences of a shortened text that are no sentences of the full one, in [0, 1]."""
    known = {sentence.text for sentence in sentences(full)}
    own = [sentence.text for sentence in sentences(short)]
    return sum(text not in known for text in own) / max(1, len(own))


def _named_last(text: str, turn: Turn) -> bool:
    """Tell whether the last sentence that names any action of the run names the executed one."""
    own = action_words(turn.action)
    others = [action_words(a) for a in turn.known_actions]
    for sentence in reversed(sentences(text)):
        words = stems(sentence.text)
        if mentions(words, own):
            return True
        if any(mentions(words, other) for other in others):
            return False
    return False


def turns_of(trajectory: Trajectory) -> Iterator[tuple[int, Turn]]:
    """Yield the turns of a trajectory that have thinking, with their places."""
    steps = trajectory.history().steps
    system = str(trajectory.configuration.get("system") or "")
    actions = tuple(dict.fromkeys(t.action.text for t in trajectory.transitions))
    known = {t.action.text: t.action for t in trajectory.transitions}
    for index, transition in enumerate(trajectory.transitions):
        if transition.thought:
            own = transition.action.text
            others = tuple(known[text] for text in actions if text != own)
            yield (
                index,
                Turn(
                    trajectory.task,
                    steps[:index],
                    transition.thought,
                    transition.action,
                    (transition.action, *others),
                    system,
                ),
            )
