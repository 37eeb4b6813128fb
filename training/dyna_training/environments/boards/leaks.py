"""No level in two splits: of generated levels, each split gets its own part of all the levels there are.

Seeds that differ can give the same small level, and a level turned or mirrored is no new one. So a level belongs to a
split by a digest of itself, in the least of its eight symmetric forms, and a seed of that split goes on drawing until
it has drawn one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, get_args

from dyna_nodes.nouns import digest_of

Part = Literal["train", "dev", "test", "extra", "other"]
"""The last is all levels: for sizes that no other split has."""
BLOCK: Final = 1_000_000
"""Seeds below this are for training, the next as many for dev, and so on; all further ones are for ``other``."""
_PARTS: Final[tuple[Part, ...]] = get_args(Part)
_TENTHS: Final = (*("train",) * 7, "dev", "test", "extra")


def part_of_seed(seed: int) -> Part:
    """Return which part of the levels a seed draws from."""
    return _PARTS[min(seed // BLOCK, len(_PARTS) - 1)]


def first_seed(part: Part) -> int:
    """Return the first seed of a part."""
    return _PARTS.index(part) * BLOCK


def belongs(rows: Sequence[str], seed: int) -> bool:
    """Return whether a level may be what a seed gives.

    Args:
        rows: The level, one string a row, all of the same length.
        seed: The seed.
    """
    part = part_of_seed(seed)
    return part == "other" or _TENTHS[int(identity(rows)[:8], 16) % 10] == part


def identity(rows: Sequence[str]) -> str:
    """Return the digest of a level, the same for the level turned or mirrored."""
    return digest_of(min("\n".join(form) for form in _symmetric(rows)))


def _symmetric(rows: Sequence[str]) -> Iterator[list[str]]:
    form = list(rows)
    for _ in range(4):
        yield form
        yield form[::-1]
        form = ["".join(column) for column in zip(*form[::-1], strict=True)]
