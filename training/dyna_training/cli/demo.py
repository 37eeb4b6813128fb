"""Watch an agent play household games without and with its world model, offline."""

from __future__ import annotations

import asyncio
import json
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from dyna_graph.agent import DynaGraph
    from dyna_graph.config import DynaConfig
    from dyna_training.demo.record import Arm
    from dyna_training.demo.view import View
    from dyna_training.tools import EnvironmentTool

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

MISSING = (
    "The demo plays with two adapters that come with dyna-graph. Reinstall it, or train your own (dyna train "
    "policy, dyna train world-model), name their folders in a dyna.yaml and run: dyna demo --config dyna.yaml"
)


@app.command()
def demo(
    games: Annotated[int, typer.Option(min=1, help="How many games.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Which games.")] = 0,
    split: Annotated[
        Literal["generated", "dev_unseen", "valid_seen"],
        typer.Option(help="New households, or official games (needs $ALFWORLD_DATA)."),
    ] = "generated",
    config: Annotated[
        Path | None, typer.Option(help="A dyna.yaml of your own; the demo's own is used otherwise.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Responses to look ahead from per step.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for replay, trajectories and games.")] = Path("dyna-demo"),
    plain: Annotated[
        bool, typer.Option("--plain", help="No colours, no Unicode, nothing that moves.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="Also draw the screen into this SVG file; then nothing on it moves."
        ),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else on standard output.")
    ] = False,
) -> None:
    """Watch an agent play household games without and with its world model, offline.

    Every game is played twice by the same policy: by itself, and looking ahead with the world model among
    several candidates. All that was overruled is verified in a fork of the real game. Nothing leaves this
    machine.
    """
    from rich.console import Console

    from dyna_training.demo.closing import show_closing
    from dyna_training.demo.games import choose
    from dyna_training.demo.picture import draw
    from dyna_training.demo.play import make_tool, prepare
    from dyna_training.demo.recorded import recorded
    from dyna_training.demo.report import summary
    from dyna_training.demo.run import play_all, save, verify
    from dyna_training.demo.view import View

    began = time.monotonic()
    console = Console(
        stderr=json_,
        highlight=False,
        color_system=None if plain else "auto",
        force_terminal=False if plain else None,
        record=picture is not None,
    )
    view = View(console, ascii_only=plain or not console.encoding.lower().startswith("utf"))
    settings = _settings(config, candidates)
    chosen = choose(split, games, seed, out / "games")
    view.opening(settings, chosen)
    tool = make_tool(settings.limits.max_steps)
    playings = prepare(_agents(settings, tool, view), tool, chosen)
    finished = False
    try:
        finished = asyncio.run(play_all(playings, view))
    finally:
        plays = [p.play() for p in playings if p.recorder.turns or p.finished]
        found = verify(plays)
        files = save(out, plays, found, settings)
        before = recorded(settings, split)
        seconds = time.monotonic() - began
        show_closing(view, plays, found, before, finished=finished, seconds=seconds, files=files)
        if json_:
            figures = summary(plays, found, before, seconds=seconds, finished=finished, files=files)
            typer.echo(json.dumps(figures, indent=1))
        if picture is not None:
            draw(console, picture)
    if not finished:
        raise KeyboardInterrupt


def _settings(file: Path | None, candidates: int | None) -> DynaConfig:
    """Return the configuration, checked as far as that goes without loading a model."""
    from dyna_graph.config import ConfigError, DynaConfig
    from dyna_graph.errors import DynaError

    with resources.as_file(resources.files("dyna_training.demo").joinpath("dyna.yaml")) as shipped:
        settings = DynaConfig.from_file(file or shipped)
    if candidates is not None:
        simulate = settings.simulate.model_copy(update={"candidates": candidates})
        settings = settings.model_copy(update={"simulate": simulate})
    if settings.world_model.kind == "none":
        message = "the demo compares playing without and with a world model; name one"
        raise settings.problem(message, "world_model")
    try:
        settings.check()
    except ConfigError as error:
        if file is not None:
            raise
        raise DynaError(f"{error}\n{MISSING}") from error
    return settings


def _agents(settings: DynaConfig, tool: EnvironmentTool, view: View) -> dict[Arm, DynaGraph]:
    """Build the agents of both arms; the base model is loaded here."""
    from dyna_training.demo.play import configuration
    from dyna_training.demo.record import ARMS

    with view.working("Loading the models (the first time it takes about 15 s)"):
        return {arm: configuration(settings, arm).build([tool]) for arm in ARMS}


if __name__ == "__main__":
    app()
