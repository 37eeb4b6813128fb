"""What Sokoban, Maze and Taxi share: a small board that is seen whole, few commands, and an expert that searches."""

from dyna_training.environments.boards.env import BoardEnv
from dyna_training.environments.boards.state import Board, BoardExpert, Decided

__all__ = ["Board", "BoardEnv", "BoardExpert", "Decided"]
