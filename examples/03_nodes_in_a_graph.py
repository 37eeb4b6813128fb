"""The four nodes in a graph of one's own, with a node before, one in between and one after.

`create_dyna_agent` is simulate, critique, act and observe in a `StateGraph`. Here they stand in a larger one:
a node that looks up who is asking, a node through which every approved call passes, and a node that says
goodbye. Offline: the policy is a script, the stock is a real SQLite database.

    python examples/03_nodes_in_a_graph.py

Prints:

    visited: greet, simulate, critique, announce, act, observe, simulate, critique, simulate, close
    announced: ship(item='lamp', number=5)
    human  14 lamps, please.
    tool   5 lamps shipped.
    tool   This call should not run: no success predicted. Prediction: "only 2 lamps are left"
    ai     Only 2 lamps are left, so I shipped no more.
    ai     Goodbye, Ada!
    left: 2
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from dyna_nodes.act import ActNode
from dyna_nodes.core import DynaCore
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.critique import CritiqueNode
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.observe import ObserveNode
from dyna_nodes.simulate import SimulateNode
from dyna_nodes.state import DynaState
from dyna_nodes.testing import ScriptedChatModel, call


class ShopState(DynaState):
    """The state of the loop, and what the larger graph needs besides."""

    customer: str
    announced: Annotated[list[str], operator.add]


class Approved(TypedDict):
    """What critique sends to the node that runs a call: one approved call."""

    call: ToolCall


def stock(database: sqlite3.Connection) -> int:
    """Return how many lamps there are."""
    return int(database.execute("SELECT number FROM stock WHERE item = 'lamp'").fetchone()[0])


def ship_tool(database: sqlite3.Connection) -> BaseTool:
    """Return a tool that ships what it is told to, in stock or not."""

    @tool
    def ship(item: str, number: int) -> str:
        """Ship items to the customer."""
        database.execute("UPDATE stock SET number = number - ? WHERE item = ?", (number, item))
        database.commit()
        return f"{number} {item}s shipped."

    return ship


class Arithmetic:
    """A world model that can subtract."""

    name = "arithmetic"

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [self._predict(**query.action.arguments) for query in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _predict(self, item: str, number: int) -> Prediction:
        enough = number <= stock(self.database)
        text = f"{number} {item}s shipped." if enough else f"only {stock(self.database)} {item}s are left"
        return Prediction(observation=text, success=enough, model=self.name)


def policy() -> ScriptedChatModel:
    """Return the policy: it ships the lamps in two parcels, the second too large."""

    def reply(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if not isinstance(last, ToolMessage):
            return call("ship", item="lamp", number=5)
        if last.status == "error":
            return "Only 2 lamps are left, so I shipped no more."
        return call("ship", item="lamp", number=9)

    return ScriptedChatModel(script=reply)


def greet(state: ShopState) -> dict[str, Any]:
    """Look up who is asking."""
    return {"customer": "Ada"}


def announce(state: Approved) -> Command[Any]:
    """Say what is going to run; a message queue or a second approval would stand here."""
    call_ = state["call"]
    arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(call_["args"].items()))
    return Command(
        update={"announced": [f"{call_['name']}({arguments})"]}, goto=[Send("act", {"call": call_})]
    )


def close(state: ShopState) -> dict[str, Any]:
    """Say goodbye by name."""
    return {"messages": [AIMessage(f"Goodbye, {state['customer']}!")]}


def build(database: sqlite3.Connection) -> Any:
    """Return the compiled graph."""
    core = DynaCore(
        policy(), [ship_tool(database)], world_model=Arithmetic(database), critic=OutcomeCritic("ship")
    )
    graph = StateGraph(ShopState)
    graph.add_node("greet", greet)
    # Each node is told the names of the nodes that it leads to; the defaults are those of the plain loop.
    graph.add_node("simulate", SimulateNode(core, then="critique", end="close"))
    graph.add_node("critique", CritiqueNode(core, act="announce", end="close"))
    graph.add_node("announce", announce)
    graph.add_node("act", ActNode(core))
    graph.add_node("observe", ObserveNode(core, end="close"))
    graph.add_node("close", close)
    graph.add_edge(START, "greet")
    graph.add_edge("greet", "simulate")
    graph.add_edge("act", "observe")
    graph.add_edge("close", END)
    return graph.compile()


def main() -> None:
    """Ship some lamps."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.executescript(
        "CREATE TABLE stock (item TEXT, number INT); INSERT INTO stock VALUES ('lamp', 7);"
    )
    visited: list[str] = []
    final: dict[str, Any] = {}
    inputs = {"messages": [("user", "14 lamps, please.")]}
    for mode, part in build(database).stream(inputs, stream_mode=["updates", "values"]):
        if mode == "updates":
            visited += part
        else:
            final = part
    print("visited:", ", ".join(visited))
    print("announced:", ", ".join(final["announced"]))
    for message in final["messages"]:
        if message.content:
            print(f"{message.type:6} {message.content}")
    print("left:", stock(database))


if __name__ == "__main__":
    main()
