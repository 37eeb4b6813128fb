"""Sokoban: rules, levels of files, generated levels, deadlocks, the solver, and names that are none."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import gymnasium
import pytest

from dyna_training.environments.base import ForkableEnv, GameFileError
from dyna_training.environments.boards.leaks import belongs, identity, part_of_seed
from dyna_training.environments.catalogue import SOKOBAN, catalogue
from dyna_training.environments.sokoban import Level, SokobanEnv, generate, level_of, parse, solve
from dyna_training.environments.sokoban.boxoban import Part
from dyna_training.environments.sokoban.expert import LOST
from dyna_training.environments.sokoban.level import frozen
from dyna_training.environments.sokoban.solver import reachable, successors
from dyna_training.environments.sokoban.splits import SPLITS, games, task_type
from dyna_training.environments.sokoban.state import SokobanBoard
from dyna_training.rollouts import play
from dyna_training.tools import environment_tools, task_message
from tests.data import boxoban_levels
from tests.training.environments.conformance import Conformance

NAMES = ("6x6-1/3", "7x7-2/5", "7x7-3/7", "10x10-2/1", "12x12-4/2", "boxoban/unfiltered/valid/000/0")
LINE = ["######", "#@$ .#", "######"]


def make_sokoban() -> ForkableEnv:
    os.environ["BOXOBAN_LEVELS"] = str(boxoban_levels())
    return SokobanEnv(games=NAMES, max_steps=100)


def begun(*rows: str, max_steps: int = 100) -> SokobanEnv:
    env = SokobanEnv(games=[parse(rows)], max_steps=max_steps)
    env.reset(seed=0)
    return env


def board(env: SokobanEnv) -> SokobanBoard:
    assert isinstance(env.board, SokobanBoard)
    return env.board


def can_go_on(env: ForkableEnv, command: str) -> bool:
    after = env.fork()
    won = after.step(command)[2]
    now = after.board  # type: ignore[attr-defined]
    return not won and solve(now.level, now.boxes, now.player).pushes is not None


class TestSokoban(Conformance):
    make = staticmethod(make_sokoban)
    steps = 10_000
    episodes = tuple({"game": game} for game in NAMES)
    refusals = ("There is a wall", "The box cannot", "That is no command")
    harmless = staticmethod(can_go_on)


# ---------------------------------------------------------------------- rules


def test_a_box_is_pushed_and_not_pulled() -> None:
    env = begun(*LINE)
    seen = [env.step(command)[0] for command in ("right", "left", "right")]
    assert [text.split("\n")[1] for text in seen] == ["#_PXO#", "#P_XO#", "#_PXO#"]
    observation, reward, terminated, truncated, info = env.step("right")
    assert (observation.split("\n")[1], reward, terminated, truncated) == ("#__P*#", 1.0, True, False)
    assert (info["won"], info["score"], info["max_score"]) == (True, 1, 1)
    assert env.admissible() == []
    assert env.step("left") == ("The game is won and over.", 0.0, True, False, info)


def test_what_is_in_the_way_is_said_and_costs_a_step() -> None:
    env = begun("######", "#@$$ #", "# .. #", "######", max_steps=3)
    before = board(env).text()
    assert env.step("up")[0] == f"There is a wall.\n{before}"
    assert env.step("RIGHT ")[0] == f"The box cannot move.\n{before}"
    observation, _, _, truncated, _ = env.step("push the box")
    assert observation == f"That is no command. Commands: up, down, left, right.\n{before}"
    assert truncated
    assert env.admissible() == ["down"]
    assert env.inadmissible(random.Random(0)) in ("up", "left", "right")


def test_standing_on_a_goal_is_shown_and_left_again() -> None:
    env = begun("######", "#@. $#", "#  $.#", "######")
    assert env.step("right")[0].split("\n")[1] == "#_S_X#"
    assert env.step("right")[0].split("\n")[1] == "#_OPX#"


def test_the_observation_says_the_whole_state() -> None:
    """Whoever reads a board can go on from it."""
    env = begun(*level_of("7x7-3/7").rows())
    for command in ("up", "left", "down", "right") * 5:
        env.step(command)
        read = parse(board(env).text().split("\n"))
        assert (read.boxes, read.player, read.goals) == (board(env).boxes, board(env).player, read.goals)


# ---------------------------------------------------------------------- deadlocks


@pytest.mark.parametrize(
    ("rows", "command", "deadlocked"),
    [
        (("#####", "#   #", "# $@#", "#.  #", "#####"), "left", False),
        (("######", "#    #", "#  @ #", "#  $ #", "#.   #", "######"), "down", False),
        (("######", "#    #", "#. @ #", "#  $ #", "#    #", "######"), "down", True),
        (("#######", "#     #", "#.$ $.#", "#.$@$.#", "#     #", "#######"), "up", False),
        (("########", "#      #", "#  @$$ #", "#   $  #", "# ...  #", "########"), "down", False),
        (("#######", "#  #  #", "#. $$@#", "#. #  #", "#######"), "left", True),
        (("#######", "#  $$ #", "#. .@ #", "#     #", "#######"), "left", True),
    ],
)
def test_some_deadlocks_by_hand(rows: tuple[str, ...], command: str, deadlocked: bool) -> None:
    env = begun(*rows)
    assert env.step(command)[4]["deadlocked"] is deadlocked


def test_two_boxes_side_by_side_at_a_wall_are_a_deadlock_unless_on_goals() -> None:
    rows = ("#######", "#.  . #", "# $$  #", "# @   #", "#######")
    env = begun(*rows)
    assert not env.step("up")[4]["deadlocked"]
    for command in ("down", "right"):
        env.step(command)
    assert env.step("up")[4]["deadlocked"]
    assert env.expert() is not None
    stored = begun("#######", "# ..  #", "# $$  #", "# @   #", "#######")
    for command in ("up", "down", "right", "up"):
        info = stored.step(command)[4]
    assert (info["deadlocked"], info["won"]) == (False, True)


def test_a_deadlock_is_never_a_false_alarm() -> None:
    """Of all states that can be reached in small levels, none that can be won is called a deadlock."""
    found = 0
    for seed in range(12):
        level = generate(6, 6, 2, seed)
        for boxes, corner in all_states(level):
            if frozen(level, boxes):
                found += 1
                assert not winnable(level, boxes, corner)
    assert found > 100


def test_the_solver_agrees_with_looking_at_everything() -> None:
    """It wins in the fewest pushes where a breadth-first search wins at all, and says so where none does."""
    checked = lost = 0
    for seed in range(10):
        level = generate(7, 6, 2, 100 + seed)
        for boxes, corner in itertools.islice(all_states(level), 0, None, 3):
            solution, fewest = solve(level, boxes, corner), winnable(level, boxes, corner)
            checked, lost = checked + 1, lost + (fewest is None)
            assert (None if solution.pushes is None else len(solution.pushes)) == fewest
            assert solution.exhausted == (fewest is None)
    assert checked > 100
    assert lost > 10


def all_states(level: Level) -> list[tuple[int, int]]:
    """Return every state that pushes lead to: boxes, and the first cell of the player's area."""
    first = reachable(level, level.boxes, level.player)
    found = [(level.boxes, (first & -first).bit_length() - 1)]
    known = set(found)
    for boxes, player in found:
        for after, at in after_any_push(level, boxes, player):
            if (after, at) not in known:
                known.add((after, at))
                found.append((after, at))
    return found


