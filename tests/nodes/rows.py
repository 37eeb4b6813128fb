"""Reading training rows back: who sees what, and what must be predicted where."""

from __future__ import annotations

from dyna_nodes.codec import IGNORED, ChatCodec, Example


def seen(chat: ChatCodec, example: Example, position: int) -> str:
    """Return all that a position of a row sees, itself included, as text; checks its position ids."""
    mine = example.branch[position]
    visible = [j for j in range(position + 1) if example.branch[j] in (0, mine)]
    assert [example.positions[j] for j in visible] == list(range(len(visible))), "positions count on"
    return str(chat.tokenizer.decode([example.ids[j] for j in visible]))


def learned(chat: ChatCodec, example: Example) -> list[tuple[str, str]]:
    """Return what a row teaches: for each unbroken run of targets, what stands before it and the targets.

    A run is unbroken in one branch while each target is also the next token there.
    """
    runs: list[tuple[int, list[int]]] = []
    before: dict[int, int] = {}
    for i, label in enumerate(example.labels):
        branch = example.branch[i]
        follows = before.get(branch)
        before[branch] = i
        if label == IGNORED:
            continue
        if follows is not None and example.labels[follows] == example.ids[i]:
            next(run for run in reversed(runs) if example.branch[run[0]] == branch)[1].append(label)
        else:
            runs.append((i, [label]))
    return [(seen(chat, example, i), str(chat.tokenizer.decode(ids))) for i, ids in runs]
