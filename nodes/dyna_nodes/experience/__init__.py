"""Experience on disk: the append-only log of transitions, and files of trajectories."""

from dyna_nodes.experience.lines import ExperienceError, Problem
from dyna_nodes.experience.log import (
    LOG_FORMAT,
    ExperienceLog,
    Level,
    Retention,
    grouped,
    is_segment,
    read_segment,
)
from dyna_nodes.experience.reliability import LoggedReliability, told_by
from dyna_nodes.experience.trajectories import (
    TrajectoryWriter,
    iter_trajectory_file,
    read_trajectory_file,
    trajectory_line,
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
    "grouped",
    "is_segment",
    "iter_trajectory_file",
    "read_segment",
    "read_trajectory_file",
    "told_by",
    "trajectory_line",
    "write_trajectory",
]