def after_any_push(level: Level, boxes: int, player: int) -> list[tuple[int, int]]:
    """Return what a push leads to, onto dead cells too, found with the rules of the game and no bits."""
    area, found = reachable(level, boxes, player), []
    for box in range(boxes.bit_length()):
        for step in (1, -1, level.stride, -level.stride):
            to = box + step
            if boxes >> box & 1 and area >> (box - step) & 1 and (level.floor & ~boxes) >> to & 1:
                after = boxes ^ (1 << box) | 1 << to
                corner = reachable(level, after, box)
                found.append((after, (corner & -corner).bit_length() - 1))
    return found


def winnable(level: Level, boxes: int, player: int) -> int | None:
    """Return the fewest pushes to the end, found breadth first; None where there is no end."""
    frontier, known, depth = [(boxes, player)], {(boxes, player)}, 0
    while frontier:
        if any(state[0] == level.goals for state in frontier):
            return depth
        following = {s for state in frontier for s in after_any_push(level, *state)} - known
        known |= following
        frontier, depth = sorted(following), depth + 1
    return None


# ---------------------------------------------------------------------- expert


def test_an_expert_that_sees_no_way_says_so() -> None:
    env = begun("######", "#    #", "#. @ #", "#  $ #", "#    #", "######")
    expert = env.expert()
    expert.observe("down", env.step("down")[0])
    assert expert.decide().thought == LOST
    assert expert.decide().action in env.admissible()


def test_the_solver_gives_up_where_it_is_told_to() -> None:
    level = level_of("12x12-4/2")
    solution = solve(level, level.boxes, level.player, limit=3)
    assert (solution.pushes, solution.states, solution.exhausted) == (None, 3, False)


