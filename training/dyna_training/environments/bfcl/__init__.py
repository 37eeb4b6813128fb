"""The multi-turn tasks of BFCL, the Berkeley Function-Calling Leaderboard: stateful APIs as a text environment."""

from dyna_training.environments.bfcl.env import BfclEnv
from dyna_training.environments.bfcl.experts import Decision, GroundTruth
from dyna_training.environments.bfcl.package import APIS, BfclMissing
from dyna_training.environments.bfcl.splits import HELD_OUT, SPLITS, games
from dyna_training.environments.bfcl.tasks import TASK_TYPES, Task, TaskNameError, all_tasks, task
from dyna_training.environments.calls import Call, NotACall, parse_call

__all__ = [
    "APIS",
    "HELD_OUT",
    "SPLITS",
    "TASK_TYPES",
    "BfclEnv",
    "BfclMissing",
    "Call",
    "Decision",
    "GroundTruth",
    "NotACall",
    "Task",
    "TaskNameError",
    "all_tasks",
    "games",
    "parse_call",
    "task",
]
