"""Thinking and actions inside of plain text: what a reasoning model wrote, taken apart."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from dyna_nodes.codec.actions import parse_action
from dyna_nodes.nouns import Action

_OPEN: Final = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_CLOSE: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_BLOCK: Final = re.compile(r"<(think(?:ing)?)>(.*?)</\1>", re.IGNORECASE | re.DOTALL)

ACTION_PATTERNS: Final = (
    re.compile(r"<\|ACTION\|>(.*?)<\|END\|>", re.DOTALL),
    re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL),
    re.compile(r"<action>(.*?)</action>", re.DOTALL | re.IGNORECASE),
    re.compile(r"^> ?(.+)$", re.MULTILINE),
    re.compile(r"^\**Action:?\**:? *(.+)$", re.MULTILINE),
)
"""How actions are written in text, most explicit first; group 1 is the action."""


class Reply(NamedTuple):
    """A reply taken apart.

    Attributes:
        thinking: What stood in think tags; empty where there were none.
        answer: The rest.
        closed: False when the thinking was opened and never closed: the reply was cut off.
    """

    thinking: str
    answer: str
    closed: bool = True


def split_thinking(text: str) -> Reply:
    """Split a reply into thinking and answer.

    Templates that write the opening tag into the prompt leave only the closing one in the reply, so text
    before a lone ``</think>`` is thinking too.
    """
    thoughts: list[str] = []

    def take(match: re.Match[str]) -> str:
        thoughts.append(match[2].strip())
        return ""

    rest = _BLOCK.sub(take, text)
    lone = _CLOSE.search(rest)
    if lone is not None:
        thoughts.append(_OPEN.sub("", rest[: lone.start()]).strip())
        rest = rest[lone.end() :]
    opened = _OPEN.search(rest)
    if opened is not None:
        thoughts.append(rest[opened.end() :].strip())
        rest = rest[: opened.start()]
    return Reply("\n\n".join(t for t in thoughts if t), rest.strip(), opened is None)


def last_thinking(text: str) -> tuple[str, str] | None:
    """Return the last block in think tags and the text after it; None where there is none."""
    blocks = list(_BLOCK.finditer(text))
    return (blocks[-1][2].strip(), text[blocks[-1].end() :].strip()) if blocks else None


class Found(NamedTuple):
    """The action found in a text.

    Attributes:
        action: The action; None where there is none, or more than one.
        rest: The text without it.
        problem: Why there is no action although something looks like one; empty otherwise.
    """

    action: Action | None
    rest: str
    problem: str = ""


def find_action(text: str, pattern: re.Pattern[str] | None = None) -> Found:
    """Find the one action that a text contains.

    Args:
        text: The answer of a model, without its thinking.
        pattern: How actions are written; its group 1 is the action. `ACTION_PATTERNS` when None.
    """
    for candidate in ACTION_PATTERNS if pattern is None else (pattern,):
        written = list(dict.fromkeys(m[1].strip() for m in candidate.finditer(text)))
        if not written:
            continue
        if len(written) > 1:
            return Found(None, text, f"{len(written)} different actions in one text")
        try:
            action = _action(written[0])
        except ValueError as error:
            return Found(None, text, str(error))
        return Found(action, candidate.sub("", text).strip())
    return Found(None, text)


def _action(written: str) -> Action:
    if not written.startswith("{"):
        return parse_action(written)
    try:
        call = json.loads(written)
        name, arguments = call["name"], call.get("arguments", {})
    except (ValueError, KeyError) as error:
        raise ValueError(f'expected {{"name": …, "arguments": {{…}}}}, found {written[:80]!r}') from error
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f'expected {{"name": …, "arguments": {{…}}}}, found {written[:80]!r}')
    return Action(tool=name, arguments=arguments)


def thought_text(thinking: str, answer: str) -> str:
    """Join thinking and the text that follows it to the thought of a step.

    A line that begins with ``>`` gets a space before it: in the text format of the policies, such a line is
    an action.
    """
    joined = "\n\n".join(part.strip() for part in (thinking, answer) if part.strip())
    return re.sub(r"^>", " >", joined, flags=re.MULTILINE)
