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

from dyna_nodes.codec import ChatCodec, Context, WorldModelCodec, expected_return
from dyna_nodes.codec.world_model import SUCCESS
from dyna_nodes.nouns import Trajectory
from dyna_nodes.scoring import solved

if TYPE_CHECKING:
    from dyna_nodes.codec import Example
    from dyna_nodes.local.base import Base


class Row(NamedTuple):
    """An episode as tokens, and which of its targets belong to which step.

    Attributes:
        example: The tokens.
        answers: For each step, the indices of its answer among the targets of the row.
        ends: For each step, the length of its observation in tokens; the success flag or the end stands there.
        after: For each step, the index of the return that hangs on its observation; None without a label.
        blind: For each step, the index of the return that hangs on its action; None without a label.
    """

    example: Example
    answers: list[list[int]]
    ends: list[int]
    after: list[int | None]
    blind: list[int | None]


class Forced(NamedTuple):
    """What teacher forcing says about one step.

    Attributes:
        exact: Greedy decoding writes the real answer, success flag included.
        success_after: Greedy decoding goes on with the success flag after the real observation.
        surprise: −log p of the real answer in nats, over all its tokens.
        tokens: Number of these tokens, end-of-turn included.
        value_after: Expected return in [0, 1] after the real observation; None without a label.
        value_blind: The same before the observation.
    """

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
        self._flag_id = self.codec.chat.text(SUCCESS)[0]

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
        targets = [i for i, label in enumerate(example.labels) if label != -100]
        trunk = iter([n for n, i in enumerate(targets) if example.branch[i] == 0])
        hung = iter([n for n, i in enumerate(targets) if example.branch[i] != 0])
        answers, ends, after, blind = [], [], [], []
        for index, step in enumerate(trajectory.transitions):
            length = len(self.codec.answer(step.observation, bool(solved(step.reward, step.done))))
            ends.append(len(self.codec.answer(step.observation, False)) - 1)
            answers.append([next(trunk) for _ in range(length)])
            blind.append(next(hung) if index in labelled else None)
            after.append(next(hung) if index in labelled else None)
        return Row(example, answers, ends, after, blind)

    def force(self, row: Row, adapter: str | None) -> list[Forced]:
        """Read an episode, and return what it says about each step.

        Args:
            row: The episode, at most ``context_length`` tokens deep.
            adapter: Name of a loaded adapter; None is the base alone.

        Raises:
            TooLongError: It is deeper than that.
        """
        import torch

        from dyna_training.sft import pack, visibility

        depth = max(row.example.positions) + 1
        if depth > self.context_length:
            raise TooLongError(f"the episode needs {depth} tokens, the model reads {self.context_length}")
        self._adapters.activate(adapter)
        model = self.base.model
        inputs = {name: tensor.to(model.device) for name, tensor in pack([row.example]).items()}
        labels = inputs["labels"][0]
        where = (labels != -100).nonzero(as_tuple=True)[0]
        with torch.inference_mode():
            output = model(
                input_ids=inputs["input_ids"],
                position_ids=inputs["position_ids"],
                **visibility(model, inputs["branch"], inputs["document"]),
                logits_to_keep=where,
                use_cache=False,
            )
            logits = output.logits[0].float()
            best: list[int] = logits.argmax(-1).tolist()
            wanted: list[int] = labels[where].tolist()
            total = logits.logsumexp(-1, keepdim=True)
            given: list[float] = (logits.gather(1, labels[where, None]) - total)[:, 0].tolist()
            levels: list[list[float]] = (logits[:, self.codec.level_ids] - total).exp().tolist()
        return [
            Forced(
                exact=all(best[n] == wanted[n] for n in answer),
                success_after=best[answer[end]] == self._flag_id,
                surprise=-sum(given[n] for n in answer),
                tokens=len(answer),
                value_after=None if after is None else expected_return(levels[after]),
                value_blind=None if blind is None else expected_return(levels[blind]),
            )
            for answer, end, after, blind in zip(row.answers, row.ends, row.after, row.blind, strict=True)
        ]


def _put_before(shot: Example, example: Example) -> Example:
    """Return an example with a shot before it, which is read and no target."""
    start = len(shot.ids)
    return example._replace(
        ids=[*shot.ids, *example.ids],
        labels=[*[-100] * start, *example.labels],
        positions=[*shot.positions, *(start + p for p in example.positions)],
        branch=[*[0] * start, *example.branch],
    )
