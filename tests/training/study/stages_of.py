"""Small studies for tests: real commands that take a second or two."""

from __future__ import annotations

from pathlib import Path

from dyna_training.study.stages import Stage, in_order


def collected(name: str, *, games: int = 2, needs: tuple[str, ...] = (), steps: int = 4) -> Stage:
    """Return a stage in which an expert plays households."""
    words = ("collect", "--split", "generated", "--behaviours", "expert", "--quiet")
    words += ("--games", str(games), "--max-steps", str(steps))
    return Stage(name, ((*words, "--out", f"{{out}}/stages/{name}/data"),), needs)


def broken(name: str, needs: tuple[str, ...] = ()) -> Stage:
    """Return a stage whose command is refused."""
    words = ("collect", "--split", "nowhere", "--out", f"{{out}}/stages/{name}/data")
    return Stage(name, (words,), needs)


def small_study(games: int = 2) -> dict[str, Stage]:
    """Return a study of two stages, the second of which needs the first."""
    return in_order([collected("a/teacher", games=games), collected("a/second", needs=("a/teacher",))])


def manifest(out: Path, name: str) -> Path:
    """Return the file that says what a stage is."""
    return out / "stages" / name / "stage.json"
