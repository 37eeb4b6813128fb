"""The text that a trained world model reads and writes, for training and for inference.

After "From Word to World" (arXiv 2512.18832, section 3): the system turn holds the initial context, each
user turn is the action only, each assistant turn the next observation, with the suffix `` [SUCCESS]`` when
the task is solved. Two contexts: in ``agent`` context the system turn holds what the agent has seen; in
``privileged`` context the hidden state of the environment comes before it.

This project adds reward and end where observation and success do not say them (`dyna_nodes.codec.outcome`), and the
return-to-go: after the imagined observation (or, as the control *value without imagination*, right after the action)
the model is made to read ``\nReturn: `` and its distribution over the digits 0–9 is the imagined return. Both hang on
the observation as a *branch*: it sees the history and itself but nothing after it sees the branch, so that returns,
which an agent cannot know, and rewards, which it is not told, never become part of a history. Other actions that
were tried in forks of a state (`Counterfactual`) are branches too: several answers to one history, for the price of
their own tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from dyna_nodes.codec.chat import ChatCodec
from dyna_nodes.codec.outcome import SUCCESS, Outcome, answer_parts, answer_text, parse_answer
from dyna_nodes.codec.row import Example, Row, Segment, common, expect, read, write
from dyna_nodes.nouns import Action, History, Trajectory

Context = Literal["agent", "privileged"]

INSTRUCTION = "You are the world. Answer each action with what happens next."
HIDDEN = "Hidden state:"
RETURN = "\nReturn: "
DISCOUNT = 0.9
"""Discount per step of the return-to-go: success in n steps is worth ``DISCOUNT ** n``."""
LEVELS = 10


def return_level(value: float) -> int:
    """Return the digit 0–9 that stands for a return-to-go in [0, 1]."""
    return min(LEVELS - 1, max(0, round(value * (LEVELS - 1))))


def expected_return(probabilities: Sequence[float]) -> float:
    """Return the mean return-to-go in [0, 1] of a distribution over the ten digits."""
    total = sum(probabilities)
    if len(probabilities) != LEVELS or not math.isfinite(total) or total <= 0:
        raise ValueError(f"expected {LEVELS} probabilities with a positive sum, got {list(probabilities)}")
    return sum(level * p for level, p in enumerate(probabilities)) / (total * (LEVELS - 1))


def system_text(history: History) -> str:
    """Return the text of the system turn."""
    hidden = f"{HIDDEN}\n{history.hidden_state}\n\n" if history.hidden_state is not None else ""
    return f"{INSTRUCTION}\n\n{hidden}{history.task}"


class WorldModelCodec:
    """Reads and writes the world model's conversation.

    Args:
        chat: The chat codec of the model's tokenizer.
    """

    def __init__(self, chat: ChatCodec) -> None:
        self.chat = chat
        self.return_suffix = chat.text(RETURN)
        self.level_ids = [self._digit(level) for level in range(LEVELS)]

    def _digit(self, level: int) -> int:
        ids = self.chat.text(f"{RETURN}{level}")
        if ids[:-1] != self.return_suffix:
            raise ValueError(
                "the tokenizer merges digits with what precedes them; returns cannot be read off it"
            )
        return ids[-1]

    def system(self, history: History) -> str:
        """Return the text of the system turn."""
        return system_text(history)

    def prefix(self, history: History) -> list[int]:
        """Return the ids of everything before the action that is asked about."""
        ids = self.chat.turn("system", self.system(history))
        for step in history.steps:
            ids += self.question(step.action)
            ids += [*self.chat.text(step.observation), *self.chat.closing()]
        return ids

    def question(self, action: Action) -> list[int]:
        """Return the ids of the action's turn and the opening of the answer."""
        return [*self.chat.turn("user", action.text), *self.chat.opening("assistant")]

    def answer(self, outcome: Outcome) -> list[int]:
        """Return the ids of an answer, end-of-turn included; what the model is trained to write."""
        return [*self.chat.text(answer_text(outcome)), self.chat.end_id]

    def kept_length(self, outcome: Outcome) -> int:
        """Return how many ids of an answer later steps see; the rest hangs on them as a branch.

        On an empty observation nothing can hang: of such an answer they see everything.
        """
        answer, parts = self.answer(outcome), answer_parts(outcome)
        if not parts.reward and parts.flag in ("", SUCCESS):
            return len(answer)
        return common(answer, self.chat.text(parts.observation)) or len(answer)

    def parse(self, text: str) -> Outcome:
        """Take an answer apart."""
        return parse_answer(text)

    def example(
        self,
        trajectory: Trajectory,
        *,
        context: Context = "agent",
        returns: Sequence[int] = (),
        blind_returns: Sequence[int] = (),
        counterfactuals: Sequence[tuple[int, int]] = (),
        blind_counterfactuals: Sequence[tuple[int, int]] = (),
    ) -> Example:
        """Encode a whole trajectory as one example; every observation is a target.

        Args:
            trajectory: The trajectory; its transitions need the label ``return_to_go`` where a return is
                asked for.
            context: Whether the hidden state stands in the system turn.
            returns: Indices of the transitions that get a return branch after the observation.
            blind_returns: The same for a branch right after the action, before the observation.
            counterfactuals: Which counterfactuals become branches, as (index of the transition, index in its
                ``counterfactuals``); each with its observation and the return after it.
            blind_counterfactuals: The same for branches with the return right after the action.

        Raises:
            ValueError: Privileged context without a hidden state.
            KeyError: A return branch is asked for a transition or counterfactual without the label.
        """
        if context == "privileged" and trajectory.hidden_state is None:
            raise ValueError(f"trajectory {trajectory.id} has no hidden state for the privileged context")
        row = Row()
        row.read(
            self.chat.turn("system", self.system(trajectory.history(0, privileged=context == "privileged")))
        )
        with_return, with_blind = set(returns), set(blind_returns)
        for index, transition in enumerate(trajectory.transitions):
            for number, other in enumerate(transition.counterfactuals):
                question = read(self.question(other.action))
                if (index, number) in counterfactuals:
                    answer = self.answer(Outcome.of(other))
                    row.hang(question, *self.answer_and_return(answer, other.labels["return_to_go"]))
                if (index, number) in blind_counterfactuals:
                    row.hang(question, *self.return_after(other.labels["return_to_go"]))
            row.read(self.question(transition.action))
            if index in with_blind:
                row.hang(*self.return_after(transition.labels["return_to_go"]))
            value = transition.labels["return_to_go"] if index in with_return else None
            self._write(row, Outcome.of(transition), value)
        return row.example()

    def return_after(self, value: float) -> tuple[Segment, ...]:
        """Return the segments with which a return in [0, 1] is asked for; only its digit is a target."""
        return read(self.return_suffix), expect(self.level_ids[return_level(value)])

    def answer_and_return(self, answer: Sequence[int], value: float) -> tuple[Segment, ...]:
        """Return the segments of an answer, as `answer` writes it, and the return after it.

        The end of the answer is a target but is not read: at inference the return is read off before it.
        """
        return write(answer[:-1]), expect(answer[-1]), *self.return_after(value)

    def _write(self, row: Row, outcome: Outcome, value: float | None) -> None:
        """Append an answer, the turn's end, and the return after the answer where there is one."""
        answer, kept = self.answer(outcome), self.kept_length(outcome)
        after = () if value is None else self.return_after(value)
        if kept == len(answer):
            row.write(answer[:-1])
            if after:
                row.hang(*after)
            row.write(answer[-1:])
        else:
            # A branch begins with a token that it reads: the last one that later steps see stands in it once more.
            last = answer[kept - 1 : kept]
            row.write(answer[: kept - 1])
            row.hang(read(last), write(answer[kept:-1]), expect(answer[-1]), *after)
            row.write(last)
            row.read([*self.chat.text(outcome.observation.strip())[kept:], answer[-1]])
        row.read(self.chat.closing()[1:])
