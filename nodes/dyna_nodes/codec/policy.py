"""The text that a policy trained here reads and writes: thought and action out, observations in."""

from __future__ import annotations

from dyna_nodes.codec.chat import ChatCodec
from dyna_nodes.codec.world_model import Example
from dyna_nodes.nouns import Trajectory

POLICY_PROMPT = (
    'Solve the household task. Think in one sentence, then write one action on a line that begins with "> ".'
)
"""The system prompt that policies for text environments are trained with, and must be run with."""


def policy_example(chat: ChatCodec, trajectory: Trajectory, prompt: str = POLICY_PROMPT) -> Example:
    """Encode a trajectory for imitation; what the expert thought and did is the target.

    Steps whose label ``expert`` is 0 (noise, invalid commands) are read and not imitated, so that a policy
    learns to recover from mistakes without learning to make them. Without that label every step is a target.

    Args:
        chat: The chat codec of the model's tokenizer.
        trajectory: What happened.
        prompt: The system prompt.

    Returns:
        One example without branches; ``labels`` are aligned as `Example` says.
    """
    ids = [*chat.turn("system", prompt), *chat.turn("user", trajectory.task)]
    target = [False] * len(ids)

    def append(tokens: list[int], is_target: bool = False) -> None:
        ids.extend(tokens)
        target.extend([is_target] * len(tokens))

    for transition in trajectory.transitions:
        text = f"> {transition.action.text}"
        body = f"{transition.thought}\n{text}" if transition.thought else text
        append(chat.opening("assistant"))
        append([*chat.text(body), chat.end_id], bool(transition.labels.get("expert", 1.0)))
        append(chat.closing()[1:])
        append(chat.turn("user", transition.observation))
    labels = [ids[i + 1] if i + 1 < len(ids) and target[i + 1] else -100 for i in range(len(ids))]
    return Example(ids, labels, list(range(len(ids))), [0] * len(ids))
