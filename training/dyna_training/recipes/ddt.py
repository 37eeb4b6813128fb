"""DDT, stage 1: a policy learns, in its own conversation, what its actions do.

dyna collect --policy local:smollm2+runs/dit/adapter --split train --games 100 --out data/own
dyna annotate data/own --objective critique --by grounded --out data/own-critique
dyna train ddt --config ddt-critique

After Dyna-Think (arXiv 2506.00320, section 3): the policy that DIT made is trained as a world model, on the next
state, the difference or the critique of its own simulation. Stage 2 is the recipe ``policy`` on its own correct
rollouts, with the adapter that comes out of this one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dyna_nodes.codec import IGNORED, ChatCodec, Example
from dyna_nodes.codec.objectives import OBJECTIVES, Objective, objective_example, planned, why_not
from dyna_nodes.nouns import Trajectory, digest_of
from dyna_training.data import read_trajectories
from dyna_training.recipes.common import fit
from dyna_training.recipes.left_out import TOO_LONG, LeftOut, fitting
from dyna_training.recipes.model import prepare, within_context
from dyna_training.recipes.settings import DdtSettings

Drawn = dict[Objective, list[int]]


def draw(trajectory: Trajectory, settings: DdtSettings, left_out: LeftOut) -> Drawn:
    """Choose which objective is learned from which turn; seed and trajectory id decide.

    A turn that an objective cannot be learned from, and that was drawn for it, is noted in ``left_out``.
    """
    rng = random.Random(digest_of(settings.seed, trajectory.id))
    drawn: Drawn = {objective: [] for objective in OBJECTIVES}
    for index, transition in enumerate(trajectory.transitions):
        for objective in OBJECTIVES:
            if rng.random() >= settings.share(objective):
                continue
            if problem := why_not(transition, objective):
                left_out.add(f"{trajectory.id}, turn {index}", f"no {objective}: {problem}")
            else:
                drawn[objective].append(index)
    return drawn


def examples(
    trajectories: Iterable[Trajectory], chat: ChatCodec, settings: DdtSettings, left_out: LeftOut
) -> list[Example]:
    """Turn trajectories into examples; counts per objective and what was not used go into ``left_out``."""
    made: list[Example] = []
    count: Counter[Objective] = Counter()
    targets: Counter[Objective] = Counter()
    for trajectory in trajectories:
        drawn = draw(trajectory, settings, left_out)
        turns = sorted({turn for some in drawn.values() for turn in some})

        def encode(some: Sequence[int], of: Trajectory = trajectory, drawn: Drawn = drawn) -> Example:
            return objective_example(chat, of, settings.prompt, _only(drawn, some), memory=settings.memory)

        rows, too_long = fitting(turns, encode, settings.max_tokens)
        for some, example in rows:
            made.append(example)
            plan = planned(_only(drawn, some))
            count.update(objective for _, objective in plan)
            for label, branch in zip(example.labels, example.branch, strict=True):
                if label != IGNORED:
                    targets[plan[branch - 1][1]] += 1
        for turn in too_long:
            left_out.add(f"{trajectory.id}, turn {turn}", TOO_LONG, f"{len(encode([turn]).ids)} tokens")
    left_out.figures["objectives"] = {
        objective: {"examples": count[objective], "target_tokens": targets[objective]}
        for objective in OBJECTIVES
        if settings.share(objective)
    }
    return made


def _only(drawn: Drawn, turns: Sequence[int]) -> Drawn:
    wanted = set(turns)
    return {objective: [turn for turn in some if turn in wanted] for objective, some in drawn.items()}


def train(settings: DdtSettings) -> dict[str, Any]:
    """Run the recipe; see `common.fit` for what it returns and raises."""
    base, model = prepare(settings)
    settings = within_context(settings, base)
    left_out = LeftOut()
    recorded = read_trajectories(settings.data, left_out.problems)
    data = examples(recorded, ChatCodec(base.tokenizer), settings, left_out)
    return fit(settings, base, model, data, "ddt", left_out)
