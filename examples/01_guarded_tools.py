"""An order desk whose refunds are tried on a copy of the database before they are paid.

The agent is one that `langchain.agents.create_agent` made. It means well and makes a mistake: it refunds 400.00 for an
order of 40.00. The tools do what they are told. What stops it is one more line, the middleware: each refund runs on a
copy of the database first, and a critic lets it through only where that is predicted to succeed. Offline: the policy
is a script, everything else is real.

    python examples/01_guarded_tools.py

Prints:

    as it was
      find_order({"order_id": 1042})
        order 1042: lamp, paid 40.00, refunded 0.00, delivered
      refund_order({"amount": 400, "order_id": 1042})
        refunded 400.00 for order 1042
      You have your money back; sorry about the lamp.
    in the database: lamp, paid 40.00, refunded 400.00, delivered

    with DynaMiddleware
      find_order({"order_id": 1042})
        order 1042: lamp, paid 40.00, refunded 0.00, delivered
      refund_order({"amount": 400, "order_id": 1042})
        rejected: This call should not run: no success predicted. Prediction: "refunded 400.00 for order 1042"
      refund_order({"amount": 40, "order_id": 1042})
        refunded 40.00 for order 1042
      You have your money back; sorry about the lamp.
    in the database: lamp, paid 40.00, refunded 40.00, delivered
    predictions that came true: 1 of 1
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from dyna_graph import DynaMiddleware
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Action, Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, call

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, paid REAL, refunded REAL, status TEXT);
INSERT INTO orders VALUES (1042, 'lamp', 40, 0, 'delivered'), (1043, 'chair', 80, 0, 'packed');
"""


def described(database: sqlite3.Connection, order_id: int) -> str:
    """Return what the database says about an order."""
    row = database.execute("SELECT item, paid, refunded, status FROM orders WHERE id = ?", (order_id,))
    item, paid, refunded, status = row.fetchone()
    return f"{item}, paid {paid:.2f}, refunded {refunded:.2f}, {status}"


def order_tools(database: sqlite3.Connection) -> list[BaseTool]:
    """Return the tools of the order desk; they do what they are told."""

    @tool
    def find_order(order_id: int) -> str:
        """Look an order up."""
        return f"order {order_id}: {described(database, order_id)}"

    @tool
    def refund_order(order_id: int, amount: float) -> str:
        """Pay money back for an order."""
        database.execute("UPDATE orders SET refunded = refunded + ? WHERE id = ?", (amount, order_id))
        database.commit()
        return f"refunded {amount:.2f} for order {order_id}"

    @tool
    def cancel_order(order_id: int) -> str:
        """Cancel an order."""
        database.execute("UPDATE orders SET status = 'cancelled' WHERE id = ?", (order_id,))
        database.commit()
        return f"cancelled order {order_id}"

    return [find_order, refund_order, cancel_order]


class TrialRun:
    """A world model that runs each call on a copy of the database.

    A call succeeds when the copy is in order afterwards: nobody got back more than they paid, and what was
    delivered is still delivered.
    """

    name = "trial run"

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [self._predict(query) for query in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _predict(self, query: Query) -> Prediction:
        def count(condition: str) -> int:
            return int(copy.execute(f"SELECT count(*) FROM orders WHERE {condition}").fetchone()[0])

        copy = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.backup(copy)
        delivered = count("status = 'delivered'")
        tools = {t.name: t for t in order_tools(copy)}
        observation = tools[query.action.tool].invoke(dict(query.action.arguments))
        sound = count("refunded > paid") == 0 and count("status = 'delivered'") == delivered
        copy.close()
        return Prediction(observation=observation, success=sound, model=self.name)


def policy() -> ScriptedChatModel:
    """Return the policy: it mistypes the amount, and corrects itself when it is told."""

    def reply(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if not isinstance(last, ToolMessage):
            return call("find_order", order_id=1042)
        if last.name == "find_order":
            return call("refund_order", order_id=1042, amount=400)
        if last.status == "error":
            return call("refund_order", order_id=1042, amount=40)
        return "You have your money back; sorry about the lamp."

    return ScriptedChatModel(script=reply)


def run(agent: Any) -> None:
    """Let the agent answer a customer, and show what it does."""
    question = {"messages": [("user", "Order 1042 arrived broken. Please give me my money back.")]}
    for message in agent.invoke(question)["messages"]:
        if isinstance(message, ToolMessage):
            print("    " + ("rejected: " if message.status == "error" else "") + str(message.content))
        elif isinstance(message, AIMessage):
            print("  " + (_calls(message) or str(message.content)))


def _calls(message: AIMessage) -> str:
    return ", ".join(Action(tool=c["name"], arguments=c["args"]).text for c in message.tool_calls)


def open_shop(file: Path) -> sqlite3.Connection:
    """Return a new database with two orders."""
    database = sqlite3.connect(file, check_same_thread=False)
    database.executescript(SHOP)
    return database


def main() -> None:
    """Serve the same customer twice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        print("as it was")
        database = open_shop(folder / "unguarded.sqlite")
        run(create_agent(policy(), order_tools(database)))
        print("in the database:", described(database, 1042))
        database.close()

        print("\nwith DynaMiddleware")
        database = open_shop(folder / "guarded.sqlite")
        with ExperienceLog(folder / "experience") as log:
            guard = DynaMiddleware(
                TrialRun(database),
                OutcomeCritic(["refund_*", "cancel_*"]),
                tool_settings={
                    "find_*": {"simulate": False},
                    "*": {"irreversible": True},
                },  # looking does no harm
                record=log,
            )
            run(create_agent(policy(), order_tools(database), middleware=[guard]))
            matches = [t.scores["exact"] for t in log.read() if "exact" in t.scores]
        print("in the database:", described(database, 1042))
        print(f"predictions that came true: {sum(matches):.0f} of {len(matches)}")
        database.close()


if __name__ == "__main__":
    main()
