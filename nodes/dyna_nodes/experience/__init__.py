"""Experience on disk: the append-only log of transitions, and files of trajectories."""

from dyna_nodes.experience.lines import ExperienceError, Problem
from dyna_nodes.experience.log import LOG_FORMAT, ExperienceLog, Level, Retention
from dyna_nodes.experience.reliability import LoggedReliability, told_by
from dyna_nodes.experience.trajectories import (
    TrajectoryWriter,
    iter_trajectory_file,
    write_trajectory,
)

__all__ = [
    "LOG_FORMAT",
    "ExperienceError",
    "ExperienceLog",
    "Level",
    "LoggedReliability",
    "Problem",
    "Retention",
    "TrajectoryWriter",
    "iter_trajectory_file",
    "told_by",
    "write_trajectory",
]
