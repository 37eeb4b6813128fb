"""World-model SFT: next observation, reward, success, end and return-to-go, from recorded trajectories.

    dyna collect --split train --games 400 --out data/train
    dyna train world-model --data data/train --out runs/world-model

After "From Word to World" (arXiv 2512.18832, section 3): whole episodes as one conversation, loss on the
observations. Rewards and ends that success does not say, and the return-to-go, as branches, are this project's
additions (see `dyna_nodes.codec.outcome` and `dyna_nodes.codec.world_model`).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable
from typing import Any, Final

from dyna_nodes.codec import ChatCodec, Context, Example, WorldModelCodec
from dyna_nodes.nouns import Trajectory, digest_of
from dyna_training.data import read_trajectories
from dyna_training.recipes.common import fit
from dyna_training.recipes.left_out import TOO_LONG, LeftOut
from dyna_training.recipes.model import prepare, within_context
from dyna_training.recipes.settings import WorldModelSettings

NO_ROOM: Final = "counterfactuals of an episode that fits only without them"


def examples(
    trajectories: Iterable[Trajectory],
    codec: WorldModelCodec,
    settings: WorldModelSettings,
    left_out: LeftOut | None = None,
) -> list[Example]:
    """Turn trajectories into examples; seed and trajectory id decide which context and returns."""
    made = []
    for trajectory in trajectories:
        rng = random.Random(digest_of(settings.seed, trajectory.id))
        hidden = trajectory.hidden_state is not None and rng.random() < settings.privileged
        context: Context = "privileged" if hidden else "agent"
        others = [
            (i, n)
            for i, t in enumerate(trajectory.transitions)
            for n, other in enumerate(t.counterfactuals)
            if "return_to_go" in other.labels
        ]
        others = rng.sample(others, min(settings.counterfactuals, len(others)))
        labelled = [i for i, t in enumerate(trajectory.transitions) if "return_to_go" in t.labels]
        encode = functools.partial(
            codec.example,
            trajectory,
            context=context,
            returns=[i for i in labelled if rng.random() < settings.returns],
            blind_returns=[i for i in labelled if rng.random() < settings.blind_returns],
        )
        example = encode(counterfactuals=others, blind_counterfactuals=others[: len(others) // 2])
        if others and len(example.ids) > settings.max_tokens:
            # A long episode is worth more than its counterfactuals.
            example = encode()
            if left_out is not None and len(example.ids) <= settings.max_tokens:
                left_out.add(trajectory.id, NO_ROOM, f"{len(others)} counterfactuals")
        made.append(example)
    return made


def train(settings: WorldModelSettings) -> dict[str, Any]:
    """Run the recipe; see `common.fit` for what it returns and raises."""
    base, model = prepare(settings)
    settings = within_context(settings, base)
    codec = WorldModelCodec(ChatCodec(base.tokenizer))
    left_out = LeftOut()
    data = []
    for trajectory in read_trajectories(settings.data, left_out.problems):
        [example] = examples([trajectory], codec, settings, left_out)
        if len(example.ids) <= settings.max_tokens:
            data.append(example)
        else:
            left_out.add(trajectory.id, TOO_LONG, f"{len(example.ids)} tokens")
    return fit(settings, base, model, data, "world-model", left_out)
