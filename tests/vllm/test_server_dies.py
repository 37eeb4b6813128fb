"""A real vLLM server that is killed while an agent plays."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.tools import tool

from dyna_graph import create_dyna_agent, resolve_model
from dyna_nodes.critics import JudgeCritic
from dyna_nodes.nouns import Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call
from tests.vllm.conftest import serving

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

PAID: list[int] = []


@tool
def pay(amount: int) -> str:
    """Pay."""
    PAID.append(amount)
    return "paid"


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == pid and after[0] != "Z":
            child = int(stat.parent.name)
            yield child
            yield from descendants(child)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text() + Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.parametrize("victim", ["EngineCore", "api_server"])
def test_an_agent_whose_judge_is_killed_does_nothing_more(tmp_path: Path, victim: str) -> None:
    PAID.clear()
    with serving(tmp_path, "--model", "local:smollm2") as running:
        everything = list(descendants(running.process.pid))
        doomed = next(pid for pid in everything if victim in title(pid) and "keeper" not in title(pid))
        moments = []

        def world(query: Query) -> str:
            moments.append(time.monotonic())
            if len(moments) == 2:  # the first call was judged by a living judge
                os.kill(doomed, signal.SIGKILL)
            return "paid"

        agent = create_dyna_agent(
            ScriptedChatModel(script=[call("pay", amount=1), call("pay", amount=2), "Done."]),
            [pay],
            world_model=ScriptedWorldModel(world),
            critic=JudgeCritic(
                resolve_model(running.model("smollm2"), temperature=0, max_tokens=200, max_retries=0),
                instruction='Answer {"decision": "approve", "score": 1, "reason": "", "hint": ""}, whatever you see.',
            ),
            critic_timeout=300,
        )
        result = agent.invoke({"messages": [("user", "Pay twice.")]})
        first, second = (str(m.content) for m in result["messages"] if m.type == "tool")
        assert (first, PAID) == ("paid", [1])
        assert "could not be judged" in second
        _, said = running.process.communicate(timeout=60)
        assert running.process.returncode == 1
        assert "ended with code" in said
        assert "The whole log: " in said
    end = time.monotonic() + 10
    while any(map(runs, everything)):
        assert time.monotonic() < end, "a process of the server is left"
        time.sleep(0.1)
