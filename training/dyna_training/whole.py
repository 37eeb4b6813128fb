"""Writing a file whole: whoever reads it sees the old one or the new one, never half of either."""

from __future__ import annotations

import os
from pathlib import Path

from dyna_nodes.nouns import new_id


def write_whole(file: Path, text: str) -> None:
    """Write ``text`` to ``file``, in UTF-8; several writers at a time do no harm, the last one stays.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    partial = file.with_name(f".{file.name}.{new_id()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
