"""Where tests find the data of other projects, which this repository does not contain.

The one place that knows: ``$ALFWORLD_DATA`` as alfworld lays it out, else an archive in ``../shared/data``
beside the checkout, unpacked once into the temporary folder. Where neither is there the tests fail and say
what is missing.
"""

from __future__ import annotations

import functools
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared" / "data"
ARCHIVE = SHARED / "alfworld-2.1.1-train-valid_seen.tar.xz"


class MissingData(AssertionError):
    """Data that a test needs are absent."""


@functools.cache
def alfworld_data() -> Path:
    """Return the folder that holds ``json_2.1.1``, for ``$ALFWORLD_DATA``.

    Raises:
        MissingData: Neither the variable nor the archive leads to the games.
    """
    given = os.environ.get("ALFWORLD_DATA")
    if given:
        if not (Path(given) / "json_2.1.1").is_dir():
            raise MissingData(f"ALFWORLD_DATA={given} holds no json_2.1.1; run `alfworld-download`")
        return Path(given)
    if not ARCHIVE.is_file():
        raise MissingData(
            "the official ALFWorld games are missing: set ALFWORLD_DATA (see `alfworld-download`) "
            f"or put {ARCHIVE.name} into shared/data beside the checkout"
        )
    root = Path(tempfile.gettempdir()) / f"dyna-graph-test-data-{ARCHIVE.stat().st_size}"
    if not root.is_dir():
        partial = Path(tempfile.mkdtemp(prefix="dyna-graph-unpacking-"))
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(partial / "json_2.1.1", filter="data")
        try:
            partial.rename(root)
        except OSError:  # another test process was faster
            shutil.rmtree(partial, ignore_errors=True)
    return root


def boxoban_levels() -> Path:
    """Return the folder of Boxoban's levels, for ``$BOXOBAN_LEVELS``.

    Raises:
        MissingData: Neither the variable nor the shared folder leads to levels.
    """
    found = Path(os.environ.get("BOXOBAN_LEVELS") or SHARED / "boxoban")
    if not (found / "unfiltered").is_dir():
        raise MissingData(
            f"{found} holds no Boxoban levels: set BOXOBAN_LEVELS to a clone of google-deepmind/boxoban-levels"
        )
    return found


def webshop_data() -> Path:
    """Return the folder of WebShop's data, for ``$WEBSHOP_DATA``.

    Raises:
        MissingData: Neither the variable nor the shared folder leads to products.
    """
    found = Path(os.environ.get("WEBSHOP_DATA") or SHARED / "webshop")
    if not any((found / name).is_file() for name in ("items_shuffle_1000.json", "products-1000.jsonl.xz")):
        raise MissingData(
            f"{found} holds no WebShop products: set WEBSHOP_DATA to the original's folder data"
        )
    return found
