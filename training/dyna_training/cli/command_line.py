"""The command that is running, for the records that say how they were made."""

from __future__ import annotations

import shlex
import sys


def command() -> str:
    """Return the command that is running, as a user would type it."""
    return shlex.join(["dyna", *sys.argv[1:]])
