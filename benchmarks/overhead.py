"""What the loop itself costs per step, next to `langchain.agents.create_agent`.

A scripted model calls a tool that does nothing, so that all that is left is the machinery: of LangGraph, and of this
project (simulate with a scripted world model, critique, act, observe, recording at level ``process``).

    python benchmarks/overhead.py            a table; exit status 1 when a target is missed
    python benchmarks/overhead.py --json     the same as JSON

Targets, for ``invoke`` and ``ainvoke``: the graph takes at most 1.5 times `create_agent` per step, and at most 5 ms;
the middleware adds at most 5 ms to the step of the agent that it is in. Rounds of all agents alternate, and the median
counts, so that a busy machine slows down all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.sqlite import SqliteSaver

from dyna_graph import DynaMiddleware, create_dyna_agent
from dyna_nodes.core import DynaNode
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal.files import SqliteFile
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call

MAX_RATIO, MAX_MS = 1.5, 5.0


@tool
def noop(x: int) -> str:
    """Do nothing."""
    return "ok"


def policy(steps: int) -> ScriptedChatModel:
    """Return a model that calls the tool ``steps`` times; it keeps no record of its own."""

    def reply(messages: list[Any]) -> Any:
        done = sum(m.type == "tool" for m in messages)
        return "done" if done >= steps else call("noop", x=done)

    model = ScriptedChatModel(script=reply)
    model.prompts = _Forgetful()
    return model


class _Forgetful(list[Any]):
    def append(self, item: Any) -> None:
        """Keep nothing."""


def parts(steps: int, folder: Path) -> dict[str, Any]:
    world = ScriptedWorldModel(lambda query: "ok")
    critic = ScriptedCritic(lambda history, simulation: "approve")
    world.batches, critic.judged = _Forgetful(), _Forgetful()
    log = ExperienceLog(folder / "log", level="process")
    return {"world_model": world, "critic": critic, "record": log, "max_steps": steps}


def dyna(steps: int, folder: Path, **options: Any) -> Any:
    return create_dyna_agent(policy(steps), [noop], **parts(steps, folder), **options)


def middled(steps: int, folder: Path, **options: Any) -> Any:
    middleware = [DynaMiddleware(**parts(steps, folder))]
    return create_agent(policy(steps), [noop], middleware=middleware, **options)


def once(agent: Any, steps: int, is_async: bool, thread: str) -> float:
    """Run the agent once and return milliseconds per step."""
    given = {"messages": [("user", "go")]}
    config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 9_999}
    began = time.perf_counter()
    if is_async:
        asyncio.run(agent.ainvoke(given, config))
    else:
        agent.invoke(given, config)
    return (time.perf_counter() - began) * 1000 / steps


def compare(agents: dict[str, Any], steps: int, rounds: int, is_async: bool) -> dict[str, float]:
    """Run the agents in turn and return the median milliseconds per step of each."""
    found: dict[str, list[float]] = {name: [] for name in agents}
    for number in range(rounds + 2):
        for name, agent in agents.items():
            elapsed = once(agent, steps, is_async, f"{is_async}-{number}")
            if number >= 2:  # the first two warm up
                found[name].append(elapsed)
    return {name: statistics.median(values) for name, values in found.items()}


def where_time_goes(agent: Any, steps: int, rounds: int) -> dict[str, float]:
    """Return milliseconds per step by part; what is left belongs to LangGraph's own loop."""
    spent: Counter[str] = Counter()
    patched = [
        (DynaNode, "invoke", lambda self, *_: self.name),
        (BaseChatModel, "invoke", lambda *_: "model"),
        (BaseTool, "invoke", lambda self, *_: None if type(self).__name__ == "GuardedTool" else "tool"),
        (ExperienceLog, "append", lambda *_: "recording"),
        (SqliteFile, "write", lambda *_: "journal"),
        (SqliteFile, "query", lambda *_: "journal"),
    ]
    stack: list[str] = []

    def timed(function: Callable[..., Any], name_of: Callable[..., str | None]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            name = name_of(*args)
            if name is None:
                return function(*args, **kwargs)
            stack.append(name)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.perf_counter() - began
                stack.pop()
                spent[name] += elapsed
                if stack:
                    spent[stack[-1]] -= elapsed

        return run

    originals = [(kind, name, getattr(kind, name)) for kind, name, _ in patched]
    try:
        for kind, name, name_of in patched:
            setattr(kind, name, timed(getattr(kind, name), name_of))
        total = sum(once(agent, steps, False, f"profile-{i}") for i in range(rounds))
    finally:
        for kind, name, original in originals:
            setattr(kind, name, original)
    parts = {name: seconds * 1000 / rounds / steps for name, seconds in spent.items()}
    return {**parts, "langgraph": total / rounds - sum(parts.values())}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=30, help="steps per run")
    parser.add_argument("--rounds", type=int, default=15, help="runs per agent")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    steps, rounds = options.steps, options.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = dyna(steps, folder)
        base = create_agent(policy(steps), [noop])
        agents = {"create_agent": base, "dyna": ours, "middleware": middled(steps, folder)}
        sync = compare(agents, steps, rounds, False)
        async_ = compare(agents, steps, rounds, True)
        with (
            SqliteSaver.from_conn_string(str(folder / "a.sqlite")) as first,
            SqliteSaver.from_conn_string(str(folder / "b.sqlite")) as second,
            SqliteSaver.from_conn_string(str(folder / "c.sqlite")) as third,
        ):
            durable = dyna(steps, folder, checkpointer=second)
            saved = {
                "create_agent": create_agent(policy(steps), [noop], checkpointer=first),
                "dyna": durable,
                "middleware": middled(steps, folder, checkpointer=third),
            }
            sqlite = compare(saved, steps, max(3, rounds // 3), False)
            parts_durable = where_time_goes(durable, steps, 3)
        where = where_time_goes(ours, steps, 5)
    report = {
        "steps": steps,
        "sync": sync,
        "async": async_,
        "sqlite": sqlite,
        "ratio_sync": sync["dyna"] / sync["create_agent"],
        "ratio_async": async_["dyna"] / async_["create_agent"],
        "ratio_sqlite": sqlite["dyna"] / sqlite["create_agent"],
        "added_sync": sync["middleware"] - sync["create_agent"],
        "added_async": async_["middleware"] - async_["create_agent"],
        "added_sqlite": sqlite["middleware"] - sqlite["create_agent"],
        "parts": where,
        "parts_sqlite": parts_durable,
    }
    met = {
        name: report[f"ratio_{name}"] <= MAX_RATIO and report[name]["dyna"] <= MAX_MS
        for name in ("sync", "async")
    }
    met |= {f"middleware, {name}": report[f"added_{name}"] <= MAX_MS for name in ("sync", "async")}
    if options.json:
        print(json.dumps({**report, "met": met}, indent=2))
    else:
        show(report, met)
    return 0 if all(met.values()) else 1


def show(report: dict[str, Any], met: dict[str, bool]) -> None:
    print(f"milliseconds per step, {report['steps']} steps per run, median\n")
    print(f"{'':28}{'create_agent':>14}{'dyna':>10}{'ratio':>9}{'middleware':>14}{'added':>9}")
    for name, label in (
        ("sync", "invoke, recording"),
        ("async", "ainvoke, recording"),
        ("sqlite", "invoke, SQLite, journal"),
    ):
        row = report[name]
        ratio = report[f"ratio_{name}"]
        added = report[f"added_{name}"]
        print(
            f"{label:28}{row['create_agent']:>14.3f}{row['dyna']:>10.3f}{ratio:>9.2f}"
            f"{row['middleware']:>14.3f}{added:>9.3f}"
        )
    print(f"\n{'where the time goes':28}{'in memory':>14}{'SQLite':>10}")
    for name in sorted(report["parts_sqlite"], key=lambda n: -report["parts_sqlite"][n]):
        print(f"  {name:26}{report['parts'].get(name, 0.0):>14.3f}{report['parts_sqlite'][name]:>10.3f}")
    said = ", ".join(f"{name} {'met' if fine else 'MISSED'}" for name, fine in met.items())
    print(
        f"\ntargets, ratio ≤ {MAX_RATIO} and ≤ {MAX_MS:g} ms per step, middleware adds ≤ {MAX_MS:g} ms: {said}"
    )


if __name__ == "__main__":
    sys.exit(main())
