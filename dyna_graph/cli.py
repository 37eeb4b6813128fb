"""The command ``dyna``; its subcommands are loaded only when they run.

Subcommands are `typer.Typer` apps. The built-in ones live in `dyna_graph.commands`, other packages add theirs
as entry points of the group ``dyna_graph.commands``. The first line of the module's docstring is the help
that ``dyna --help`` shows, read without importing the module. Exit codes: 0 done, 1 failed, 2 wrong usage or
configuration, 130 interrupted.
"""

from __future__ import annotations

import ast
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dyna_graph.errors import ConfigError, DynaError, nearest
from dyna_graph.plugins import COMMANDS, entry_point, load_plugin, plugin_names

BUILT_IN = {
    "init": "dyna_graph.commands.init",
    "check": "dyna_graph.commands.check",
    "schema": "dyna_graph.commands.schema",
    "log": "dyna_graph.commands.log",
    "trust": "dyna_graph.commands.trust",
    "calibrate": "dyna_graph.commands.calibrate",
    "harvest": "dyna_graph.commands.harvest",
    "version": "dyna_graph.commands.version",
}
INTERRUPTED = 130

HELP = """A world model for LangChain agents: simulate, critique, act, observe, and learn from reality.

[bold]Start here[/bold]

  dyna demo    watch an agent play with and without its world model
  dyna init    write a commented dyna.yaml for your own agent
  dyna check   see what is wrong with it, or what it means

[bold]Train your own[/bold]

  dyna collect → dyna train → dyna eval

Every command explains itself with --help; what reports figures has --json.
"""


class LazyGroup(TyperGroup):
    """A group of commands that imports a command's module when the command runs, not before."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands: built in first, then those of plugins."""
        return [*BUILT_IN, *(name for name in plugin_names(COMMANDS) if name not in BUILT_IN)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command; while help is shown, only a sketch of it."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if self._listing:
            return _sketch(cmd_name)
        app = (
            import_module(BUILT_IN[cmd_name]).app if cmd_name in BUILT_IN else load_plugin(COMMANDS, cmd_name)
        )
        command = typer.main.get_command(app) if isinstance(app, typer.Typer) else app
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that ``args`` name; an unknown one is answered with the nearest."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = nearest(args[0], self.list_commands(ctx))
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without importing any command."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete names of commands without importing any."""
        self._listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors that explain themselves become a line and an exit code."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("Interrupted.")
            raise SystemExit(INTERRUPTED) from None
        except Exception as error:
            if not _explains_itself(error) or os.environ.get("DYNA_DEBUG"):
                raise
            _say(str(error))
            raise SystemExit(2 if isinstance(error, ConfigError) else 1) from None


def _explains_itself(error: Exception) -> bool:
    """Tell whether an error's message is meant for the user: those that dyna's own packages define are."""
    return isinstance(error, DynaError) or type(error).__module__.partition(".")[0].startswith("dyna_")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _sketch(name: str) -> TyperCommand:
    """Return a command that has a name and a line of help and does nothing."""
    module = BUILT_IN.get(name) or entry_point(COMMANDS, name).module
    return TyperCommand(name, help=first_line(module), callback=lambda: None)


def first_line(module: str) -> str:
    """Return the first line of a module's docstring without importing the module itself."""
    try:
        spec = find_spec(module)
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        return f"(not available: {module} cannot be found)"
    doc = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes()))
    return (doc or "").partition("\n")[0].rstrip(".")


app = typer.Typer(
    name="dyna",
    cls=LazyGroup,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"dyna-graph {version('dyna-graph')}")
        raise typer.Exit


@app.callback()
def _dyna(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Take the options of ``dyna`` itself."""


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="dyna")
    except KeyboardInterrupt:
        _say("Interrupted.")
        raise SystemExit(INTERRUPTED) from None
