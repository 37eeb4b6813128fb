"""List environments, play one yourself, check it against the original, make new games."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dyna_training.environments.base import ForkableEnv
    from dyna_training.sessions import Session

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List environments, play one yourself, check it, make new games.",
)

KEYS = {
    "?": "list what would do something now",
    ":hint": "what the expert would do, and why",
    ":undo": "take the last command back",
    ":state": "everything there is, hidden things included",
    ":quit": "stop",
}


@app.callback()
def _env() -> None:
    """List environments, play one yourself, check it, make new games."""


@app.command("list")
def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the environments that are installed, and what can be played in each."""
    from rich.console import Console
    from rich.table import Table

    rows = [_described(name) for name in _names()]
    if json_:
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table()
    for column in ("environment", "what it is", "games"):
        table.add_column(column)
    for row in rows:
        games = [f"{n}: {'not there' if count is None else count}" for n, count in row["splits"].items()]
        table.add_row(row["name"], row["about"], "\n".join(games))
    console = Console(highlight=False)
    console.print(table)
    for missing in dict.fromkeys(row["missing"] for row in rows if row["missing"]):
        console.print(missing, markup=False)


@app.command()
def play(
    environment: Annotated[str, typer.Argument(help="Id of the environment.")] = "dyna/ALFWorld-v0",
    split: Annotated[
        str | None, typer.Option(help="A split of its games; of ALFWorld new households when left out.")
    ] = None,
    game: Annotated[
        str | None, typer.Option(help="Play this game instead: a file, or a name as collections have it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which game; drawn when left out.")] = None,
) -> None:
    """Play a game in the terminal: ? lists what can be done, :hint asks the expert."""
    from rich.console import Console

    from dyna_graph.errors import DynaError
    from dyna_training.environments.connectors.failures import ConnectorError, ForkRefused
    from dyna_training.sessions import Episode, draw_seed

    seed = draw_seed() if seed is None else seed
    env, options = _env_for(environment, split, game, seed)
    console = Console(highlight=False)
    try:
        solved = _play(env, Episode(environment=environment, seed=seed, options=options), console)
    except (ConnectorError, ForkRefused) as error:
        raise DynaError(str(error)) from error
    except (EOFError, KeyboardInterrupt):
        console.print()
        raise typer.Exit(130) from None
    if not solved:
        raise typer.Exit(1)


