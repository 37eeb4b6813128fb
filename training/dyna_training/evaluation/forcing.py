"""Teacher forcing: everything about the steps of a whole episode from one forward pass.

Greedy decoding from the real prefix writes the true answer if and only if at every position of the true
answer, end-of-turn included, the most probable token is the true one. So one pass over an episode gives the
exact matches of all its steps, the surprise of what really happened, and the returns that hang on the real
observations as branches (see `dyna_nodes.codec.world_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dyna_nodes.codec import IGNORED, ChatCodec, Context, Example, Outcome, WorldModelCodec, expected_return
from dyna_nodes.codec.outcome import END, REWARD, SUCCESS, answer_parts
from dyna_nodes.codec.row import common
from dyna_nodes.nouns import Trajectory

if TYPE_CHECKING:
    import torch

    from dyna_nodes.local.base import Base


class Row(NamedTuple):
    """An episode as tokens, and which of its targets belong to which step.

    Attributes:
        example: The tokens.
        answers: For each step, the indices of its answer among the targets of the row.
        kept: For each step, how many tokens of its answer later steps see; what comes after them is reward and end.
        flags: For each step, the length of observation and reward in tokens; the flag or the end stands there.
        after: For each step, the index of the return that hangs on its observation; None without a label.
        blind: For each step, the index of the return that hangs on its action; None without a label.
    """

    example: Example
    answers: list[list[int]]
    kept: list[int]
    flags: list[int]
    after: list[int | None]
    blind: list[int | None]


class Forced(NamedTuple):
    """What teacher forcing says about one step.

    Attributes:
        whole: Greedy decoding writes the real answer: observation, reward, success and end.
        exact: Greedy decoding writes the real observation and success flag, whatever the reward.
        success_after: Greedy decoding goes on with the success flag after the real observation and reward.
        surprise: −log p of the real answer in nats, over all its tokens.
        tokens: Number of these tokens, end-of-turn included.
        value_after: Expected return in [0, 1] after the real observation; None without a label.
        value_blind: The same before the observation.
    """

    whole: bool
    exact: bool
    success_after: bool
    surprise: float
    tokens: int
    value_after: float | None
    value_blind: float | None


class TooLongError(ValueError):
    """An episode has more tokens than the model reads."""


class ForcingModel:
    """A base model and its adapters, set up to read whole episodes.

    Args:
        base: The base model. It belongs to this object from now on.
    """

    def __init__(self, base: Base) -> None:
        from dyna_nodes.local.adapters import Adapters
        from dyna_training import attention

        if base.model.device.type == "cpu":
            base.model.set_attn_implementation(attention.register())
        self.base = base
        self.codec = WorldModelCodec(ChatCodec(base.tokenizer))
        self.context_length: int = base.model.config.get_text_config().max_position_embeddings
        self._adapters = Adapters(base)
        success, *others = (self.codec.chat.text(tag) for tag in (SUCCESS, END, REWARD))
        # The tags begin alike; so many tokens tell the flag from the others.
        self._flag = success[: max(common(success, other) for other in others) + 1]

    def load(self, adapter: Path) -> str:
        """Load an adapter and return the name that `force` knows it by.

        Raises:
            LocalModelError: The folder holds no usable adapter, or it belongs to another base.
        """
        self._adapters.load(str(adapter), adapter, True)
        return str(adapter)

    def row(self, trajectory: Trajectory, context: Context, shots: Sequence[Trajectory] = ()) -> Row:
        """Encode an episode with all its returns.

        Args:
            trajectory: The episode.
            context: Whether the hidden state is told.
            shots: Episodes put before it, whole and in the same context.

        Raises:
            ValueError: Privileged context without a hidden state.
        """
        labelled = [i for i, t in enumerate(trajectory.transitions) if "return_to_go" in t.labels]
        example = self.codec.example(trajectory, context=context, returns=labelled, blind_returns=labelled)
        for shot in reversed(shots):
            example = _put_before(self.codec.example(shot, context=context), example)
        targets = [i for i, label in enumerate(example.labels) if label != IGNORED]
        trunk = iter([n for n, i in enumerate(targets) if example.branch[i] == 0])
        hung = iter([n for n, i in enumerate(targets) if example.branch[i] != 0])
        answers, kept, flags, after, blind = [], [], [], [], []
        for index, step in enumerate(trajectory.transitions):
            outcome = Outcome.of(step)
            parts = answer_parts(outcome)
            kept.append(self.codec.kept_length(outcome))
            flags.append(len(self.codec.chat.text(parts.observation + parts.reward)))
            blind.append(next(hung) if index in labelled else None)
            length = len(self.codec.answer(outcome))
            answers.append([next(trunk if n < kept[-1] else hung) for n in range(length)])
            after.append(next(hung) if index in labelled else None)
        return Row(example, answers, kept, flags, after, blind)

    def force(self, row: Row, adapter: str | None) -> list[Forced]:
        """Read an episode, and return what it says about each step.

        Args:
            row: The episode, at most ``context_length`` tokens deep.
            adapter: Name of a loaded adapter; None is the base alone.

        Raises:
            TooLongError: It is deeper than that.
        """
        depth = max(row.example.positions) + 1
        if depth > self.context_length:
            raise TooLongError(f"the episode needs {depth} tokens, the model reads {self.context_length}")
        self._adapters.activate(adapter)
        logits, labels = self._read(row.example)
        best: list[int] = logits.argmax(-1).tolist()
        wanted: list[int] = labels.tolist()
        total = logits.logsumexp(-1, keepdim=True)
        given: list[float] = (logits.gather(1, labels[:, None]) - total)[:, 0].tolist()
        levels: list[list[float]] = (logits[:, self.codec.level_ids] - total).exp().tolist()
        found = []
        for answer, kept, flag, after, blind in zip(
            row.answers, row.kept, row.flags, row.after, row.blind, strict=True
        ):
            said, real = ([ids[n] for n in answer] for ids in (best, wanted))
            success = self._is_flag(said[flag:], real[flag:])
            if success is None:
                success = self._goes_on_with_flag(row.example, answer[flag])
            same = True
            if kept < len(answer):
                # Where reward or end are written, another reward and no end are still the real observation and flag.
                solved = self._is_flag(real[flag:], real[flag:])
                same = self._flag_after(said[kept:], real[kept:], otherwise=success) == solved
            found.append(
                Forced(
                    whole=said == real,
                    exact=said[:kept] == real[:kept] and same,
                    success_after=success,
                    surprise=-sum(given[n] for n in answer),
                    tokens=len(answer),
                    value_after=None if after is None else expected_return(levels[after]),
                    value_blind=None if blind is None else expected_return(levels[blind]),
                )
            )
        return found

    def _read(self, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and labels of the targets of an example, [targets, vocabulary] and [targets]."""
        import torch

        from dyna_training.sft import pack, visibility

        model = self.base.model
        inputs = {name: tensor.to(model.device) for name, tensor in pack([example]).items()}
        labels = inputs["labels"][0]
        where = (labels != IGNORED).nonzero(as_tuple=True)[0]
        with torch.inference_mode():
            output = model(
                input_ids=inputs["input_ids"],
                position_ids=inputs["position_ids"],
                **visibility(model, inputs["branch"], inputs["document"]),
                logits_to_keep=where,
                use_cache=False,
            )
            return output.logits[0].float(), labels[where]

    def _is_flag(self, said: Sequence[int], real: Sequence[int]) -> bool | None:
        """Return whether a text is the success flag; None where it begins like one and the real text is another.

        Args:
            said: The most probable token after each of the real ones.
            real: The real tokens.
        """
        for index, token in enumerate(self._flag):
            if said[index] != token:
                return False
            if real[index] != token:
                return True if index == len(self._flag) - 1 else None
        return True

    def _flag_after(self, said: Sequence[int], real: Sequence[int], *, otherwise: bool) -> bool | None:
        """Return whether greedy decoding writes the success flag after an observation; None where that goes on.

        Args:
            said: The most probable token after each of the real ones.
            real: The real tokens: reward and flag.
            otherwise: Whether it writes the flag after the real reward, which it is asked about where it writes one.
        """
        if said[0] == self.codec.chat.end_id:
            return False
        if said[0] != self._flag[0]:
            return None
        return otherwise or self._is_flag(said, real) is True

    def _goes_on_with_flag(self, example: Example, target: int) -> bool:
        """Return whether the success flag is what greedy decoding writes in place of a target of an example."""
        end = [i for i, label in enumerate(example.labels) if label != IGNORED][target]
        ids = [example.ids[i] for i in range(end + 1) if example.branch[i] in (0, example.branch[end])]
        logits, labels = self._read(
            Example(
                [*ids, *self._flag[:-1]],
                [*[IGNORED] * (len(ids) - 1), *self._flag],
                list(range(len(ids) + len(self._flag) - 1)),
                [0] * (len(ids) + len(self._flag) - 1),
            )
        )
        return bool((logits.argmax(-1) == labels).all())


def _put_before(shot: Example, example: Example) -> Example:
    """Return an example with a shot before it: what later steps see of it, which is read and no target."""
    ids = [id for id, branch in zip(shot.ids, shot.branch, strict=True) if not branch]
    start = len(ids)
    return example._replace(
        ids=[*ids, *example.ids],
        labels=[*[IGNORED] * start, *example.labels],
        positions=[*range(start), *(start + p for p in example.positions)],
        branch=[*[0] * start, *example.branch],
    )
