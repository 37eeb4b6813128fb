"""Files that are there whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dyna_training.whole import write_whole


def test_nobody_reads_half_a_file(tmp_path: Path) -> None:
    file = tmp_path / "game.json"
    texts = [letter * 200_000 for letter in "äb"]
    write_whole(file, texts[0])
    with ThreadPoolExecutor(2) as threads:
        writers = [
            threads.submit(lambda t=text: [write_whole(file, t) for _ in range(100)]) for text in texts
        ]
        while not all(writer.done() for writer in writers):
            assert file.read_text(encoding="utf-8") in texts
        for writer in writers:
            writer.result()
    assert [f.name for f in tmp_path.iterdir()] == ["game.json"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_whole(tmp_path / "folder", "text")
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]
