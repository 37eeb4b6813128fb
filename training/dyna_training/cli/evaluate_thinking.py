"""``dyna eval thinking``: how well a policy foresees, in its own thinking, what its actions do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def thinking(
    rollouts: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder that `dyna collect --policy …` wrote, as FOLDER or LABEL=FOLDER; repeatable."
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Who is asked in the recorded states, as WHO or LABEL=WHO: an adapter (a folder or a shipped name) "
            "or a model (provider:model); repeatable, and several of one LABEL are several trainings of one policy, "
            "measured together. Needs --states."
        ),
    ] = None,
    states: Annotated[int, typer.Option(help="How many recorded states; the same ones for all.")] = 0,
    split: Annotated[
        str, typer.Option(help="Split whose games are played for the recorded states.")
    ] = "dev_unseen",
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Recorded episodes to draw the states from instead; repeatable."),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(help="What policies see of earlier turns: thoughts or actions; as they were trained."),
    ] = "thoughts",
    system_prompt: Annotated[
        str | None, typer.Option(help="System prompt in the recorded states; default: the one of training.")
    ] = None,
    judge: Annotated[
        str,
        typer.Option(
            help="grounded compares texts and reads this project's form of thinking; a chat model "
            "(provider:model) is asked about any other form."
        ),
    ] = "grounded",
    baselines: Annotated[bool, typer.Option(help="Put simulations by rote beside it.")] = True,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Recorded training episodes for these; default: some are played."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Temperature in the recorded states.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest response there, in tokens.")] = 512,
    batch: Annotated[int, typer.Option(help="States asked about together; more on a GPU.")] = 16,
    base: Annotated[str, typer.Option(help="Base model of adapters.")] = "smollm2",
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    device: Annotated[
        str | None, typer.Option(help="Torch device; default: a GPU where there is one.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of states, sampling and bootstrap; default: the frozen one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/eval-thinking"),
    json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure how well policies foresee, in their own thinking, what their actions do.

    The simulation of each executed action ("If I open fridge 1: …") is taken out of the thinking and held against
    what was then observed: coverage, accuracy, and coverage × accuracy, which is the figure to compare by; by action
    type, and by whether the history determines the outcome; beside simulations by rote; with the rate of
    hallucinated facts, and the correlation with success within task type.

    On own rollouts every policy meets other states, so ask them in the same recorded ones too:

      dyna collect --split dev_unseen --policy local:smollm2+runs/dit/adapter --memory actions --out data/dit

      dyna eval thinking --rollouts DIT=data/dit --policy DIT=runs/dit/adapter --states 300 --memory actions

    Interrupted, the same command goes on where it stopped.
    """
    from dyna_training.cli.command_line import command
    from dyna_training.cli.evaluate import bars, default_device, explained, show
    from dyna_training.evaluation.thinking import report
    from dyna_training.evaluation.thinking.run import ThinkingEvaluation, evaluate

    with explained():
        given: dict[str, Any] = {
            "rollouts": [_rollouts(text) for text in rollouts or ()],
            "policies": _policies(policy or (), base),
            "states": states,
            "split": split,
            "data": data or (),
            "memory": memory,
            "system_prompt": system_prompt,
            "judge": judge,
            "baselines": baselines,
            "train": train or (),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "batch": batch,
            "dtype": dtype,
            "device": device or default_device(),
            "out": out,
        }
        settings = ThinkingEvaluation.model_validate(given if seed is None else given | {"seed": seed})
        with bars() as progress:
            results = evaluate(settings, progress)
        files = report.write(results, out, command())
    show(results, report.screen, files, json_)


def _rollouts(text: str) -> tuple[str, str]:
    label, equals, folder = text.partition("=")
    return (label, folder) if equals and not Path(text).exists() else (Path(text).resolve().name, text)


def _policies(texts: Sequence[str], base: str) -> list[tuple[str, str]]:
    """Return labels and model names. What shares a label is measured together, so no folder's name may decide that."""
    found = [_policy(text, base) for text in texts]
    labels = Counter(label for label, _ in found)
    for text, (label, _) in zip(texts, found, strict=True):
        if labels[label] > 1 and not text.startswith(f"{label}="):
            raise ValueError(
                f"two of the policies are called {label!r}; give each a LABEL= of its own, "
                "or all the same LABEL= where they are trainings of one policy"
            )
    return found


def _policy(text: str, base: str) -> tuple[str, str]:
    """Return label and model name: an adapter becomes ``local:base+adapter``, which is checked when it is made."""
    from dyna_training.cli.evaluate import folder_label

    label, equals, who = text.partition("=")
    if not equals:
        label, who = "", text
    if not who:
        raise ValueError(f"--policy {text!r} names nobody after the '='")
    if ":" in who:
        return label or who, who
    return label or folder_label(Path(who)), f"local:{base}+{who}"
