from pathlib import Path

import pytest

from dyna_training.environments.alfworld import GameFileError, games, load_game, walkthrough_in_train
from dyna_training.environments.alfworld.generator import write
from dyna_training.environments.alfworld.splits import HELD_OUT_SCENES, SPLITS, split_of

SCENES = [*range(1, 31), *range(201, 231), *range(301, 331), *range(401, 431)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small data folder: generated games under official folder names."""
    root = tmp_path / "json_2.1.1"
    for number, scene in enumerate(SCENES):
        file = write(tmp_path / "made", number % 3)
        task = file.parts[-3].rpartition("-")[0]
        folder = root / "train" / f"{task}-{scene}" / f"trial_{number}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        file.parent.rename(folder)
    return tmp_path


def test_every_room_kind_is_held_out_alike() -> None:
    kinds = [sorted(s for s in HELD_OUT_SCENES if low <= s < low + 30) for low in (1, 201, 301, 401)]
    assert [len(kind) for kind in kinds] == [3, 3, 3, 3]


def test_splits_share_no_game_and_no_held_out_scene(data: Path) -> None:
    parts = {split: games(split, data) for split in ("train", "dev_seen", "dev_unseen")}
    together = [file for files in parts.values() for file in files]
    assert len(together) == len(set(together)) == len(SCENES)
    scenes = {split: {load_game(file).scene for file in files} for split, files in parts.items()}
    assert scenes["dev_unseen"] == HELD_OUT_SCENES
    assert not scenes["train"] & HELD_OUT_SCENES
    assert not scenes["dev_seen"] & HELD_OUT_SCENES


def test_a_tenth_goes_to_dev_seen_whatever_else_is_there() -> None:
    ids = [f"pick_and_place_simple-Mug-None-Desk-301/trial_{number}" for number in range(2000)]
    share = sum(split_of(game_id) == "dev_seen" for game_id in ids) / len(ids)
    assert 0.08 < share < 0.12


def test_unsolvable_sliced_and_movable_games_are_left_out(data: Path) -> None:
    train = data / "json_2.1.1" / "train"
    count = len([file for split in ("train", "dev_seen", "dev_unseen") for file in games(split, data)])  # type: ignore[arg-type]
    other = data / "more"
    (other / "json_2.1.1").mkdir(parents=True)
    train.rename(other / "json_2.1.1" / "train")
    train = other / "json_2.1.1" / "train"
    for name in (
        "pick_and_place_simple-AppleSliced-None-Fridge-3",
        "pick_and_place_with_movable_recep-Pen-Mug-Desk-301",
        "pick_and_place_simple-Pen-None-Desk-301",
    ):
        file = write(data / "made", 7)
        if name.endswith("Desk-301"):
            file.write_text(file.read_text().replace('"solvable": true', '"solvable": false'))
        (train / name).mkdir(parents=True)
        file.parent.rename(train / name / "trial_x")
    found = [file for split in ("train", "dev_seen", "dev_unseen") for file in games(split, other)]  # type: ignore[arg-type]
    assert len(found) == count


def test_walkthroughs_of_train_are_recognised(data: Path, tmp_path: Path) -> None:
    known, new = load_game(games("train", data)[0]), load_game(write(tmp_path / "new", 12345))
    assert walkthrough_in_train(known, data)
    assert not walkthrough_in_train(new, data)


def test_missing_data_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(GameFileError, match=r"alfworld-download.*ALFWORLD_DATA"):
        games("train")
    (tmp_path / "nowhere" / "json_2.1.1").mkdir(parents=True)
    with pytest.raises(GameFileError, match=r"valid_unseen.*alfworld-download.*ALFWORLD_DATA"):
        games("valid_unseen")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"Unknown split 'test'; there are {SPLITS[0]}"):
        games("test", tmp_path)  # type: ignore[arg-type]


def test_an_unofficial_name_is_refused() -> None:
    with pytest.raises(ValueError, match="is not named"):
        split_of("somewhere/trial")
