"""Policy SFT: imitate what the expert thought and did, from recorded trajectories.

dyna collect --split train --games 400 --behaviours expert,noisy --out data/expert
dyna train policy --data data/expert --out runs/policy
"""

from __future__ import annotations

from typing import Any

from dyna_nodes.codec import ChatCodec
from dyna_nodes.codec.policy import policy_example
from dyna_training.data import read_trajectories
from dyna_training.recipes.common import fit, prepare
from dyna_training.recipes.settings import PolicySettings


def train(settings: PolicySettings) -> dict[str, Any]:
    """Run the recipe; see `common.fit` for what it returns and raises."""
    base, model = prepare(settings)
    chat = ChatCodec(base.tokenizer)
    data = [
        policy_example(chat, trajectory, settings.prompt)
        for trajectory in read_trajectories(settings.data)
        if trajectory.outcome == "success" or not settings.successes_only
    ]
    return fit(settings, base, model, data, "policy")
