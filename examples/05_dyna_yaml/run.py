"""An agent out of a YAML file.

`dyna.yaml` beside this file says everything but the tools. It names a model that needs a key; so that this
runs offline, two scripted chat models take its place unless ``--real`` is given. The world model is the real
`ChatWorldModel`, which asks its chat model what a call would do, and the files are real too.

    python examples/05_dyna_yaml/run.py
    python examples/05_dyna_yaml/run.py --real    # needs OPENAI_API_KEY and langchain-openai

Prints:

    calls list_files({})
      gets cache.tmp, thesis.txt
    calls delete_file({'name': 'thesis.txt'})
      gets This call should not run: no success predicted. Prediction: "thesis.txt deleted"
    calls delete_file({'name': 'cache.tmp'})
      gets cache.tmp deleted
    says I deleted the temporary file.
    left: thesis.txt
    recorded: 2 executed, 1 only imagined
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool, tool

from dyna_graph import DynaConfig
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_nodes.world_models import ChatWorldModel

TASK = "Delete the temporary files."


def file_tools(folder: Path) -> list[BaseTool]:
    """Return tools on the files of a folder."""

    @tool
    def list_files() -> str:
        """List the files."""
        return ", ".join(sorted(file.name for file in folder.iterdir()))

    @tool
    def delete_file(name: str) -> str:
        """Delete a file."""
        (folder / name).unlink()
        return f"{name} deleted"

    return [list_files, delete_file]


def policy() -> ScriptedChatModel:
    """Return a policy that begins with the wrong file."""
    return ScriptedChatModel(
        script=[
            call("list_files"),
            call("delete_file", name="thesis.txt"),
            call("delete_file", name="cache.tmp"),
            "I deleted the temporary file.",
        ]
    )


def imagination() -> ScriptedChatModel:
    """Return a chat model that knows what deleting does, and answers in the form that it is asked for."""

    def reply(messages: list[BaseMessage]) -> Any:
        action = str(messages[-1].content).rpartition("Action: ")[2]
        name = action.split('"')[3]
        done = "yes" if name.endswith(".tmp") else "no"
        return f"<observation>\n{name} deleted\n</observation>\n<success>{done}</success>"

    return ScriptedChatModel(script=reply)


def main() -> None:
    """Tidy a folder."""
    with tempfile.TemporaryDirectory() as name:
        files, records = Path(name, "files"), Path(name, "experience")
        files.mkdir()
        for file in ("cache.tmp", "thesis.txt"):
            (files / file).write_text("something")
        config = DynaConfig.from_file(Path(__file__).with_name("dyna.yaml"))
        with ExperienceLog(records) as log:
            parts: dict[str, Any] = {"record": log}
            if "--real" not in sys.argv:
                parts |= {"model": policy(), "world_model": ChatWorldModel(imagination())}
            agent = config.build(file_tools(files), **parts)
            result = agent.invoke({"messages": [("user", TASK)]})
            for message in result["messages"][1:]:
                if message.type == "tool":
                    print("  gets", message.content)
                elif message.tool_calls:
                    for made in message.tool_calls:
                        print(f"calls {made['name']}({made['args']})")
                else:
                    print("says", message.content)
            executed = [t for t in log.read() if t.provenance.source == "agent"]
            imagined = [t for t in log.read() if t.provenance.source == "imagination"]
        print("left:", ", ".join(file.name for file in files.iterdir()))
        print(f"recorded: {len(executed)} executed, {len(imagined)} only imagined")


if __name__ == "__main__":
    main()
