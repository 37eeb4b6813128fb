"""The same agent through both doors: the graph of its own, and an agent of LangChain with the middleware."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langgraph.types import Command

from dyna_graph import DynaMiddleware, create_dyna_agent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel
from tests.graph.conftest import AGENT
from tests.graph.judged import look, no_bad, seeing, touch


def guarded(
    script: Any, tools: Any = (look, touch), *, others: Any = (), behind: Any = (), **options: Any
) -> Any:
    """Return an agent of LangChain with the middleware between ``others`` and those ``behind`` it."""
    given = {key: options.pop(key) for key in AGENT if key in options}
    options.setdefault("world_model", ScriptedWorldModel(seeing))
    options.setdefault("critic", ScriptedCritic(no_bad))
    model = script if isinstance(script, ScriptedChatModel) else ScriptedChatModel(script=script)
    middleware = [*others, DynaMiddleware(**options), *behind]
    agent = create_agent(model, list(tools), middleware=middleware, **given)
    agent.scripted = model
    return agent


def own_graph(script: Any, tools: Any = (look, touch), **options: Any) -> Any:
    """Return the same agent as a graph of its own."""
    options.setdefault("world_model", ScriptedWorldModel(seeing))
    options.setdefault("critic", ScriptedCritic(no_bad))
    model = script if isinstance(script, ScriptedChatModel) else ScriptedChatModel(script=script)
    return create_dyna_agent(model, list(tools), **options)


def decide(*decisions: dict[str, Any]) -> Command[Any]:
    """Return what goes on with a human's decisions."""
    return Command(resume={"decisions": list(decisions)})


def recorded(folder: Any) -> list[dict[str, Any]]:
    """Return what an experience log holds, without what differs from run to run."""
    names: dict[str, str] = {}
    found = []
    for transition in ExperienceLog(folder).read():
        plain = transition.model_dump(mode="json")
        trajectory, _, kind = plain["trajectory"].partition("/")
        plain["trajectory"] = f"{names.setdefault(trajectory, str(len(names)))}/{kind}"
        for key in ("id", "time"):
            plain.pop(key, None)
        plain["verdict"] = {k: v for k, v in (plain["verdict"] or {}).items() if k != "expires_at"}
        found.append(plain)
    return sorted(
        found,
        key=lambda t: (
            t["trajectory"],
            t["index"],
            t["action"]["text"] if "text" in t["action"] else str(t["action"]),
        ),
    )
