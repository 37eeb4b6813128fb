"""The text that a trained world model reads and writes, for training and for inference.

After "From Word to World" (arXiv 2512.18832, section 3): the system turn holds the initial context, each
user turn is the action only, each assistant turn the next observation, with the suffix `` [SUCCESS]`` when
the task is solved. Two contexts: in ``agent`` context the system turn holds what the agent has seen; in
``privileged`` context the hidden state of the environment comes before it.

This project adds the return-to-go. It hangs on the observation as a *branch*: after the imagined observation
(or, as the control *value without imagination*, right after the action) the model is made to read
``\nReturn: `` and its distribution over the digits 0–9 is the imagined return. A branch sees the history and
itself but nothing after it sees the branch, so that returns, which an agent cannot know, never become part
of a history. Other actions that were tried in forks of a state (`Counterfactual`) are branches too: several
answers to one history, for the price of their own tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from dyna_nodes.codec.chat import ChatCodec
from dyna_nodes.nouns import Action, Counterfactual, History, Trajectory, Transition
from dyna_nodes.scoring import solved

Context = Literal["agent", "privileged"]

INSTRUCTION = "You are the world. Answer each action with what happens next."
HIDDEN = "Hidden state:"
SUCCESS = " [SUCCESS]"
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


class ParsedOutcome(NamedTuple):
    """A world model's answer taken apart."""

    observation: str
    success: bool


class Example(NamedTuple):
    """One trajectory as a training example; all lists have length tokens.

    Attributes:
        ids: Token ids.
        labels: ``labels[i]`` is the token that must be predicted *at* position i, or -100. They are
            not to be shifted again: with branches, the next token in the row is not always the successor.
        positions: Position ids; a branch counts on from where it hangs, the trunk takes no notice of it.
        branch: 0 for the trunk, k > 0 for the k-th branch. Position i attends to j when j <= i and
            branch[j] is 0 or branch[i].
    """

    ids: list[int]
    labels: list[int]
    positions: list[int]
    branch: list[int]


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
        hidden = f"{HIDDEN}\n{history.hidden_state}\n\n" if history.hidden_state is not None else ""
        return f"{INSTRUCTION}\n\n{hidden}{history.task}"

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

    def answer(self, observation: str, success: bool) -> list[int]:
        """Return the ids of an answer, end-of-turn included; what the model is trained to write."""
        return [*self.chat.text(observation.strip() + (SUCCESS if success else "")), self.chat.end_id]

    def parse(self, text: str) -> ParsedOutcome:
        """Take an answer apart."""
        text = text.strip()
        success = text.endswith(SUCCESS.strip())
        return ParsedOutcome(text.removesuffix(SUCCESS.strip()).rstrip() if success else text, success)

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
        row = _Row(self)
        row.read(
            self.chat.turn("system", self.system(trajectory.history(0, privileged=context == "privileged")))
        )
        with_return, with_blind = set(returns), set(blind_returns)
        for index, transition in enumerate(trajectory.transitions):
            for number, other in enumerate(transition.counterfactuals):
                if (index, number) in counterfactuals:
                    value = other.labels["return_to_go"]
                    row.hang_answer(self.question(other.action), self._answer(other), value)
                if (index, number) in blind_counterfactuals:
                    row.hang(other.labels["return_to_go"], self.question(other.action))
            row.read(self.question(transition.action))
            if index in with_blind:
                row.hang(transition.labels["return_to_go"])
            answer = self._answer(transition)
            row.write(answer[:-1])
            if index in with_return:
                row.hang(transition.labels["return_to_go"])
            row.write(answer[-1:])
            row.read(self.chat.closing()[1:])
        return Example(row.ids, row.labels, row.positions, row.branch)

    def _answer(self, outcome: Transition | Counterfactual) -> list[int]:
        return self.answer(outcome.observation, solved(outcome.reward, outcome.done) is True)


class _Row:
    """A row of tokens under construction: a trunk with branches hanging on it."""

    def __init__(self, codec: WorldModelCodec) -> None:
        self.codec = codec
        self.ids: list[int] = []
        self.labels: list[int] = []
        self.positions: list[int] = []
        self.branch: list[int] = []
        self._branches = 0
        self._trunk = 0
        self._tip = -1

    def read(self, ids: list[int]) -> None:
        """Append trunk tokens that the model only reads."""
        for token in ids:
            self._tip = len(self.ids)
            self._append(token, self._trunk, 0)
            self._trunk += 1

    def write(self, ids: list[int]) -> None:
        """Append trunk tokens that the model must predict."""
        for token in ids:
            self.labels[self._tip] = token
            self.read([token])

    def hang(self, value: float, question: Sequence[int] = ()) -> None:
        """Hang a return branch on the tip of the trunk, after ``question``; only the digit is a target."""
        self._branches += 1
        for offset, token in enumerate([*question, *self.codec.return_suffix]):
            self._append(token, self._trunk + offset, self._branches)
        self.labels[-1] = self.codec.level_ids[return_level(value)]

    def hang_answer(self, question: Sequence[int], answer: Sequence[int], value: float) -> None:
        """Hang a question, its answer and the return after it; answer and digit are targets."""
        first = len(self.ids) + len(question) - 1
        # The end of the answer is a target but is not read: at inference the return is read off before it.
        self.hang(value, [*question, *answer[:-1]])
        self.labels[first : first + len(answer)] = answer

    def _append(self, token: int, position: int, branch: int) -> None:
        self.ids.append(token)
        self.labels.append(-100)
        self.positions.append(position)
        self.branch.append(branch)
