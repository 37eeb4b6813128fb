"""Mazes as a text environment: made by the package mazelib, seen from above, with a shortest way for an expert."""

from dyna_training.environments.maze.env import MazeEnv
from dyna_training.environments.maze.making import KINDS, Maze, make
from dyna_training.environments.maze.splits import SPLITS, games, maze_of

__all__ = ["KINDS", "SPLITS", "Maze", "MazeEnv", "games", "make", "maze_of"]