def test_pushes_of_the_solver_are_pushes_of_the_game() -> None:
    level = level_of("10x10-2/1")
    boxes, player = level.boxes, level.player
    for push in solve(level, boxes, player).pushes or ():
        [(_, boxes, player)] = [
            s for s in successors(level, boxes, reachable(level, boxes, player)) if s[0] == push
        ]
    assert boxes == level.goals


@pytest.mark.parametrize("split", ["dev", "more_boxes", "larger", "largest"])
def test_generated_levels_are_solved_within_an_episode(split: str) -> None:
    for name in games(split)[:15]:  # type: ignore[arg-type]
        trajectory = play(name, "expert", seed=0, split=split, environment=SOKOBAN, max_steps=80)
        assert trajectory.outcome == "success", name


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "dev", "test", "more_boxes", "larger", "largest"])
def test_every_generated_level_is_solved(split: str) -> None:
    assert all(solved(level_of(name), 50) for name in games(split))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["unfiltered/valid", "unfiltered/train", "medium/valid"])
def test_boxoban_is_solved(path: str, boxoban: Path) -> None:
    names = Part(path)
    assert all(solved(level_of(name), 1000) for name in names)


def test_some_of_boxoban_is_solved(boxoban: Path) -> None:
    for path in ("unfiltered/valid", "medium/valid"):
        assert all(solved(level_of(name), 1000) for name in Part(path)[::50])


def solved(level: Level, most_steps: int) -> bool:
    now = SokobanBoard(level)
    expert = now.expert()
    for _ in range(most_steps):
        action = expert.decide().action
        expert.observe(action, now.step(action))
        if now.won:
            return True
    return False


# ---------------------------------------------------------------------- levels


def test_a_generated_level_is_always_the_same() -> None:
    assert "\n".join(generate(7, 7, 2, 5).rows()) == "\n".join(generate(7, 7, 2, 5).rows())
    assert generate(7, 7, 2, 5) != generate(7, 7, 2, 6)


def test_no_level_is_in_two_splits() -> None:
    """Not even turned or mirrored; of the small sizes, seeds alone would not do."""
    seen = {
        split: {identity(level_of(name).rows()) for name in games(split)[:100]} for split in ("dev", "test")
    }
    seen["train"] = {identity(level_of(name).rows()) for name in games("train")[:400]}
    for one, other in itertools.combinations(seen.values(), 2):
        assert one.isdisjoint(other)
    sizes = {split: {task_type(name) for name in games(split)} for split in SPLITS[:6]}
    assert sizes["train"] == sizes["dev"] == sizes["test"]
    for split in ("more_boxes", "larger", "largest"):
        assert sizes[split].isdisjoint(sizes["train"])


def test_a_turned_level_is_the_same_level() -> None:
    rows = level_of("7x7-2/5").rows()
    turned = ["".join(column) for column in zip(*rows[::-1], strict=True)]
    mirrored = [row[::-1] for row in rows]
    assert identity(rows) == identity(turned) == identity(mirrored)
    assert identity(rows) != identity(level_of("7x7-2/6").rows())
    assert [part_of_seed(seed) for seed in (0, 10**6, 2 * 10**6, 9 * 10**6)] == [
        "train",
        "dev",
        "test",
        "other",
    ]
    assert sum(belongs(rows, seed) for seed in (0, 10**6, 2 * 10**6, 3 * 10**6)) == 1


