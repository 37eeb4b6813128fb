"""Stages of a study: what each runs, what it needs, and what is known of it on disk.

A stage is one or more commands of ``dyna``, each of which goes on where it was interrupted. It has a folder of
its own with ``stage.json``, ``log.txt`` and its products. What it is made from (its commands, and the contents of
the products that it reads) has a digest; a finished stage with the same digest is not run again, and one with
another digest is refused, never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from dyna_nodes.nouns import digest_of
from dyna_training.whole import write_whole

FORMAT: Final = "dyna-study-stage/1"
MANIFEST: Final = "stage.json"
LOG: Final = "log.txt"
OUT: Final = "{out}"
"""Stands for the study's folder in commands, so that a study that was moved is still the same."""
_TOKENS: Final = re.compile(r"\{tokens:(?P<stages>[^}]+)\}")
_CONTENT: Final = ("*.jsonl", "*.safetensors")

State = Literal["waiting", "ready", "begun", "failed", "finished", "changed"]


class StudyError(RuntimeError):
    """A study cannot go on; the message says why and what to do."""


class Stage(NamedTuple):
    """A stage.

    Attributes:
        name: Its name, which is also its folder.
        commands: Arguments of ``dyna``, one list after another; ``{out}`` is the study's folder, and
            ``{tokens:A+B}`` the target tokens that the training stages A and B saw.
        needs: The stages whose products it reads.
        product: What others read of it, relative to its folder.
        resumes: Whether its commands go on where they were interrupted; else its product is cleared away before, all
            but the answers of a chat model.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    needs: tuple[str, ...] = ()
    product: str = "data"
    resumes: bool = True

    @property
    def kind(self) -> str:
        """The group of stages that it belongs to, such as ``rollouts``."""
        return self.name.split("/")[1]


class StageFolder:
    """A stage on disk.

    Args:
        out: Folder of the study.
        stage: The stage.
    """

    def __init__(self, out: Path, stage: Stage) -> None:
        self.out = out
        self.stage = stage
        self.path = out / "stages" / stage.name

    @property
    def product(self) -> Path:
        """What others read of the stage."""
        return self.path / self.stage.product

    @property
    def log(self) -> Path:
        """What its commands printed."""
        return self.path / LOG

    def manifest(self) -> dict[str, Any]:
        """Return what is known of the stage; empty before it has begun.

        Raises:
            StudyError: The manifest cannot be read.
        """
        file = self.path / MANIFEST
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StudyError(
                f"{file} cannot be read ({error}); `--redo {self.stage.name}` begins anew"
            ) from error
        return found

    def write(self, **changes: Any) -> dict[str, Any]:
        """Change the manifest and return it."""
        manifest = {"format": FORMAT, "stage": self.stage.name, **self.manifest(), **changes}
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        return manifest

    def contents(self) -> str:
        """Return the digest of the product: names and contents of its data files and weights.

        Raises:
            StudyError: There are none.
        """
        files = [self.product] if self.product.is_file() else []
        files += [f for pattern in _CONTENT for f in self.product.rglob(pattern)]
        if not files:
            raise StudyError(f"{self.stage.name} left nothing in {self.product}")
        return digest_of(sorted((f.relative_to(self.path).as_posix(), _sha256(f)) for f in files))[:16]


def made_from(stage: Stage, contents: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides the product of a stage.

    Args:
        stage: The stage.
        contents: Digest of the product of every stage that it needs.
    """
    return {
        "commands": [list(command) for command in stage.commands],
        "inputs": {name: contents[name] for name in stage.needs},
    }


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between what a stage was made from and what it would be made from now."""
    found = []
    for name, digest in now["inputs"].items():
        before = earlier.get("inputs", {}).get(name)
        if before != digest:
            found.append(f"it was made from another {name}")
    old, new = earlier.get("commands", []), now["commands"]
    for index in range(max(len(old), len(new))):
        was, is_ = (lines[index] if index < len(lines) else [] for lines in (old, new))
        if was != is_:
            gone, come = _words_apart(was, is_)
            found.append(f"it ran with {gone or 'nothing'}, the configuration now says {come or 'nothing'}")
    return found


def _words_apart(was: Sequence[str], is_: Sequence[str]) -> tuple[str, str]:
    """Return the parts of two commands that differ: their middles, between what is alike at both ends."""
    head = 0
    while head < min(len(was), len(is_)) and was[head] == is_[head]:
        head += 1
    tail = 0
    while tail < min(len(was), len(is_)) - head and was[-1 - tail] == is_[-1 - tail]:
        tail += 1
    # An option's name is worth showing with its value.
    begin = head - 1 if head and was[head - 1].startswith("--") else head
    return " ".join(was[begin : len(was) - tail]), " ".join(is_[begin : len(is_) - tail])


def resolve(command: Sequence[str], out: Path, stages: Mapping[str, Stage]) -> list[str]:
    """Return the arguments of a command with the study's folder and tokens filled in.

    Raises:
        StudyError: A training stage whose tokens are wanted has no metrics.
    """

    def tokens(match: re.Match[str]) -> str:
        return str(sum(target_tokens(StageFolder(out, stages[n])) for n in match["stages"].split("+")))

    return [_TOKENS.sub(tokens, word).replace(OUT, str(out)) for word in command]


def target_tokens(folder: StageFolder) -> int:
    """Return how many target tokens a training stage has seen.

    Raises:
        StudyError: It has no metrics.
    """
    return int(training_metrics(folder)["target_tokens_seen"])


def training_metrics(folder: StageFolder) -> dict[str, Any]:
    """Return the metrics that a training stage wrote.

    Raises:
        StudyError: There are none.
    """
    file = folder.product.parent / "metrics.json"
    try:
        metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{folder.stage.name}: {file} cannot be read: {error}") from error
    return metrics


def in_order(stages: Iterable[Stage]) -> dict[str, Stage]:
    """Return stages by name, each after all that it needs.

    Raises:
        StudyError: A stage is there twice, needs one that is not there, or itself.
    """
    named: dict[str, Stage] = {}
    for stage in stages:
        if stage.name in named:
            raise StudyError(f"the stage {stage.name} is there twice")
        named[stage.name] = stage
    ordered: dict[str, Stage] = {}
    waiting = list(named.values())
    while waiting:
        free = [s for s in waiting if all(need in ordered for need in s.needs)]
        if not free:
            missing = sorted({n for s in waiting for n in s.needs} - set(named))
            why = f"there is no stage {missing[0]}" if missing else "they need each other"
            raise StudyError(f"{', '.join(s.name for s in waiting)}: {why}")
        ordered |= {s.name: s for s in free}
        waiting = [s for s in waiting if s.name not in ordered]
    return ordered


def downstream(stages: Mapping[str, Stage], names: Iterable[str]) -> list[str]:
    """Return stages and everything that is made from them, in order."""
    found = set(names)
    for stage in stages.values():
        if found & set(stage.needs):
            found.add(stage.name)
    return [name for name in stages if name in found]


def upstream(stages: Mapping[str, Stage], names: Iterable[str]) -> list[str]:
    """Return stages and everything that they are made from, in order."""
    found = set(names)
    for stage in reversed(list(stages.values())):
        if stage.name in found:
            found |= set(stage.needs)
    return [name for name in stages if name in found]


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
