"""Write docs/reference/commands.md: every command of ``dyna`` with its options, as ``--help`` says it.

    python docs/generate_commands.py

Needs the extra ``training``, whose packages bring most of the commands.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import typer
from typer.models import OptionInfo, ParameterInfo

from dyna_graph.cli import BUILT_IN
from dyna_graph.plugins import COMMANDS, load_plugin, plugin_names

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

Every command explains itself with `--help`; what reports figures has `--json`. Exit codes: 0 done, 1 failed, 2 wrong
usage or configuration, 130 interrupted. With `DYNA_DEBUG=1`, errors come with a traceback.

<!-- made by docs/generate_commands.py -->
"""
WORDS = {int: "whole number", float: "number", str: "text", Path: "path"}


class Command(NamedTuple):
    """A command, or a group of them: its full name and the function that runs it."""

    name: str
    function: Callable[..., Any]
    about: str


def commands() -> Iterator[Command]:
    """Yield every command, groups before their members."""
    for name in [*BUILT_IN, *(n for n in plugin_names(COMMANDS) if n not in BUILT_IN)]:
        app = import_module(BUILT_IN[name]).app if name in BUILT_IN else load_plugin(COMMANDS, name)
        yield from _members(app, f"dyna {name}")


def _members(app: typer.Typer, name: str) -> Iterator[Command]:
    group = app.registered_callback
    if group is not None and group.callback is not None:
        yield Command(name, group.callback, _help(group.callback))
    for member in app.registered_commands:
        assert member.callback is not None
        own = member.name or member.callback.__name__.replace("_", "-")
        full = name if group is None and len(app.registered_commands) == 1 else f"{name} {own}"
        yield Command(full, member.callback, _help(member.callback))


def _help(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function) or ""


class Option(NamedTuple):
    """An option or argument of a command."""

    names: tuple[str, ...]
    value: str
    default: str
    about: str


def options(function: Callable[..., Any]) -> Iterator[Option]:
    """Yield the options and arguments of a command, in their order."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = typing.get_args(hints[name])
        default = parameter.default
        flag = kind is bool or bool in typing.get_args(kind)
        told = "" if default is None or default is False or default == "" else f"`{default}`"
        told = "on" if default is True else told
        if default is inspect.Parameter.empty:
            told = "**required**"
        yield Option(
            _names(name, info, flag), "" if flag else _value(kind, info), told, _line(info.help or "")
        )


def _names(name: str, info: ParameterInfo, flag: bool) -> tuple[str, ...]:
    if not isinstance(info, OptionInfo):
        return (name.strip("_").upper(),)
    # Inside of Annotated, typer takes the first declaration for the default and sorts that out later.
    declared = [d for d in (info.default, *(info.param_decls or ())) if isinstance(d, str) and d[:1] == "-"]
    given = tuple(name for d in declared for name in d.split("/"))
    if given:
        return given
    plain = name.strip("_").replace("_", "-")
    return (f"--{plain}", f"--no-{plain}") if flag else (f"--{plain}",)


def _value(kind: Any, info: ParameterInfo) -> str:
    parts = [p for p in typing.get_args(kind) if p is not NoneType]
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in parts)
    if typing.get_origin(kind) is list:
        return f"{_value(parts[0], info)}, …"
    if parts:
        return _value(parts[0], info)
    return WORDS[kind] + ("" if info.min is None else f" ≥ {info.min:g}")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def markdown(help_text: str) -> str:
    """Return the help of a command as Markdown; paragraphs of commands become code."""
    blocks = []
    for block in re.split(r"\n\s*\n", help_text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if all(line.startswith(("dyna ", "accelerate ")) for line in lines):
            blocks.append("\n".join(["```console", *(f"$ {line}" for line in lines), "```"]))
        else:
            blocks.append(" ".join(lines))
    return "\n\n".join(blocks)


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for command in commands():
        parts.append(f"\n{'#' * len(command.name.split())} `{command.name}`\n\n{markdown(command.about)}\n")
        rows = list(options(command.function))
        if rows:
            parts.append("\n| option | value | default | meaning |\n|---|---|---|---|\n")
        for row in rows:
            names = ", ".join(f"`{name}`" for name in row.names)
            parts.append(f"| {names} | {row.value} | {row.default} | {row.about} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
