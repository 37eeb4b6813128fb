"""How much of a vLLM server's throughput a hundred agents use, next to a bare client that asks the same.

A hundred agents of `create_dyna_agent` play at once: their policy and their world model are adapters of one server,
their tool does nothing. Every request is recorded; then a client that does nothing else replays them to the same
server: as many conversations at once, each in its order, with the lengths of the answers held to what they were. Rounds
alternate, and each has prefixes of its own, so that nobody profits from what the server remembers.

    python benchmarks/vllm_agents.py                        starts `dyna serve` ($DYNA_VLLM_PYTHON, or --python)
    python benchmarks/vllm_agents.py --url http://127.0.0.1:8000/v1          uses a running server

Target: the agents' requests per second are at least 0.9 times those of the bare client. Exit status 1 when missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from langchain_core.tools import tool

from dyna_graph import create_dyna_agent, resolve_model
from dyna_nodes.codec.policy import POLICY_PROMPT
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.served import get_served_engine, server
from dyna_nodes.testing import ScriptedCritic
from dyna_nodes.world_models import TrainedWorldModel

TARGET = 0.9
TASK = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "cabinet {}, a diningtable 1, and a fridge 1.\n\nYour task is to: put some apple on diningtable."
)


class Asked(NamedTuple):
    """A request and what it led to: its body, when it began and ended, and how many tokens came back."""

    body: dict[str, Any]
    began: float
    ended: float
    tokens: int


class Round(NamedTuple):
    """A round of one client: seconds, requests and tokens."""

    seconds: float
    requests: int
    tokens: int


@tool
def act(command: str) -> str:
    """Send one command to the household."""
    return "Nothing happens."


class Recorder:
    """Stands between the engine and its server, and writes down what is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.salt = ""
        plain, recorder = server.Server.post, self

        async def post(self: server.Server, path: str, body: dict[str, Any]) -> dict[str, Any]:
            body = {**body, "cache_salt": recorder.salt}
            began = time.perf_counter()
            answer = await plain(self, path, body)
            tokens = answer["usage"]["completion_tokens"]
            recorder.asked.append(Asked(body, began, time.perf_counter(), tokens))
            return answer

        server.Server.post = post  # type: ignore[method-assign]


def conversations(asked: list[Asked], tokenizer: Any) -> list[list[Asked]]:
    """Return the requests by agent, whose number stands in its task."""
    found: dict[str, list[Asked]] = {}
    for request in asked:
        number = re.search(r"you see a cabinet (\d+),", tokenizer.decode(request.body["prompt"]))
        assert number is not None
        found.setdefault(number[1], []).append(request)
    return [*found.values()]


def agents(url: str, policy: str, world_model: str, steps: int, folder: Path) -> Any:
    """Return an agent; it holds no state, so that a hundred runs of it are a hundred agents."""
    return create_dyna_agent(
        resolve_model(f"vllm:{policy}@{url}", temperature=0, max_tokens=48),
        [act],
        world_model=TrainedWorldModel(get_served_engine(url), world_model, max_new_tokens=48),
        critic=ScriptedCritic(lambda history, simulation: "approve"),
        system_prompt=POLICY_PROMPT,
        record=ExperienceLog(folder, level="process"),
        max_steps=steps,
        surprise=False,
    )


async def play(agent: Any, count: int, recorder: Recorder, salt: str) -> Round:
    """Let so many agents play at once."""
    recorder.asked, recorder.salt = [], salt
    began = time.perf_counter()
    await asyncio.gather(*(agent.ainvoke({"messages": [("user", TASK.format(n))]}) for n in range(count)))
    seconds = time.perf_counter() - began
    return Round(seconds, len(recorder.asked), sum(request.tokens for request in recorder.asked))


