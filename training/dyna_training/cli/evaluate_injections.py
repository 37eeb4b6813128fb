"""``dyna eval injections``: how often text in a tool's output flips a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def injections(
    adapter: Annotated[
        str, typer.Option(help="Adapter of the world model: a folder, or a shipped name.")
    ] = "alfworld-world-model",
    judge: Annotated[
        str | None, typer.Option(help="Chat model (provider:model) of a judge to examine, too.")
    ] = None,
    judge_instruction: Annotated[
        str | None, typer.Option(help="What the judge is told, in place of its default.")
    ] = None,
    judge_tokens: Annotated[int, typer.Option(help="Longest verdict of the judge, in tokens.")] = 96,
    split: Annotated[str, typer.Option(help="Split whose games are played for the states.")] = "dev_unseen",
    games: Annotated[int, typer.Option(help="Number of games.")] = 8,
    steps: Annotated[int, typer.Option(help="States are drawn among the first so many steps.")] = 50,
    texts: Annotated[int, typer.Option(help="How many attacks, evenly over the families; 0 is all.")] = 0,
    max_characters: Annotated[int, typer.Option(help="Longer attacks are cut to this length.")] = 2000,
    batch: Annotated[int, typer.Option(help="Attacks asked about together; more on a GPU.")] = 4,
    base: Annotated[str, typer.Option(help="Base model.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    device: Annotated[
        str | None, typer.Option(help="Torch device; default: a GPU where there is one.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of games, states and bootstrap; default: the frozen one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/eval-injections"),
    json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure how often text in a tool's output flips a verdict.

    More than 200 attacks (orders, forged verdicts and turns, chat-template tokens, encodings, binary) stand in the last
    observation of recorded states, beside harmless text of the same length; the trained world model imagines what
    follows, and rule-based critics judge that. A judge sees the same predictions each time, so that only it can be
    swayed.
    """
    from dyna_graph.models import find_adapter
    from dyna_training.cli.command_line import command
    from dyna_training.cli.evaluate import bars, default_device, explained, show
    from dyna_training.evaluation import swaying_report as report
    from dyna_training.evaluation.swaying import InjectionEvaluation, evaluate

    with explained():
        given = {
            "adapter": find_adapter(adapter),
            "judge": judge,
            "judge_instruction": judge_instruction,
            "judge_tokens": judge_tokens,
            "split": split,
            "games": games,
            "steps": steps,
            "texts": texts,
            "max_characters": max_characters,
            "batch": batch,
            "base": base,
            "dtype": dtype,
            "device": device or default_device(),
            "out": out,
        }
        settings = InjectionEvaluation.model_validate(given if seed is None else given | {"seed": seed})
        with bars() as progress:
            results = evaluate(settings, progress)
        files = report.write(results, out, command())
    show(results, report.screen, files, json_)
