import dataclasses
import json
from pathlib import Path

import pytest

from dyna_training.environments.alfworld import TASK_TYPES, Game, GameFileError, load_game
from dyna_training.environments.alfworld.game import compile_game
from dyna_training.environments.alfworld.generator import generate, write

from .conftest import GRAMMAR, PROBLEM, small_file


def test_a_game_knows_its_task_and_scene(small: Game) -> None:
    assert small.task == "put a clean mug in drawer."
    assert small.task_type == "pick_clean_then_place_in_recep"
    assert small.scene == 301
    assert set(small.receptacle_by_name) == {
        "drawer 1",
        "drawer 2",
        "desk 1",
        "shelf 1",
        "fridge 1",
        "sinkbasin 1",
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.task = "something else"  # type: ignore[misc]


def test_names_count_down_in_the_order_of_ids(small: Game) -> None:
    assert small.names["mug_bar_1"] == "mug 2"
    assert small.names["mug_bar_2"] == "mug 1"
    assert small.names["sink_bar_1"] == "sink 1"


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_a_written_file_loads_from_file_and_folder(task_type: str, tmp_path: Path) -> None:
    file = write(tmp_path, 3, task_type)  # type: ignore[arg-type]
    game = load_game(file)
    assert game.task_type == task_type
    assert game.id == "/".join(file.parts[-3:-1])
    assert load_game(file.parent).id == game.id
    assert load_game(str(file)).walkthrough == generate(3, task_type).walkthrough  # type: ignore[arg-type]


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(GameFileError, match=r"no such game file.*alfworld-download.*ALFWORLD_DATA"):
        load_game(tmp_path / "absent" / "game.tw-pddl")


def test_a_truncated_file_says_where(tmp_path: Path) -> None:
    file = write(tmp_path, 1)
    text = file.read_text(encoding="utf-8")
    for cut in (0, 1, len(text) // 2, len(text) - 1):
        file.write_text(text[:cut], encoding="utf-8")
        with pytest.raises(GameFileError, match=r"game\.tw-pddl: not valid JSON at line 1, column \d+"):
            load_game(file)


def test_binary_rubbish_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "game.tw-pddl"
    file.write_bytes(b"\x80\x81\x82")
    with pytest.raises(GameFileError, match="cannot be read as text"):
        load_game(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pddl_problem": None}, "key 'pddl_problem' is missing or not text"),
        ({"grammar": 7}, "key 'grammar' is missing or not text"),
        ({"grammar": "{}"}, "no sentence 'Your task is to"),
        ({"walkthrough": "look"}, "'walkthrough' must be a list of commands"),
        ({"pddl_problem": "(define)"}, "lacks"),
        ({"pddl_problem": PROBLEM.replace("(isCool L", "(isClean L")}, "'isclean' at the start"),
        ({"pddl_problem": PROBLEM[:-3]}, "unbalanced parentheses"),
        ({"pddl_problem": PROBLEM.replace("(atLocation agent1 loc_0)", "")}, "place the agent once"),
        (
            {"pddl_problem": PROBLEM.replace("(receptacleType Desk_bar_1 DeskType)", "")},
            "'desk_bar_1' has no receptacleType",
        ),
        (
            {
                "pddl_problem": PROBLEM.replace(
                    "(inReceptacle Mug_bar_1 Desk_bar_1)", "(inReceptacle Mug_bar_1)"
                )
            },
            "wrong number of arguments",
        ),
        (
            {"pddl_problem": PROBLEM.replace("(isClean ?o)", "(isSliced ?o) (isClean ?x) (isHot ?o)")},
            "none of the six",
        ),
    ],
)
def test_corrupt_content_names_what_is_wrong(change: dict[str, object], message: str) -> None:
    with pytest.raises(GameFileError, match=message):
        compile_game({**small_file(), **change}, path=Path("some/where/game.tw-pddl"))


def test_json_that_is_no_game_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "game.tw-pddl"
    file.write_text(json.dumps([GRAMMAR]), encoding="utf-8")
    with pytest.raises(GameFileError, match="expected a JSON object"):
        load_game(file)