async def replay(url: str, asked: list[list[Asked]], salt: str) -> Round:
    """Ask the same: every conversation in its order, what was asked at once at once, all conversations together."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=3)
    async with httpx.AsyncClient(limits=limits, timeout=600) as client:

        async def ask(request: Asked) -> None:
            body = {**request.body, "cache_salt": salt, "max_tokens": request.tokens, "ignore_eos": True}
            answer = await client.post(f"{url}/completions", json=body)
            answer.raise_for_status()
            assert answer.json()["usage"]["completion_tokens"] == request.tokens

        async def converse(requests: list[Asked]) -> None:
            for group in _groups(requests):
                await asyncio.gather(*map(ask, group))

        began = time.perf_counter()
        await asyncio.gather(*map(converse, asked))
        seconds = time.perf_counter() - began
    flat = [request for each in asked for request in each]
    return Round(seconds, len(flat), sum(request.tokens for request in flat))


def _groups(requests: list[Asked]) -> Iterator[list[Asked]]:
    """Yield what an agent asked at once, in order: requests that overlap in time."""
    group: list[Asked] = []
    for request in sorted(requests, key=lambda r: r.began):
        if group and request.began >= min(each.ended for each in group):
            yield group
            group = []
        group.append(request)
    yield group


@contextlib.contextmanager
def served(options: argparse.Namespace) -> Iterator[str]:
    """Yield the address of a server with policy and world model."""
    if options.url:
        yield options.url
        return
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-c", "from dyna_graph.cli import main; main()", "serve", "--lora"]
        for name in dict.fromkeys((options.policy, options.world_model)):
            command += ["--model", f"local:{name}"]
        python = ["--python", options.python] if options.python else []
        process = subprocess.Popen([*command, *python, "--port", str(port), "--ready-file", str(ready)])
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit("the server did not start")
                time.sleep(0.2)
            yield json.loads(ready.read_text())["servers"][0]["url"]
        finally:
            process.terminate()
            process.wait()


async def measure(url: str, options: argparse.Namespace, folder: Path) -> list[tuple[Round, Round]]:
    """Return the rounds of agents and bare client, in pairs; the first pair, which warms up, is left out."""
    tokenizer = get_served_engine(url).tokenizer
    recorder = Recorder()
    agent = agents(url, options.policy, options.world_model, options.steps, folder)
    rounds = []
    await play(agent, min(options.agents, 8), recorder, "warm")
    for number in range(options.rounds):
        ours = await play(agent, options.agents, recorder, f"agents {number}")
        bare = await replay(url, conversations(recorder.asked, tokenizer), f"bare {number}")
        rounds.append((ours, bare))
        print(
            f"round {number + 1}: {ours.requests} requests, {ours.tokens} tokens; agents {ours.seconds:.1f} s, "
            f"bare client {bare.seconds:.1f} s, ratio {bare.seconds / ours.seconds:.3f}",
            file=sys.stderr,
            flush=True,
        )
    return rounds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, default=100, help="agents at once")
    parser.add_argument("--steps", type=int, default=3, help="steps of each agent")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each client")
    parser.add_argument("--url", help="a running server, /v1 included")
    parser.add_argument("--policy", default="smollm2+alfworld-policy", help="the server's name of the policy")
    parser.add_argument(
        "--world-model", default="smollm2+alfworld-world-model", help="and of the world model"
    )
    parser.add_argument("--python", help="Python of the environment with vLLM, where a server is started")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # takes the server along
    with served(options) as url, tempfile.TemporaryDirectory() as folder:
        rounds = asyncio.run(measure(url, options, Path(folder)))
    ratios = [bare.seconds / ours.seconds for ours, bare in rounds]
    report = {
        "agents": options.agents,
        "steps": options.steps,
        "rounds": [{"agents": ours._asdict(), "bare": bare._asdict()} for ours, bare in rounds],
        "ratio": statistics.median(ratios),
        "met": statistics.median(ratios) >= TARGET,
    }
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        rate = [statistics.median(r.requests / r.seconds for r in side) for side in zip(*rounds, strict=True)]
        tokens = [statistics.median(r.tokens / r.seconds for r in side) for side in zip(*rounds, strict=True)]
        print(f"{options.agents} agents, {options.steps} steps each, {options.rounds} rounds, medians\n")
        print(f"{'':14}{'requests/s':>12}{'tokens/s':>12}")
        print(
            f"{'agents':14}{rate[0]:>12.2f}{tokens[0]:>12.1f}\n{'bare client':14}{rate[1]:>12.2f}{tokens[1]:>12.1f}"
        )
        said = "met" if report["met"] else "MISSED"
        print(
            f"\nratio {report['ratio']:.3f} ({min(ratios):.3f}–{max(ratios):.3f}); target ≥ {TARGET}: {said}"
        )
    return 0 if report["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
