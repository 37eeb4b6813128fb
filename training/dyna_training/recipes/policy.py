"""Policy SFT: imitate what was thought and done in recorded episodes.

dyna collect --split train --games 400 --behaviours expert,noisy --out data/expert
dyna train policy --data data/expert --out runs/policy

It is the second half of Dyna-Think's imitation learning (DIT), the second stage of its Dyna training (DDT), and
every baseline between them; the recipe files that are shipped say which settings make which.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from dyna_nodes.codec import ChatCodec, Example
from dyna_nodes.codec.policy import policy_example, why_not_imitated
from dyna_nodes.nouns import Trajectory
from dyna_training.data import read_trajectories
from dyna_training.recipes.common import fit
from dyna_training.recipes.left_out import TOO_LONG, LeftOut, fitting
from dyna_training.recipes.model import prepare, within_context
from dyna_training.recipes.settings import PolicySettings
from dyna_training.selection import select


def examples(
    trajectories: Iterable[Trajectory], chat: ChatCodec, settings: PolicySettings, left_out: LeftOut
) -> list[Example]:
    """Turn trajectories into examples; what is not imitated goes into ``left_out`` with the reason."""
    made: list[Example] = []
    imitated, read_only = 0, Counter[str]()

    def encode(trajectory: Trajectory, turns: Iterable[int] | None = None) -> Example:
        return policy_example(
            chat,
            trajectory,
            settings.prompt,
            memory=settings.memory,
            thinking=settings.thinking,
            turns=None if turns is None else frozenset(turns),
        )

    for trajectory in trajectories:
        reasons = [why_not_imitated(t, settings.thinking) for t in trajectory.transitions]
        read_only.update(reason for reason in reasons if reason)
        turns = [i for i, reason in enumerate(reasons) if not reason]
        if not turns:
            left_out.add(trajectory.id, "no turn to imitate", f"{len(reasons)} turns")
            continue
        whole = encode(trajectory)
        if len(whole.ids) <= settings.max_tokens:
            made.append(whole)
            imitated += len(turns)
        elif settings.memory == "thoughts" or settings.thinking == "none":
            left_out.add(trajectory.id, TOO_LONG, f"{len(whole.ids)} tokens")
        else:
            # A response is a branch of its own: an episode may be divided, and every turn sees what it saw.
            rows, too_long = fitting(turns, functools.partial(encode, trajectory), settings.max_tokens)
            made += [example for _, example in rows]
            imitated += sum(len(some) for some, _ in rows)
            for turn in too_long:
                tokens = len(encode(trajectory, [turn]).ids)
                left_out.add(f"{trajectory.id}, turn {turn}", TOO_LONG, f"{tokens} tokens")
    left_out.figures |= {"turns": imitated, "turns_read_only": dict(read_only)}
    return made


def train(settings: PolicySettings) -> dict[str, Any]:
    """Run the recipe; see `common.fit` for what it returns and raises."""
    base, model = prepare(settings)
    settings = within_context(settings, base)
    left_out = LeftOut()
    recorded = read_trajectories(settings.data, left_out.problems, imagined=settings.imagined)
    selection = select(recorded, settings.best_of, settings.successes_only)
    for record, reason in selection.dropped:
        left_out.add(record, reason)
    left_out.figures["selection"] = selection.counts
    data = examples(selection.kept, ChatCodec(base.tokenizer), settings, left_out)
    return fit(settings, base, model, data, "policy", left_out)
