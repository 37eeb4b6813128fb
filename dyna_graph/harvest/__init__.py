"""Harvesting: from the checkpoints of any LangGraph agent with messages to transitions of an experience log.

`databases` reads rows, `threads` follows each thread and its branches from checkpoint to checkpoint, `calls` tells
executed calls from those that never ran, `harvesting` writes what is new.
"""

from dyna_graph.harvest.databases import (
    CheckpointDatabase,
    CheckpointRow,
    PostgresCheckpoints,
    SqliteCheckpoints,
    open_database,
)
from dyna_graph.harvest.harvesting import Harvest, LeftOut, harvest

__all__ = [
    "CheckpointDatabase",
    "CheckpointRow",
    "Harvest",
    "LeftOut",
    "PostgresCheckpoints",
    "SqliteCheckpoints",
    "harvest",
    "open_database",
]
