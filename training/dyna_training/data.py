"""Recorded trajectories on disk, as training reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dyna_nodes.experience import Problem, iter_trajectory_file
from dyna_nodes.nouns import Trajectory


def trajectory_files(paths: Iterable[Path]) -> list[Path]:
    """Return the trajectory files named by files and folders, sorted.

    Raises:
        FileNotFoundError: A path does not exist, or a folder holds no ``*.jsonl``.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path] * path.is_file()
        if not found:
            raise FileNotFoundError(
                f"{path}: no trajectories there; `dyna collect --out {path}` records some"
            )
        files += found
    return files


def read_trajectories(
    paths: Iterable[Path], problems: list[Problem] | None = None, *, imagined: bool = False
) -> Iterator[Trajectory]:
    """Read every trajectory once; a second record with the same id is dropped.

    Args:
        paths: Files, and folders of them.
        problems: Takes damaged and half-written lines and empty files; lines are logged as warnings when None.
        imagined: Read also what was played inside a world model; it never happened, so that nothing may learn from
            it, or count it, unless it is asked for.
    """
    seen: set[str] = set()
    for file in trajectory_files(paths):
        if problems is not None and not file.stat().st_size:
            problems.append(Problem(file, 0, "the file is empty", b""))
        for trajectory in iter_trajectory_file(file, problems):
            if trajectory.id not in seen and (imagined or trajectory.provenance.source != "imagination"):
                seen.add(trajectory.id)
                yield trajectory
