"""A picture of what was on the screen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rich.console import Console

_DOWNLOADED_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def draw(console: Console, file: Path) -> None:
    """Write what a console has shown as an SVG that needs nothing from elsewhere to be looked at.

    Args:
        console: A console that records.
        file: Where; folders that are missing are made.

    Raises:
        OSError: It cannot be written.
    """
    svg = console.export_svg(title="dyna demo")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_DOWNLOADED_FONT.sub("", svg), encoding="utf-8")
