"""The commands of ``dyna data`` that hand episodes to other programs and take them from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from dyna_training.cli.command_line import command
from dyna_training.cli.data_shown import say_made

Learner = Annotated[
    Literal["world-model", "policy"],
    typer.Option("--for", help="Who learns from it: what an action does, or what to do."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]


def export(
    data: Annotated[list[Path], typer.Argument(help="Folders or files of experience.")],
    format: Annotated[
        Literal["word2world", "trl-sft", "trl-prompt-completion", "trl-preference"],
        typer.Option(
            help="word2world, trl-sft: a conversation per episode. trl-prompt-completion: a row per step. "
            "trl-preference: a row per pair of a better and a worse answer."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")],
    learner: Learner = "world-model",
    context: Annotated[
        Literal["agent", "privileged"],
        typer.Option(help="For a world model: privileged has the hidden state in the system turn."),
    ] = "agent",
    prompt: Annotated[
        str | None, typer.Option(help="For a policy: its system prompt; that of the recipes when left out.")
    ] = None,
    memory: Annotated[
        Literal["thoughts", "actions"], typer.Option(help="For a policy: what it sees of its earlier turns.")
    ] = "thoughts",
    thinking: Annotated[
        Literal["full", "none"], typer.Option(help="For a policy: with its thinking, or actions only.")
    ] = "full",
    json_: Json = False,
) -> None:
    """Write episodes as chat messages, for "From Word to World" and for TRL.

    The texts are those that `dyna train` makes tokens of.

      dyna data export data/train --format word2world --context privileged --out data/word2world
      dyna data export data/train --format trl-prompt-completion --out data/completions
      dyna data export data/train --format trl-sft --for policy --out data/policy-chats
    """
    from dyna_nodes.codec.policy import POLICY_PROMPT
    from dyna_training.store.chat import ChatSettings
    from dyna_training.store.exporting import export as run
    from dyna_training.store.source import Source

    settings = ChatSettings(
        format=format,
        learner=learner,
        context=context,
        prompt=POLICY_PROMPT if prompt is None else prompt,
        memory=memory,
        thinking=thinking,
    )
    manifest = run(Source(data), out, settings, command())
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        say_made(manifest, out)


def import_(
    files: Annotated[list[Path], typer.Argument(help="Files of chat messages, or folders of them.")],
    format: Annotated[
        Literal["word2world", "trl-sft", "trl-prompt-completion", "trl-preference"],
        typer.Option(help="As for `dyna data export`."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")],
    learner: Learner = "world-model",
    to: Annotated[
        Literal["jsonl", "parquet"], typer.Option(help="Write lines of JSON, or Parquet.")
    ] = "jsonl",
    json_: Json = False,
) -> None:
    """Make episodes of chat messages; what the messages do not say stays unknown.

    For logs of a reasoning model's thinking there is `dyna traces import`.

      dyna data import alfworld_train_with_env_54006.json --format word2world --out data/word2world
    """
    from dyna_training.store.importing import import_chats

    manifest = import_chats(files, out, format, learner, to, command())
    if json_:
        typer.echo(json.dumps(manifest, indent=1))
    else:
        say_made(manifest, out)
