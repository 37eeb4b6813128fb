"""An agent that tidies a folder, and asks a human about files that cannot be had back.

A critic can send a call to a human, who sees what the call is predicted to do, and approves, edits, rejects
or answers it. The run stops there and is kept in a checkpoint, so that the answer may come a second or a week
later, from another process. Offline: the policy is a script, the files are real.

    python examples/02_ask_a_human.py

Prints:

    before: cache.tmp, notes.bak, notes.txt, thesis.txt
    asked about delete_file({'name': 'thesis.txt'})
      predicted: thesis.txt is gone for good; there is no thesis.bak
    asked about delete_file({'name': 'notes.txt'})
      predicted: notes.txt is gone; notes.bak is left
    while the agent waits: cache.tmp, notes.bak, notes.txt, thesis.txt

    cache.tmp deleted
    A human rejected this call: That is my thesis!
    Note: a human changed this call before it ran. Executed instead: delete_file({"name": "notes.bak"})
    notes.bak deleted
    Done; I kept what you wanted to keep.
    after: notes.txt, thesis.txt
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph import create_dyna_agent
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, calls


def file_tool(folder: Path) -> BaseTool:
    """Return a tool that deletes files of a folder."""

    @tool
    def delete_file(name: str) -> str:
        """Delete a file."""
        (folder / name).unlink()
        return f"{name} deleted"

    return delete_file


class Losses:
    """A world model of rules: a deletion goes well when nothing is lost that only this file holds."""

    name = "losses"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [self._predict(Path(query.action.arguments["name"])) for query in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return self.predict(queries)

    def _predict(self, file: Path) -> Prediction:
        if file.suffix == ".tmp":
            return Prediction(observation=f"{file} deleted", success=True, model=self.name)
        backup = file.with_suffix(".bak")
        if (self.folder / backup).exists():
            text = f"{file} is gone; {backup} is left"
        else:
            text = f"{file} is gone for good; there is no {backup}"
        return Prediction(observation=text, success=False, model=self.name)


def listing(folder: Path) -> str:
    """Return the names of the files."""
    return ", ".join(sorted(file.name for file in folder.iterdir()))


def main() -> None:
    """Tidy up, with a human in between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("cache.tmp", "notes.bak", "notes.txt", "thesis.txt"):
            (folder / file).write_text("something")
        wanted = ["cache.tmp", "thesis.txt", "notes.txt"]
        policy = ScriptedChatModel(
            script=[
                calls(*(("delete_file", {"name": file}, None) for file in wanted)),
                "Done; I kept what you wanted to keep.",
            ]
        )
        agent = create_dyna_agent(
            policy,
            [file_tool(folder)],
            world_model=Losses(folder),
            critic=OutcomeCritic("delete_*", otherwise="escalate"),
            checkpointer=InMemorySaver(),  # where the run waits; SQLite or Postgres in earnest
        )
        print("before:", listing(folder))
        thread: RunnableConfig = {"configurable": {"thread_id": "tidy"}}
        result = agent.invoke({"messages": [("user", "Tidy up.")]}, thread)

        # The request has the shape of LangChain's human-in-the-loop middleware; `dyna` is what is ours.
        [interrupt] = result["__interrupt__"]
        for request in interrupt.value["action_requests"]:
            print(f"asked about {request['name']}({request['args']})")
            print("  predicted:", request["dyna"]["prediction"]["observation"])
        print("while the agent waits:", listing(folder), end="\n\n")

        decisions = [
            {"type": "reject", "message": "That is my thesis!"},
            {"type": "edit", "edited_action": {"name": "delete_file", "args": {"name": "notes.bak"}}},
        ]
        result = agent.invoke(Command(resume={"decisions": decisions}), thread)
        for message in result["messages"][2:]:
            print(message.content.replace("\n\n", "\n"))
        print("after:", listing(folder))


if __name__ == "__main__":
    main()
