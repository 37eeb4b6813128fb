"""The example for `langgraph dev`: started offline, used over its HTTP API, stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from dyna_nodes.experience import ExperienceLog

pytest.importorskip("langgraph_cli")
pytest.importorskip("langgraph_api")
EXAMPLE = Path(__file__).parents[2] / "examples" / "06_langgraph_server"
GO: Any = {"messages": [{"role": "user", "content": "My lamp was broken."}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve a copy of the example; yield the address and the folder."""
    folder = tmp_path_factory.mktemp("served") / "example"
    shutil.copytree(EXAMPLE, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--no-reload", "--port", str(port)]
    script = "from langgraph_cli.cli import cli; cli()"
    environment = {**os.environ, "LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", script, "dev", *options],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, server, folder / "log")
        yield url, folder
    finally:
        server.terminate()
        server.wait(20)


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/ok").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


def test_a_human_approves_over_http_and_nothing_blocks(served: tuple[str, Path]) -> None:
    url, folder = served

    async def talk() -> tuple[Any, list[str], Any]:
        client = get_client(url=url)
        thread = (await client.threads.create())["thread_id"]
        paused = await client.runs.wait(thread, "order_desk", input=GO)
        refunds_before = books(folder)
        approve: Any = {"resume": {"decisions": [{"type": "approve"}]}}
        return paused, refunds_before, await client.runs.wait(thread, "order_desk", command=approve)

    paused, refunds_before, ended = asyncio.run(talk())
    (request,) = paused["__interrupt__"][0]["value"]["action_requests"]
    assert request["name"] == "refund_order"
    assert "Predicted outcome: refunded, or declined by the bank" in request["description"]
    assert refunds_before == []
    assert ended["messages"][-1]["content"] == "Done."
    assert ended["ended"]["kind"] == "answer"
    assert books(folder) == ["1042 40.00"]
    transitions = ExperienceLog(folder / "order-desk" / "experience").read()
    assert [t.action.tool for t in transitions] == ["find_order", "refund_order"]
    assert "BlockingError" not in (folder / "log").read_text()


def test_events_of_the_loop_and_messages_stream_over_http(served: tuple[str, Path]) -> None:
    url, _ = served

    async def listen() -> list[Any]:
        client = get_client(url=url)
        modes: Any = ["custom", "messages-tuple"]
        return [part async for part in client.runs.stream(None, "order_desk", input=GO, stream_mode=modes)]

    parts = asyncio.run(listen())
    kinds = [part.data["type"] for part in parts if part.event == "custom"]
    assert kinds[:4] == ["dyna.simulate", "dyna.critique", "dyna.act", "dyna.observe"]
    said = [part.data[0]["content"] for part in parts if part.event == "messages"]
    assert "order 1042: lamp, paid 40.00, delivered" in said
    assert not [text for text in said if "declined" in str(text)], (
        "what is imagined is not part of the messages"
    )


def books(folder: Path) -> list[str]:
    """Return the refunds that were really paid."""
    file = folder / "order-desk" / "refunds.txt"
    return file.read_text().splitlines() if file.exists() else []
