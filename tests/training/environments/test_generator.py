import json
from collections import Counter
from pathlib import Path

import pytest

from dyna_training.environments.alfworld import TASK_TYPES, Game, State, load_game
from dyna_training.environments.alfworld.game import compile_game
from dyna_training.environments.alfworld.generator import generate, generate_file, solve, write
from dyna_training.environments.alfworld.statistics import FLOOR, statistics

from .conftest import PROBLEM, small_file

ROOMS = {1: "kitchen", 2: "living room", 3: "bedroom", 4: "bathroom"}


@pytest.fixture(scope="module")
def games() -> list[Game]:
    return [generate(seed) for seed in range(240)]


def room(game: Game) -> str:
    assert game.scene is not None
    return ROOMS[game.scene // 1000]


def test_a_seed_is_a_household() -> None:
    assert generate_file(5) == generate_file(5)
    assert generate_file(5)[1]["pddl_problem"] != generate_file(6)[1]["pddl_problem"]


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_task_type_can_be_chosen(task_type: str) -> None:
    for seed in range(5):
        assert generate(seed, task_type).task_type == task_type  # type: ignore[arg-type]


def test_an_unknown_task_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown task type 'dance'; there are pick_and_place_simple"):
        generate(0, "dance")  # type: ignore[arg-type]


def test_all_types_and_rooms_occur(games: list[Game]) -> None:
    assert {game.task_type for game in games} == set(TASK_TYPES)
    assert {room(game) for game in games} == set(ROOMS.values())
    assert len({game.task for game in games}) > 100


def test_every_household_is_unsolved_and_solvable(games: list[Game]) -> None:
    for game in games:
        state = State(game)
        assert not state.won
        for command in game.walkthrough:
            assert command in state.admissible(), (game.id, command)
            state.step(command)
        assert state.won, game.id


def test_solving_finds_the_way_itself(small: Game) -> None:
    plan = solve(small)
    assert plan is not None
    assert plan[-1].startswith("move mug 2 to drawer")


def test_what_is_solved_or_impossible_has_no_solution() -> None:
    solved = PROBLEM.replace("(isClean ?o)", "").replace("(cleanable ?o)", "")
    assert solve(compile_game({**small_file(), "pddl_problem": solved}, game_id="solved")) is None
    impossible = PROBLEM.replace("(canContain DrawerType MugType)", "")
    assert solve(compile_game({**small_file(), "pddl_problem": impossible}, game_id="impossible")) is None
    dirty = PROBLEM.replace("SinkBasin SinkBasinType", "SinkBasin ShelfType")
    assert solve(compile_game({**small_file(), "pddl_problem": dirty}, game_id="dirty")) is None


def test_sizes_are_like_the_official_ones(games: list[Game]) -> None:
    for name, counts in statistics().rooms.items():
        mine = [game for game in games if room(game) == name]
        for table, sizes in (
            (counts.receptacles, [len(game.receptacles) for game in mine]),
            (counts.objects, [len(game.object_type) for game in mine]),
        ):
            official = (
                sum(int(n) * c for histogram in table.values() for n, c in histogram.items()) / counts.games
            )
            assert abs(sum(sizes) / len(sizes) - official) < 0.15 * official, name


def test_things_lie_where_official_ones_lie(games: list[Game]) -> None:
    strange = Counter[bool]()
    for game in games:
        counts = {kind.lower(): places for kind, places in statistics().rooms[room(game)].places.items()}
        for receptacle, things in game.start_contents.items():
            for thing in things:
                known = {place.lower() for place in counts[game.names[thing].split(" ")[0]]} - {FLOOR}
                strange[game.names[receptacle].split(" ")[0] not in known] += 1
    assert strange[True] < 0.02 * strange.total()


def test_households_differ(games: list[Game]) -> None:
    assert len({State(game).introduction() for game in games}) > 0.95 * len(games)


def test_the_written_file_has_everything_the_original_needs(tmp_path: Path) -> None:
    file = write(tmp_path, 11)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert set(content) == {"pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough"}
    assert "(domain alfred)" in content["pddl_domain"]
    assert f"Your task is to: {load_game(file).task}" in content["grammar"]
    assert "%TASK%" not in content["grammar"]