@pytest.fixture
def boxoban(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = boxoban_levels()
    monkeypatch.setenv("BOXOBAN_LEVELS", str(folder))
    return folder


def test_boxoban_levels_have_names(boxoban: Path) -> None:
    names = games("boxoban_dev")
    assert len(names) >= 1000
    assert names[0] == "boxoban/unfiltered/valid/000/0"
    assert names[-1].startswith("boxoban/unfiltered/valid/")
    assert [task_type(name) for name in names[:2]] == ["boxoban-unfiltered"] * 2
    level = level_of(names[0])
    first = (boxoban / "unfiltered" / "valid" / "000.txt").read_text().split("\n")[1:11]
    assert level == parse(first)
    assert level.boxes.bit_count() == 4
    with pytest.raises(IndexError):
        names[len(names)]


def test_boxoban_takes_part_in_collections(boxoban: Path) -> None:
    drawn = catalogue(SOKOBAN).draw("boxoban_dev", 3, seed=1)
    assert len(set(drawn)) == 3
    assert catalogue(SOKOBAN).draw("boxoban_dev", 3, seed=1, skip=1)[:2] == drawn[1:]
    observation, info = gymnasium.make(SOKOBAN, split="boxoban_medium").reset(seed=0)
    assert info["task_type"] == "boxoban-medium"
    assert observation.count("X") >= 3


# ---------------------------------------------------------------------- bad input


def test_missing_boxoban_levels_say_where_they_are_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BOXOBAN_LEVELS", raising=False)
    with pytest.raises(GameFileError, match=r"git clone .*boxoban-levels, and set BOXOBAN_LEVELS"):
        SokobanEnv(split="boxoban_train")
    monkeypatch.setenv("BOXOBAN_LEVELS", str(tmp_path))
    with pytest.raises(GameFileError, match="has no folder unfiltered"):
        SokobanEnv(games=["boxoban/unfiltered/train/000/1"]).reset()
    (tmp_path / "unfiltered" / "train").mkdir(parents=True)
    with pytest.raises(GameFileError, match="there are no levels in"):
        SokobanEnv(split="boxoban_train")
    with pytest.raises(GameFileError, match=r"there is no .*000\.txt"):
        SokobanEnv(games=["boxoban/unfiltered/train/000/1"]).reset()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "does not begin with '; 0'"),
        (b"\xff\xfe; 0\n", "cannot be read as Boxoban levels"),
        (b"; 7\n####\n#@ #\n####\n", "has no level '0'; it has 1"),
        (b"; 0\n#####\n#@$. \n#####\n", "no wall at the edge in row 2, column 5"),
        (b"; 0\n#####\n#@$?#\n#####\n", r"level 0: '\?' in row 2, column 4 is no symbol"),
        (b"; 0\n#####\n# $.#\n#####\n", r"one player \(@\), this one has 0"),
        (b"; 0\n######\n#@$$.#\n######\n", "1 goals and 2 boxes"),
        (b"; 0\n#####\n#@* #\n#####\n", "all boxes are on goals already"),
        (b"; 0\n####\n", "3 to 64 rows and columns"),
    ],
)
def test_a_level_file_that_is_none_is_explained(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "hard" / "000.txt"
    file.parent.mkdir()
    file.write_bytes(content)
    monkeypatch.setenv("BOXOBAN_LEVELS", str(tmp_path))
    with pytest.raises(GameFileError, match=message):
        SokobanEnv(games=["boxoban/hard/000/0"]).reset()


@pytest.mark.parametrize("name", ["7x7", "7x7-2", "boxoban/easy/000/1", "../../etc/passwd", "7x7-2/-1", ""])
def test_a_name_that_is_none_is_explained(name: str) -> None:
    with pytest.raises(GameFileError, match="is no name of a level; names are such as 7x7-2/5"):
        SokobanEnv(games=[name])


@pytest.mark.parametrize("name", ["3x7-1/0", "99x99-1/0", "7x7-0/0", "7x7-9/0"])
def test_a_level_that_cannot_be_made_is_explained(name: str) -> None:
    with pytest.raises(GameFileError, match="can be made: rooms have 4 to 30 rows"):
        SokobanEnv(games=[name]).reset()


@pytest.mark.parametrize("name", ["4x4-1/1", pytest.param("20x20-8/1", marks=pytest.mark.slow)])
def test_a_level_that_is_not_found_is_given_up_in_seconds(name: str) -> None:
    with pytest.raises(GameFileError, match="was found that can be won in 50 moves; take another seed"):
        level_of(name)


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="either split or games"):
        SokobanEnv(split="train", games=["7x7-2/5"])
    with pytest.raises(ValueError, match="max_steps"):
        SokobanEnv(max_steps=0)
    with pytest.raises(ValueError, match="unknown split 'trane'"):
        SokobanEnv(split="trane")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="No game to play"):
        SokobanEnv().reset()
    with pytest.raises(GameFileError, match="not as int"):
        SokobanEnv(games=[7])  # type: ignore[list-item]


# ---------------------------------------------------------------------- in use


def test_noisy_and_random_episodes_are_labelled() -> None:
    noisy = play("7x7-2/5", "noisy", seed=1, environment=SOKOBAN, counterfactuals=2)
    assert noisy.provenance.environment == "dyna/Sokoban-v0:7x7-2/5"
    labels = [step.labels["return_to_go"] for step in noisy.transitions]
    assert all(0 <= value <= 1 for value in labels)
    assert any(step.counterfactuals for step in noisy.transitions)
    lost = play("7x7-2/5", "random", seed=2, environment=SOKOBAN)
    assert lost.outcome == "truncated"


def test_an_agent_plays_with_the_tool() -> None:
    [act] = environment_tools(SOKOBAN, split="dev")
    message = task_message(act, seed=0, options={"game": "6x6-1/3"})
    assert "Push all boxes onto the goals." in str(message.content)
    config = {"configurable": {"thread_id": "1", "episode": message.additional_kwargs["episode"]}}
    assert act.invoke({"command": "up"}, config).count("\n") >= 5  # type: ignore[arg-type]
