"""The expert: follows the solver's pushes, and solves again where others pushed something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dyna_training.environments.boards.state import MOVES, BoardExpert, Decided
from dyna_training.environments.sokoban.level import Level
from dyna_training.environments.sokoban.solver import Push, solve, walk
from dyna_training.environments.sokoban.state import SokobanBoard

LOST: Final = "I see no way any more to get every box onto a goal."


class SokobanExpert(BoardExpert[SokobanBoard]):
    """Plays Sokoban; it wins from every state that the solver can solve."""

    def __init__(self, board: SokobanBoard) -> None:
        super().__init__(board)
        self._plan: Sequence[Push] | None = None
        self._planned_for = -1

    def decide(self) -> Decided:
        """Return the next move of the plan; with no plan, any move that can be made."""
        board = self.board
        plan = self._current_plan()
        if not plan:
            return Decided(LOST, next(iter(board.admissible()), "up"))
        push, level = plan[0], board.level
        way, direction = walk(level, board.boxes, board.player, push), _name(level, push.step)
        if not way:
            goal = " onto a goal" if level.goals >> (push.box + push.step) & 1 else ""
            return Decided(f"I stand behind the box and push it {direction}{goal}.", direction)
        thought = f"The box in {level.place(push.box)} has to go {direction}, so I walk to its other side."
        return Decided(thought, _name(level, way[0]))

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command."""
        before = self.board.boxes
        super().observe(action, observation)
        moved = before ^ self.board.boxes
        if moved and self._plan and moved == 1 << self._plan[0].box | 1 << sum(self._plan[0]):
            self._plan, self._planned_for = self._plan[1:], self.board.boxes

    def _current_plan(self) -> Sequence[Push] | None:
        board = self.board
        if self._planned_for != board.boxes:
            found = None if board.deadlocked else solve(board.level, board.boxes, board.player).pushes
            self._plan, self._planned_for = found, board.boxes
        return self._plan


def _name(level: Level, step: int) -> str:
    return next(name for name, (row, column) in MOVES.items() if row * level.stride + column == step)
