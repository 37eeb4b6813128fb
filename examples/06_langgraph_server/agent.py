"""An agent for `langgraph dev`: refunds wait for a human, who sees what is predicted.

The server brings the checkpointer, so the agent is told ``checkpointer=True``; the journal needs a place of its own.

    cd examples/06_langgraph_server && langgraph dev --no-browser
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import tool

from dyna_graph import create_dyna_agent
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call

DATA = Path(os.environ.get("ORDER_DESK_DATA", "order-desk"))


@tool
def find_order(order_id: int) -> str:
    """Return what is known about an order."""
    return f"order {order_id}: lamp, paid 40.00, delivered"


@tool
def refund_order(order_id: int, amount: float) -> str:
    """Pay an amount back to the customer."""
    with (DATA / "refunds.txt").open("a") as book:
        book.write(f"{order_id} {amount:.2f}\n")
    return f"refunded {amount:.2f} for order {order_id}"


def policy(messages: Sequence[BaseMessage]) -> Any:
    """Find the order, refund it, answer: a script in place of a chat model, so that the example needs no key."""
    done = sum(isinstance(message, ToolMessage) for message in messages)
    return [call("find_order", order_id=1042), call("refund_order", order_id=1042, amount=40), "Done."][done]


def imagine(query: Query) -> Prediction:
    """Predict that nothing is certain to succeed but looking."""
    looks = query.action.tool == "find_order"
    return Prediction(observation="an order" if looks else "refunded, or declined by the bank", success=looks)


graph = create_dyna_agent(
    ScriptedChatModel(script=policy),
    [find_order, refund_order],
    world_model=ScriptedWorldModel(imagine),
    critic=OutcomeCritic("refund_*", otherwise="escalate"),
    tool_settings={"refund_*": {"irreversible": True}},
    record=DATA / "experience",
    journal=DATA / "intents.sqlite",
    checkpointer=True,
    name="order desk",
)
