"""`dyna serve` with a stand-in for vLLM: started, awaited, explained, and stopped with all that belongs to it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph.cli import app
from tests.training.processes import alive, are_gone
from tests.training.serving.stub_vllm import stub_python

pytest.importorskip("transformers")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_python(tmp_path_factory.mktemp("stub"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder that passes for a base model."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def start(stub: Path, base: Path, tmp_path: Path) -> Iterator[Start]:
    """Start `dyna serve`; whatever it has started is killed after the test."""
    begun: list[subprocess.Popen[str]] = []
    ours = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "DYNA_VLLM_PYTHON": str(stub)}

    def run(*arguments: str, **more: str) -> subprocess.Popen[str]:
        environment = ours | more
        command = [sys.executable, "-m", "dyna_graph", "serve", "--model", f"local:{base}", *arguments]
        command[1:3] = ["-c", "from dyna_graph.cli import main; main()"]
        process = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def child_of(log: str) -> int:
    """Return the process id of the stand-in's child."""
    found = re.search(r"^child (\d+)", Path(log).read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_says_when_it_is_ready_and_leaves_nothing_behind(
    start: Start, base: Path, tmp_path: Path, number: signal.Signals
) -> None:
    port, file = free_port(), tmp_path / "ready.json"
    process = start("--port", port, "--ready-file", str(file))
    until(file.exists)
    ready = json.loads(file.read_text())
    url = f"http://127.0.0.1:{port}/v1"
    assert ready["vllm"]["device"] == "cpu"
    [server] = ready["servers"]
    assert server["models"] == [
        {"name": str(base), "yaml": f"vllm:{base}@{url}", "adapter": None, "weights": "base"}
    ]
    log = server["log"]
    assert f"asked {base}" in Path(log).read_text(), "ready means that every model has given a token"
    child = child_of(log)
    assert alive(child)
    process.send_signal(number)
    output, said = process.communicate(timeout=30)
    assert are_gone([child])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", int(port)))
    if number is signal.SIGKILL:
        return
    assert process.returncode == 0, said
    assert f"  vllm:{base}@{url}    # base" in output
    assert "Stopping." in said
    assert not file.exists()


def test_a_server_that_dies_takes_its_engine_along_and_is_explained(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    process = start("--port", free_port(), "--ready-file", str(file), "--json")
    until(file.exists)
    log = json.loads(file.read_text())["servers"][0]["log"]
    child = child_of(log)
    parent = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    output, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ended with code 137" in said
    assert "Likely cause: something killed it" in said
    assert f"The whole log: {log}" in said
    assert json.loads(output)["servers"][0]["log"] == log
    assert are_gone([child])
    assert not file.exists()


def test_what_a_crash_at_the_start_says_is_shown_with_its_likely_cause(start: Start) -> None:
    process = start("--port", free_port(), "--vllm", "memory")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "    ValueError: No available memory for the cache blocks." in said
    assert "    loading" in said, "without process, level and time"
    assert "Likely cause: its memory is too small for one conversation of full length" in said


def test_a_server_that_dies_of_its_first_question(start: Start) -> None:
    _, said = start("--port", free_port(), "--vllm", "dies").communicate(timeout=30)
    assert "asked" in said
    assert "No cause that is known here." in said


def test_one_that_does_not_get_ready_in_time(start: Start) -> None:
    process = start("--port", free_port(), "--timeout", "1.5", "--vllm=--forever")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "not ready after 1.5 s (--timeout)" in said


def test_ctrl_c_before_it_is_ready(start: Start, tmp_path: Path) -> None:
    process = start("--port", free_port(), "--vllm=--forever")
    log = tmp_path / "cache" / "dyna-graph" / "serve"
    until(lambda: [f for f in log.glob("*.log") if "loading" in f.read_text()] if log.is_dir() else False)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_its_log_is_shown_on_request(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    process = start("--port", free_port(), "--ready-file", str(file), "--log")
    until(file.exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert said.count("[api_server.py:1] loading") == 1


def test_proxies_keys_and_relative_paths_do_not_matter(start: Start, stub: Path, tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    (tmp_path / "environment").symlink_to(stub.parent)
    python = str(Path("environment") / stub.name)
    process = start(
        *("--port", free_port(), "--ready-file", str(file), "--python", python),
        http_proxy="http://127.0.0.1:9",
        VLLM_API_KEY="sesame",
    )
    until(lambda: file.exists() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


def test_a_ready_file_of_one_that_was_killed_is_gone_before_anything_starts(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "ready.json"
    file.write_text("{}")
    process = start("--port", free_port(), "--ready-file", str(file), "--vllm=--forever")
    log = tmp_path / "cache" / "dyna-graph" / "serve"
    until(lambda: log.is_dir() and any(log.iterdir()))
    assert not file.exists()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def refused(*arguments: str, exit_code: int = 1) -> str:
    """Run the command in this process and return what it says."""
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_a_port_in_use_is_refused(
    stub: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("--model", f"local:{base}", "--python", str(stub), "--port", str(port))
    assert (
        f"port {port} of 127.0.0.1 cannot be used: Address already in use; choose another with --port" in said
    )


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (sys.executable, "has no vLLM.\nOn a GPU:       pip install vllm"),
        ("/nowhere/python", "/nowhere/python is no Python that runs"),
        ("/bin/false", "/bin/false is no Python that runs"),
    ],
)
def test_without_vllm_it_says_how_to_get_it(base: Path, python: str, said: str) -> None:
    assert said in refused("--model", f"local:{base}", "--python", python)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "local:smollm2", "--vllm", "'"], "--vllm: No closing quotation"),
        (["--model", "openai:gpt-5-mini"], "--model takes local:base or local:base+adapter"),
        (["--model", "local:smollm2+nobody"], "no adapter 'nobody'"),
        (["--model", "local:smollm2", "--ready-file", "no/such/file"], "there is no such folder"),
    ],
)
def test_what_cannot_be_served_is_refused(arguments: list[str], said: str) -> None:
    assert said in refused(*arguments)


def test_a_configuration_that_is_not_there() -> None:
    assert "nowhere.yaml" in refused("nowhere.yaml", exit_code=2)
