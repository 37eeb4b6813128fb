"""The demo from beginning to end: play, show, verify, save."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from dyna_graph.config import DynaConfig
from dyna_nodes.experience import TrajectoryWriter
from dyna_training.demo.play import Playing, configuration, provenance
from dyna_training.demo.record import Play
from dyna_training.demo.replay import write_replay
from dyna_training.demo.verify import Overruling, overrulings
from dyna_training.demo.view import View


async def play_all(playings: Sequence[Playing], view: View) -> bool:
    """Play everything at once and show it in order.

    Args:
        playings: What to play.
        view: Where to show it.

    Returns:
        False when it was interrupted (Ctrl-C); what was played so far is in ``playings``.

    Raises:
        Exception: What the first play that failed raised, after all others have come to their end.
    """
    tasks = [asyncio.ensure_future(playing.run()) for playing in playings]
    try:
        with view.progress(playings):
            await view.follow(playings)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    except asyncio.CancelledError:
        return False
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return True


def verify(plays: Sequence[Play]) -> list[Overruling]:
    """Return every overruling of all plays, verified in forks of the real games."""
    return [overruling for play in plays if play.arm == "with" for overruling in overrulings(play)]


def save(
    folder: Path, plays: Sequence[Play], found: Sequence[Overruling], config: DynaConfig
) -> Mapping[str, Path]:
    """Write the replay in place of an earlier one, and append the trajectories to earlier ones.

    Returns:
        The files by name.

    Raises:
        ExperienceError: The trajectories cannot be written.
        OSError: The replay cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"replay": folder / "replay.html", "trajectories": folder / "trajectories.jsonl"}
    write_replay(files["replay"], plays, found)
    with TrajectoryWriter(files["trajectories"]) as writer:
        for play in plays:
            if play.turns:
                used = configuration(config, play.arm).to_dict(references=True)
                writer.append(play.trajectory(used, provenance(play.game)))
    return files
