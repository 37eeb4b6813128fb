"""The policy's own thinking as the world model."""

from __future__ import annotations

from collections.abc import Sequence

from dyna_nodes.inner import NAME, inner_prediction
from dyna_nodes.nouns import Prediction, Query


class ThinkingWorldModel:
    """Takes the simulation of an action out of the thinking with which the policy proposed it.

    For policies that simulate inside their response, as those trained with Dyna-Think's DIT and DDT do
    (arXiv 2506.00320, section 3): ``If I open fridge 1: You open the fridge 1. …``. No second model is asked. A
    call that the thinking does not simulate gets a prediction with an ``error``.

    Args:
        name: Name in predictions.

    Example:
        ```python
        agent = create_dyna_agent(policy, tools, world_model=ThinkingWorldModel(), critic=RuleCritic(...))
        ```
    """

    reads_thinking = True

    def __init__(self, *, name: str = NAME) -> None:
        self.name = name

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [inner_prediction(query.thinking, query.action, self.name) for query in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)
