"""The solver: A* over pushes, with deadlocks pruned; it finds the fewest pushes."""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from dyna_training.environments.sokoban.level import Level, cells, frozen

LIMIT: Final = 50_000
"""States that are looked at before the solver gives up."""
MOST_MATCHED: Final = 6
"""With more boxes than this, the estimate sends each box to its nearest goal, and two may share one."""


class Push(NamedTuple):
    """A push.

    Attributes:
        box: The cell of the box.
        step: Where to, as a difference of cells.
    """

    box: int
    step: int


class Solution(NamedTuple):
    """What the solver found.

    Attributes:
        pushes: The pushes; None where there are none, or the solver gave up.
        states: How many states it looked at.
        exhausted: Whether it looked at all, so that there is certainly no solution where it found none.
    """

    pushes: tuple[Push, ...] | None
    states: int
    exhausted: bool


_State = tuple[int, int]
"""Boxes, and the first cell of the player's area."""
_Came = dict[_State, tuple[int, tuple[_State, Push] | None]]
"""Of each state: the fewest pushes known to it, and the last of them with the state before it."""


def solve(level: Level, boxes: int, player: int, limit: int = LIMIT) -> Solution:
    """Return pushes that win.

    Args:
        level: The level.
        boxes: Where the boxes are.
        player: Where the player is.
        limit: States to look at.
    """
    # Whatever the player's place within its area, the pushes are the same.
    area = reachable(level, boxes, player)
    return _solve(level, boxes, area & -area, limit)


@functools.lru_cache(maxsize=4096)
def _solve(level: Level, boxes: int, corner: int, limit: int) -> Solution:
    estimate = _Estimate(level)
    start = (boxes, corner)
    came: _Came = {start: (0, None)}
    first = estimate(boxes)
    if frozen(level, boxes) or first == math.inf:
        return Solution(None, 0, exhausted=True)
    queue: list[tuple[float, int, _State]] = [(first, 0, start)]
    states = 0
    while queue:
        if states >= limit:
            return Solution(None, states, exhausted=False)
        _, depth, state = heapq.heappop(queue)
        if came[state][0] != -depth:
            continue  # a shorter way to it was found later
        states += 1
        if state[0] == level.goals:
            return Solution(tuple(_way(came, state)), states, exhausted=False)
        area = reachable(level, state[0], state[1].bit_length() - 1)
        for push, after, behind in successors(level, state[0], area):
            left = estimate(after)
            if left == math.inf or frozen(level, after):
                continue
            area_after = reachable(level, after, behind)
            new = (after, area_after & -area_after)
            if new in came and came[new][0] <= 1 - depth:
                continue
            came[new] = (1 - depth, (state, push))
            # Of equals the deepest first: minus the depth.
            heapq.heappush(queue, (1 - depth + left, depth - 1, new))
    return Solution(None, states, exhausted=True)


def reachable(level: Level, boxes: int, player: int) -> int:
    """Return the cells that the player can walk to."""
    free, stride = level.floor & ~boxes, level.stride
    area = 1 << player
    while True:
        wider = (area | area << 1 | area >> 1 | area << stride | area >> stride) & free
        if wider == area:
            return area
        area = wider


def successors(level: Level, boxes: int, area: int) -> Iterator[tuple[Push, int, int]]:
    """Yield the pushes that do not lead onto dead cells: push, boxes after it, player after it."""
    good, stride = level.floor & ~level.dead & ~boxes, level.stride
    for step, pushed in (
        (1, boxes & area << 1 & good >> 1),
        (-1, boxes & area >> 1 & good << 1),
        (stride, boxes & area << stride & good >> stride),
        (-stride, boxes & area >> stride & good << stride),
    ):
        for box in cells(pushed):
            yield Push(box, step), boxes ^ (1 << box | 1 << (box + step)), box


def walk(level: Level, boxes: int, player: int, push: Push) -> list[int]:
    """Return a shortest way to the cell from which a push is made, as differences of cells.

    Raises:
        ValueError: There is no way.
    """
    goal, free = push.box - push.step, level.floor & ~boxes
    came = {player: 0}
    frontier = [player]
    for cell in frontier:
        if cell == goal:
            break
        for step in (1, -1, level.stride, -level.stride):
            if free >> (cell + step) & 1 and cell + step not in came:
                came[cell + step] = step
                frontier.append(cell + step)
    if goal not in came:
        raise ValueError(f"there is no way from {level.place(player)} to {level.place(goal)}")
    way = []
    while goal != player:
        way.append(came[goal])
        goal -= came[goal]
    return way[::-1]


def _way(came: _Came, state: _State) -> list[Push]:
    pushes = []
    while (step := came[state][1]) is not None:
        state, push = step
        pushes.append(push)
    return pushes[::-1]


class _Estimate:
    """The pushes that boxes need at least: the cheapest way to give each a goal of its own, if each were alone."""

    def __init__(self, level: Level) -> None:
        self._distances = level.pushes
        self._known: dict[int, float] = {}

    def __call__(self, boxes: int) -> float:
        known = self._known.get(boxes)
        if known is None:
            self._known[boxes] = known = self._compute(boxes)
        return known

    def _compute(self, boxes: int) -> float:
        costs = [[d.get(box, math.inf) for d in self._distances] for box in cells(boxes)]
        if len(costs) > MOST_MATCHED:
            return sum(map(min, costs))
        best: dict[int, float] = {0: 0.0}  # goals taken so far: cost
        for row in costs:
            after: dict[int, float] = {}
            for taken, cost in best.items():
                for goal, more in enumerate(row):
                    bit = 1 << goal
                    if not taken & bit and cost + more < after.get(taken | bit, math.inf):
                        after[taken | bit] = cost + more
            best = after
        return min(best.values(), default=math.inf)
