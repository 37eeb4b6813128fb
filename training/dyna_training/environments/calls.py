"""Calls of functions as text: ``cd({"folder": "docs"})`` in the project's form, ``cd(folder='docs')`` in BFCL's.

Nothing is evaluated. Arguments are literals: an expression or a nested call is refused.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Final, NamedTuple

from dyna_nodes.nouns import Action

LONGEST: Final = 10_000
"""Characters of the longest call that is read."""
DEEPEST: Final = 20
"""Levels of lists and dictionaries in an argument."""
LARGEST: Final = 1024
"""Bits of the largest whole number."""
_SHAPE: Final = re.compile(r"([A-Za-z_]\w*)\s*(?:\((.*)\))?", re.DOTALL)
HOW: Final = 'Write one call, such as cd({"folder": "docs"}) or cd(folder=\'docs\')'


class NotACall(ValueError):
    """The text is no call of a function; the message says why, to the agent."""


class Call(NamedTuple):
    """A call.

    Attributes:
        name: The function.
        args: Arguments by position.
        kwargs: Arguments by name.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_call(text: str) -> Call:
    """Read a call.

    Raises:
        NotACall: It is none.
    """
    if len(text) > LONGEST:
        raise NotACall(f"The call is too long: {len(text):,} characters; at most {LONGEST:,} are read.")
    text = text.strip()
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise NotACall(f"This is no call of a function. {HOW}.")
    inside = (match[2] or "").strip()
    if not inside:
        return Call(match[1], (), {})
    if inside[0] == "{":
        try:
            arguments = json.loads(inside)
        except (ValueError, RecursionError):
            pass  # Python may still read it: a dictionary by position
        else:
            return Call(match[1], (), _plain(arguments))
    return _python_call(text)


def canonical(call: Call, parameters: tuple[str, ...]) -> str:
    """Return a call in the project's form.

    Args:
        call: The call.
        parameters: The function's parameters, in order, for arguments by position.
    """
    arguments = {**dict(zip(parameters, call.args, strict=False)), **call.kwargs}
    return Action(tool=call.name, arguments=arguments).text


def _python_call(text: str) -> Call:
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise NotACall(f"The call cannot be read: {why}. {HOW}.") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        raise NotACall(f"This is no single call of a function. {HOW}.")
    try:
        args = tuple(_plain(ast.literal_eval(arg)) for arg in tree.args)
        kwargs = {k.arg: _plain(ast.literal_eval(k.value)) for k in tree.keywords if k.arg}
    except NotACall:
        raise
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise NotACall(f"Arguments must be plain values, not expressions or other calls. {HOW}.") from None
    if len(kwargs) < len(tree.keywords):
        raise NotACall(f"Arguments must be named one by one. {HOW}.")
    return Call(tree.func.id, args, kwargs)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return a value that JSON can say, tuples as lists, so that whoever holds it can be copied and written down.

    Raises:
        NotACall: It is another one, or deep or large beyond use.
    """
    if depth > DEEPEST:
        raise NotACall(f"Arguments are nested too deep; at most {DEEPEST} levels are read.")
    if isinstance(value, int) and value.bit_length() > LARGEST:
        raise NotACall("A number in the call is too large.")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(part, depth + 1) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(part, depth + 1) for key, part in value.items()}
    raise NotACall(
        f"Arguments must be texts, numbers, lists or dictionaries with texts as keys, not {value!r:.60}."
    )
