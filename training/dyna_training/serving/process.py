"""A vLLM server as a child process: started, awaited, watched and stopped with everything that belongs to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from dyna_graph.models import api_key
from dyna_nodes.local.base import cache_dir
from dyna_training.serving import weights
from dyna_training.serving.causes import explained, last_lines, said
from dyna_training.serving.installed import Installed
from dyna_training.serving.keeper import GRACE
from dyna_training.serving.plan import ServeError, ServerPlan

LOOK: Final = 0.25
WARM_UP: Final = 300.0
"""Seconds for a model's first token; LoRA on a CPU takes the better part of a minute."""
_ASK: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""Asks a server of this machine, which no proxy reaches."""


def command(
    plan: ServerPlan, vllm: Installed, host: str, dtype: str, folder: Path, more: Sequence[str]
) -> list[str]:
    """Return vLLM's command line for a server.

    The module is started, not ``vllm serve``: in the build for CPUs that command does not find its own version.

    Args:
        plan: The server.
        vllm: What runs it.
        host: Address to listen at.
        dtype: Of weights and computation.
        folder: Where the chat template is written, if there is one.
        more: Further arguments, as given.
    """
    names = [model.name for model in plan.models if not (plan.lora and model.adapter)] or [plan.base]
    words = [vllm.python, "-m", "vllm.entrypoints.openai.api_server", "--model", weights.weights(plan, dtype)]
    words += ["--served-model-name", *names, "--host", host, "--port", str(plan.port), "--dtype", dtype]
    words += ["--enable-prompt-tokens-details"]
    template = weights.template(plan)
    if template is not None:
        file = folder / f"chat-template-{plan.port}.jinja"
        file.write_text(template, encoding="utf-8")
        words += ["--chat-template", str(file), "--chat-template-content-format", "string"]
        words += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    if plan.lora:
        rank, count = weights.largest_rank(plan), len(plan.adapters)
        modules = [json.dumps({"name": m.name, "path": str(m.adapter)}) for m in plan.adapters]
        words += [
            "--enable-lora",
            "--max-loras",
            str(count),
            "--max-lora-rank",
            str(rank),
            "--lora-modules",
            *modules,
        ]
    if vllm.cpu:
        words += ["--enforce-eager"]
    return [*words, *more]


class VllmServer:
    """A running server.

    Args:
        plan: What it is.
        words: Its command line.
        vllm: What runs it.
        host: Where it listens.
        log: File for what it says.

    Raises:
        ServeError: The port is in use.
    """

    def __init__(self, plan: ServerPlan, words: Sequence[str], vllm: Installed, host: str, log: Path) -> None:
        self.plan, self.host, self.log = plan, host, log
        self._refuse_taken_port()
        environment = {
            k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        }
        defaults = {"VLLM_NO_USAGE_STATS": "1"} | ({"VLLM_CPU_KVCACHE_SPACE": "2"} if vllm.cpu else {})
        with log.open("wb") as file:
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "dyna_training.serving.keeper", *words],
                stdin=subprocess.PIPE,  # never written to: when it ends, the keeper stops the server
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env=defaults | environment,
                start_new_session=True,  # Ctrl-C goes to this process, which stops its servers
            )

    @property
    def url(self) -> str:
        """The address for clients."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.plan.port}/v1"

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._keeper.poll()

    def wait_until_ready(self, timeout: float, tell: Callable[[str], None]) -> None:
        """Wait until every model has answered with a token.

        Args:
            timeout: Seconds for loading.
            tell: Told now and then what it is doing.

        Raises:
            ServeError: It ended, or took longer.
        """
        end = time.monotonic() + timeout
        while not self._healthy():
            self.check()
            if time.monotonic() > end:
                raise ServeError(f"not ready after {timeout:g} s (--timeout)\n{explained(self.log, None)}")
            lines = last_lines(self.log, 1)
            tell(said(lines[0]) if lines else "starting")
            time.sleep(LOOK)
        for model in self.plan.models:
            tell(f"asking {model.name} for its first token")
            self._first_token(model.name)

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            ServeError: It has; the message holds the end of its log and the likely cause.
        """
        if (code := self.code) is not None:
            raise ServeError(
                f"the server on port {self.plan.port} ended with code {code}:\n{explained(self.log, code)}"
            )

    def ask_to_stop(self) -> None:
        """Let it stop, and do not wait; asking twice is fine."""
        if self._keeper.stdin is not None:
            with suppress(OSError):
                self._keeper.stdin.close()

    def stop(self) -> None:
        """Stop it and everything that belongs to it; stopping twice is fine."""
        self.ask_to_stop()
        try:
            self._keeper.wait(GRACE + 10)
        except subprocess.TimeoutExpired:  # the keeper itself hangs, which nothing explains
            with suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)

    def _refuse_taken_port(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.plan.port))
            except OSError as error:
                message = f"port {self.plan.port} of {self.host} cannot be used: {error.strerror}"
                raise ServeError(
                    f"{message}; choose another with --port, or stop what listens there"
                ) from error

    def _healthy(self) -> bool:
        try:
            with _ASK(f"{self.url.removesuffix('/v1')}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError):
            return False

    def _first_token(self, name: str) -> None:
        body = json.dumps({"model": name, "prompt": [1], "max_tokens": 1}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key()}"}
        request = urllib.request.Request(f"{self.url}/completions", body, headers)
        try:
            with _ASK(request, timeout=WARM_UP) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            message = error.read().decode(errors="replace")[:300]
            if error.code == 401:
                message += " (a key is given with $VLLM_API_KEY, not with --vllm)"
            raise ServeError(f"{name} gives no token: {message}\n{explained(self.log, self.code)}") from error
        except OSError as error:
            self.check()
            raise ServeError(f"{name} gives no token: {error}\n{explained(self.log, self.code)}") from error

    def described(self) -> dict[str, Any]:
        """Return what scripts want to know."""
        return {
            "url": self.url,
            "log": str(self.log),
            "models": [
                {
                    "name": model.name,
                    "yaml": f"vllm:{model.name}@{self.url}",
                    "adapter": None if model.adapter is None else str(model.adapter),
                    "weights": "lora"
                    if self.plan.lora and model.adapter
                    else "merged"
                    if model.adapter
                    else "base",
                }
                for model in self.plan.models
            ],
        }


def new_log(port: int) -> Path:
    """Return the file for the log of a server on a port; the one of the server before is overwritten."""
    folder = cache_dir() / "serve"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"vllm-{port}.log"