@app.command()
def check(
    python: Annotated[
        str | None, typer.Option(help="Python that has alfworld and textworld; this one by default.")
    ] = None,
    games: Annotated[int, typer.Option(min=1, help="How many games, spread over the task types.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Least number of commands per game.")] = 40,
    seed: Annotated[int, typer.Option(help="Seeds games and commands.")] = 0,
    split: Annotated[list[str] | None, typer.Option(help="Splits to draw from; repeatable.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for the original's transcripts.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare ALFWorld with the original package, command by command; exit code 1 if anything differs.

    Needs the official games in $ALFWORLD_DATA and a Python with
    `pip install alfworld==0.4.2 textworld==1.7.0`; the original takes seconds per game.
    """
    from dyna_graph.errors import DynaError
    from dyna_training.environments.alfworld import equality
    from dyna_training.environments.alfworld.splits import SPLITS
    from dyna_training.environments.base import GameFileError

    for name in split or ():
        _known(name, list(SPLITS), "split")
    arguments = ["--games", str(games), "--steps", str(steps), "--seed", str(seed)]
    arguments += [] if python is None else ["--python", python]
    arguments += [] if cache is None else ["--cache", str(cache)]
    arguments += [part for name in split or () for part in ("--split", name)]
    try:
        code = equality.main([*arguments, *(["--json"] if json_ else [])])
    except (GameFileError, RuntimeError) as error:
        raise DynaError(str(error)) from error
    raise typer.Exit(code)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Folder; games go to <task>/<trial>/game.tw-pddl in it.")],
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many households.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the first; the others count up.")] = 0,
    task_type: Annotated[str | None, typer.Option(help="Only this type of task; all six otherwise.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the files as JSON.")] = False,
) -> None:
    """Make new ALFWorld households in the official format, every one of them solvable."""
    from dyna_graph.errors import DynaError
    from dyna_training.environments.alfworld.game import TASK_TYPES, load_game
    from dyna_training.environments.alfworld.generator import write

    if task_type is not None:
        _known(task_type, list(TASK_TYPES), "task type")
    try:
        files = [write(out, number, task_type) for number in range(seed, seed + n)]  # type: ignore[arg-type]
    except OSError as error:
        raise DynaError(f"cannot write games to {out}: {error.strerror or error}") from error
    made = [{"file": str(file), "task": load_game(file).task} for file in files]
    if json_:
        typer.echo(json.dumps(made, indent=1))
        return
    for row in made:
        typer.echo(f"{row['file']}  {row['task']}")


def _names() -> list[str]:
    from dyna_graph.plugins import ENVIRONMENTS, plugin_names

    return plugin_names(ENVIRONMENTS)


def _described(name: str) -> dict[str, Any]:
    from dyna_graph.plugins import ENVIRONMENTS, load_plugin
    from dyna_training.environments.base import GameFileError, PackageMissing
    from dyna_training.environments.catalogue import CATALOGUES, catalogue

    kind = load_plugin(ENVIRONMENTS, name)
    about = (kind.__doc__ or "").strip().partition("\n")[0]
    row: dict[str, Any] = {"name": name, "about": about, "splits": {}, "missing": ""}
    for split in catalogue(name).splits if name in CATALOGUES else ():
        try:
            row["splits"][split] = catalogue(name).size(split)
        except (GameFileError, PackageMissing) as error:
            row["splits"][split], row["missing"] = None, row["missing"] or str(error)
    return row


def _env_for(
    environment: str, split: str | None, game: str | None, seed: int
) -> tuple[ForkableEnv, dict[str, Any]]:
    """Return an environment and the options of its reset."""
    from dyna_graph.errors import DynaError
    from dyna_training.environments.alfworld.env import AlfworldEnv
    from dyna_training.environments.alfworld.generator import generate as make
    from dyna_training.environments.base import GameFileError, PackageMissing
    from dyna_training.environments.catalogue import ALFWORLD, CATALOGUES, catalogue
    from dyna_training.tools import make_environment

    _known(environment, _names(), "environment")
    there = catalogue(environment) if environment in CATALOGUES else None
    split = split or ("generated" if environment == ALFWORLD else "train")
    if there is not None:
        _known(split, list(there.splits), "split")
    if there is None and game is None:
        raise DynaError(f"{environment} has no list of games; name one with --game")
    try:
        if game is not None and there is not None:
            return there.open(game, max_steps=1000), {}
        if game is not None:
            return make_environment(environment, games=[game], max_steps=1000), {}
        if split == "generated":
            return AlfworldEnv(games=[make(seed)], max_steps=1000), {}
        return make_environment(environment, split=split, max_steps=1000), {}
    except GameFileError as error:
        raise DynaError(f"{error}\n{there.instead if there else ''}".rstrip()) from error
    except (PackageMissing, ValueError) as error:
        raise DynaError(str(error)) from error


def _play(env: ForkableEnv, episode: Any, console: Console) -> bool:
    """Let a person play until the task is done; returns whether it was."""
    from dyna_graph.errors import DynaError
    from dyna_training.environments.base import GameFileError, PackageMissing
    from dyna_training.sessions import Session

    states: list[Session] = []
    try:
        states.append(Session(env, episode))
        return _played(states, console)
    except (GameFileError, PackageMissing) as error:
        raise DynaError(str(error)) from error
    finally:  # they may hold a machine each
        env.close()
        for state in states[1:]:
            state.close()


def _played(states: list[Session], console: Console) -> bool:
    """Let a person play on from the last of some states, to which others are added."""
    console.print(states[0].task, markup=False)
    _draw(states[0].env, console)
    keys = "\n".join(f"{key:6} {what}" for key, what in KEYS.items())
    console.print(f"\n{keys}", style="dim", markup=False)
    while True:
        now = states[-1]
        command = console.input("\n> ").strip()
        if not command:
            continue
        if command == ":quit":
            return False
        if command == "?":
            console.print("\n".join(now.env.admissible()), markup=False)
        elif command == ":hint":
            decision = now.expert.decide() if now.expert is not None else None
            said = (
                "there is no expert here" if decision is None else f"{decision.thought} > {decision.action}"
            )
            console.print(said, markup=False)
        elif command == ":state":
            console.print(now.env.hidden_state(), markup=False)
        elif command == ":undo":
            if len(states) > 1:
                states.pop().close()
            console.print(f"{len(states) - 1} commands so far", markup=False)
            _draw(states[-1].env, console)
        elif command.startswith(":"):
            console.print(f"unknown key {command}; there are {', '.join(KEYS)}", markup=False)
        else:
            after = now.fork()
            reality = after.step(command)
            states.append(after)
            console.print(reality.observation, markup=False)
            _draw(after.env, console)
            if reality.done:
                steps = len(states) - 1
                console.print(
                    f"{'Solved' if reality.success else 'Not solved'} in {steps} steps.", style="bold"
                )
                return reality.success


def _draw(env: ForkableEnv, console: Console) -> None:
    """Show the picture of an environment that has one of its own; hidden state would give things away."""
    from rich.text import Text

    from dyna_training.environments.base import ForkableEnv

    if type(env).render is not ForkableEnv.render:
        console.print(Text.from_ansi(env.render()))


def _known(name: str, names: list[str], what: str) -> None:
    from dyna_graph.errors import ConfigError, Problem, suggestion

    if name not in names:
        raise ConfigError([Problem(f"unknown {what} {name!r}; {suggestion(name, names, what='there are')}")])


if __name__ == "__main__":
    app()
