"""Filters, duplicates, splits, and what sets share."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from dyna_nodes.nouns import Action, Trajectory
from dyna_training.data import read_trajectories
from dyna_training.store.duplicates import REPEATED, content_digest
from dyna_training.store.problems import StoreError
from dyna_training.store.sharing import GROUPS, contents, shared
from dyna_training.store.source import Source
from dyna_training.store.splitting import assign, parse_fractions, sizes, split
from dyna_training.store.traits import action_type, traits_of
from tests.training.store.anything import dyna, episode, written

COOL = "pick_cool_then_place_in_recep-Mug-None-Shelf-1"
PUT = "pick_and_place_simple-Mug-None-Shelf-1"


def ids(folder: Path) -> list[str]:
    return [t.id for t in read_trajectories([folder])]


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


# Traits


def test_traits_of_a_household() -> None:
    found = traits_of(episode("x", "look", game=f"{COOL}/trial_1"))
    assert found.environment == "dyna/ALFWorld-v0"
    assert found.game == f"{COOL}/trial_1"
    assert found.task_type == "pick_cool_then_place_in_recep"
    assert found.name == f"dyna/ALFWorld-v0:{COOL}/trial_1"
    unknown = traits_of(episode("x", "look", game="", task="Book a flight."))
    assert (unknown.environment, unknown.game, unknown.task_type) == ("", "Book a flight.", "")


@pytest.mark.parametrize(
    ("name", "task_type"),
    [
        ("dyna/ScienceWorld-v0:chemistry-mix/4", "chemistry-mix"),
        (
            "dyna/ScienceWorld-v0:chemistry-mix-paint-secondary-color/4",
            "chemistry-mix-paint-secondary-color",
        ),
        ("dyna/MiniWoB-v0:click-button-sequence/6", "click-button-sequence"),
        ("dyna/Sokoban-v0:7x7-2/1341", "7x7-2"),
        ("dyna/TextWorld-v0:coin_collector/level=3/5", "coin_collector"),
        ("dyna/Nobody-v0:boil/4", ""),
        ("dyna/TextWorld-v0:no such game", ""),
    ],
)
def test_task_types_of_games(name: str, task_type: str) -> None:
    one = episode("x", "look")
    origin = one.provenance.model_copy(update={"environment": name})
    assert traits_of(one.model_copy(update={"provenance": origin})).task_type == task_type


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Action.command("take mug 1"), "take"),
        (Action.command("search[red shoes]"), "search"),
        (Action.command("  "), ""),
        (Action(tool="refund", arguments={"id": 3}), "refund"),
    ],
)
def test_types_of_actions(action: Action, kind: str) -> None:
    assert action_type(action) == kind


# Filters


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return written(
        tmp_path / "in.jsonl",
        episode("short", "look", game=f"{PUT}/t1"),
        episode("long", *["look"] * 9, "take mug 1", game=f"{PUT}/t2", policy="noisy"),
        episode("lost", "look", "go to shelf 1", game=f"{COOL}/t3", won=False, split="dev_seen"),
    )


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        (["--outcome", "success"], ["short", "long"]),
        (["--outcome", "success", "--outcome", "failure"], ["short", "long", "lost"]),
        (["--min-steps", "2", "--max-steps", "9"], ["lost"]),
        (["--action-type", "take", "--action-type", "go"], ["long", "lost"]),
        (["--tool", "act"], ["short", "long", "lost"]),
        (["--behaviour", "expert"], ["short", "lost"]),
        (["--task-type", "pick_and_place_simple"], ["short", "long"]),
        (["--environment", "dyna/ALFWorld-v0", "--split", "train"], ["short", "long"]),
    ],
)
@pytest.mark.parametrize("to", ["jsonl", "parquet"])
def test_episodes_that_satisfy_all_conditions_are_kept(
    mixed: Path, tmp_path: Path, conditions: list[str], kept: list[str], to: str
) -> None:
    assert dyna("data", "filter", mixed, *conditions, "--to", to, "--out", tmp_path / "out")[0] == 0
    assert ids(tmp_path / "out") == kept
    with (tmp_path / "out" / "left_out.csv").open() as file:
        gone = [row["trajectory"] for row in csv.DictReader(file)]
    assert sorted([*kept, *gone]) == ["long", "lost", "short"]


def test_games_of_another_set_are_left_out(mixed: Path, tmp_path: Path) -> None:
    other = episode("other", "look", "look", game=f"{COOL}/t3", policy="noisy")
    evaluated = written(tmp_path / "evaluated.jsonl", other)
    given = ("--without", evaluated, "--out", tmp_path / "out")
    assert dyna("data", "filter", mixed, *given)[0] == 0
    assert ids(tmp_path / "out") == ["short", "long"]
    assert manifest(tmp_path / "out")["settings"]["without"] == [f"dyna/ALFWorld-v0:{COOL}/t3"]
    code, said = dyna("data", "filter", mixed, "--without", tmp_path / "no", "--out", tmp_path / "o")
    assert (code, "no trajectories there" in said) == (1, True), said
    with evaluated.open("a") as file:
        file.write('{"format": "dyna-traj')
    code, said = dyna("data", "filter", mixed, "--without", evaluated, "--out", tmp_path / "o")
    assert (code, "a game that cannot be read would be let through" in said) == (1, True), said


def test_names_that_are_no_text_are_written_down_all_the_same(tmp_path: Path) -> None:
    lines = written(
        tmp_path / "in.jsonl",
        *(episode(f"e{i}\udcff", "look", game=f"g/{i}\udcff", won=i < 4) for i in range(5)),
    )
    assert (
        dyna("data", "filter", lines, "--outcome", "success", "--to", "parquet", "--out", tmp_path / "out")[0]
        == 0
    )
    assert "e4\\udcff" in (tmp_path / "out" / "left_out.csv").read_text()
    assert (
        dyna("data", "split", tmp_path / "out", "--fractions", "0.5,0.5", "--out", tmp_path / "parts")[0] == 0
    )
    games = manifest(tmp_path / "parts")["games"]
    assert sorted(games["train"] + games["test"]) == [f"dyna/ALFWorld-v0:g/{i}\udcff" for i in range(4)]


def test_when_nothing_is_left_the_reasons_are_said(mixed: Path, tmp_path: Path) -> None:
    code, said = dyna("data", "filter", mixed, "--behaviour", "export", "--out", tmp_path / "out")
    assert code == 1
    assert "no episode is left (behaviour is expert: 2, behaviour is noisy: 1)" in said
    assert not (tmp_path / "out").exists()
    assert (
        "there are success, failure"
        in dyna("data", "filter", mixed, "--outcome", "won", "--out", tmp_path / "o")[1]
    )


# Duplicates


def test_episodes_that_differ_in_ids_and_times_only_are_the_same(tmp_path: Path) -> None:
    one, again = episode("one", "look", "open door"), episode("the same", "look", "open door", policy="noisy")
    other = episode("other", "look", "open door", thought="I open it.")
    data = written(tmp_path / "in.jsonl", one, again, other)
    code, said = dyna("data", "dedupe", data, "--out", tmp_path / "out")
    assert code == 0
    assert "left out: 1 episodes: the same as an episode before" in said
    assert ids(tmp_path / "out") == ["one", "other"]
    rows = list(csv.reader((tmp_path / "out" / "left_out.csv").open()))
    assert rows[1] == ["the same", "the same as an episode before", "one"]


def test_steps_in_the_same_context_are_labelled_and_episodes_of_nothing_else_go(tmp_path: Path) -> None:
    data = written(
        tmp_path / "in.jsonl",
        episode("one", "look", "open door", won=False),
        episode("prefix", "look", won=False, thought="Hm."),
        episode("branch", "look", "take mug 1", won=False),
        episode("elsewhere", "look", game="x/y", won=False),
    )
    code, said = dyna("data", "dedupe", data, "--transitions", "--out", tmp_path / "out")
    assert code == 0
    assert "left out: 1 episodes: each of its steps stands in an episode before" in said
    assert "1 steps of kept episodes are labelled as repeated" in said
    found = {
        t.id: [s.labels.get(REPEATED) for s in t.transitions] for t in read_trajectories([tmp_path / "out"])
    }
    assert found == {"one": [None, None], "branch": [1.0, None], "elsewhere": [None]}


def test_a_label_of_an_earlier_time_goes(tmp_path: Path) -> None:
    """What a step repeated may have been filtered out since."""
    first, branch = (
        episode("one", "look", "open door"),
        episode("branch", "look", "take mug 1", policy="noisy"),
    )
    data = written(tmp_path / "in.jsonl", first, branch)
    assert dyna("data", "dedupe", data, "--transitions", "--out", tmp_path / "1")[0] == 0
    labelled = {t.id: t for t in read_trajectories([tmp_path / "1"])}["branch"]
    assert labelled.transitions[0].labels == {REPEATED: 1.0}
    assert content_digest(labelled) == content_digest(branch)
    assert dyna("data", "filter", tmp_path / "1", "--behaviour", "noisy", "--out", tmp_path / "2")[0] == 0
    assert dyna("data", "dedupe", tmp_path / "2", "--transitions", "--out", tmp_path / "3")[0] == 0
    assert list(read_trajectories([tmp_path / "3"])) == [branch]


def test_digests_see_every_difference_that_counts() -> None:
    one = episode("one", "look", "open door")
    first, last = one.transitions
    for changed in (
        one.model_copy(update={"task": "Another."}),
        one.model_copy(update={"hidden_state": "other"}),
        one.model_copy(update={"transitions": (first,)}),
        one.model_copy(update={"transitions": (first, last.model_copy(update={"reward": 0.5}))}),
        one.model_copy(
            update={"transitions": (first.model_copy(update={"notes": {"difference": "x"}}), last)}
        ),
    ):
        assert content_digest(changed) != content_digest(one)


# Splits


def many(number: int = 60, seed: int = 0) -> list[Trajectory]:
    rng = random.Random(seed)
    games = [f"{rng.choice([COOL, PUT])}-{i // 3}/trial_{i}" for i in range(number)]
    return [
        episode(f"{policy}-{i}", "look", f"go to desk {i}", game=game, policy=policy)
        for i, game in enumerate(games)
        for policy in ("expert", "noisy")
        if policy == "expert" or i % 2
    ]


@pytest.mark.parametrize("by", ["game", "level", "item", "task"])
def test_parts_share_nothing_and_lose_nothing(tmp_path: Path, by: str) -> None:
    data = written(tmp_path / "in.jsonl", *many())
    code, said = dyna("data", "split", data, "--by", by, "--seed", 1, "--out", tmp_path / "parts")
    assert code == 0, said
    parts = {name: list(read_trajectories([tmp_path / "parts" / name])) for name in ("train", "dev", "test")}
    assert sorted(t.id for part in parts.values() for t in part) == sorted(t.id for t in many())
    games = [{t.provenance.environment for t in part} for part in parts.values()]
    assert sum(map(len, games)) == len(set.union(*games)) == 60
    if by == "task":
        tasks = [{g.rpartition("/")[0] for g in part} for part in games]
        assert sum(map(len, tasks)) == len(set.union(*tasks))
    assert 40 <= len(games[0]) <= 54
    assert manifest(tmp_path / "parts")["games"]["dev"] == sorted(games[1])
    assert manifest(tmp_path / "parts" / "dev")["part"] == "dev"
    assert dyna("data", "check", *(tmp_path / "parts" / name for name in parts), "--by", by)[0] == 0


def test_a_split_hangs_on_the_seed_and_not_on_the_order_of_files(tmp_path: Path) -> None:
    fractions = {"train": 0.5, "test": 0.5}
    forwards = assign(many(), "game", fractions, 3)
    assert assign(many()[::-1], "game", fractions, 3) == forwards
    assert assign(many(), "game", fractions, 4) != forwards


def test_a_task_type_stays_in_one_part(tmp_path: Path) -> None:
    parts = assign(many(), "task-type", {"train": 0.5, "test": 0.5}, 0)
    assert len({part for game, part in parts.items() if COOL in game}) == 1
    assert len(set(parts.values())) == 2


def test_goals_of_one_item_stay_together() -> None:
    """Goals have numbers; what is to be bought stands in the hidden state, as WebShop writes it."""
    goals = [
        episode(f"e{i}", "search[mug]", game=f"synthetic/{i}").model_copy(
            update={
                "hidden_state": f"page: search\ngoal: B0{i // 4:08} (found as result 3)\ngoal price: at most 9"
            }
        )
        for i in range(40)
    ]
    for seed in range(5):
        parts = assign(goals, "item", {"train": 0.5, "test": 0.5}, seed)
        items = [
            {parts[f"dyna/ALFWorld-v0:synthetic/{i}"] for i in range(4 * k, 4 * k + 4)} for k in range(10)
        ]
        assert all(len(found) == 1 for found in items)
        assert len(set.union(*items)) == 2


def test_levels_that_look_the_same_and_equal_episodes_stay_together() -> None:
    """The same level under two names, and the same episode of two games, are in one part under every seed."""
    data = [episode(f"e{i}", "look", game=f"g/{i}", task=f"Level {i // 2}.") for i in range(20)]
    twins = [t.model_copy(update={"hidden_state": None, "task": "Same."}) for t in (data[0], data[7])]
    for seed in range(10):
        parts = assign(data, "level", {"train": 0.5, "test": 0.5}, seed)
        assert all(
            parts[f"dyna/ALFWorld-v0:g/{i}"] == parts[f"dyna/ALFWorld-v0:g/{i + 1}"] for i in range(0, 20, 2)
        )
        parts = assign([*data, *twins], "game", {"train": 0.5, "test": 0.5}, seed)
        assert parts["dyna/ALFWorld-v0:g/0"] == parts["dyna/ALFWorld-v0:g/7"]


@pytest.mark.parametrize("number", [3, 4, 10, 11, 100, 1001])
def test_every_part_gets_its_share_and_at_least_one(number: int) -> None:
    found = sizes(number, {"train": 0.8, "dev": 0.1, "test": 0.1})
    assert sum(found.values()) == number
    assert min(found.values()) >= 1
    assert number < 10 or abs(found["train"] - 0.8 * number) <= 1


def test_too_few_games_for_so_many_parts(tmp_path: Path) -> None:
    data = written(tmp_path / "in.jsonl", episode("a", "look"), episode("b", "look", "open door"))
    code, said = dyna("data", "split", data, "--out", tmp_path / "parts")
    assert code == 1
    assert "1 games make 1 groups that share nothing by game, too few for 3 parts" in said


@pytest.mark.parametrize(
    "text",
    ["0.8,0.1", "1,0", "0.5,0.5,x", "a=0.5,0.5", "a=0.5,a=0.5", "1.0", "a/b=0.5,c=0.5", "../a=0.5,c=0.5", ""],
)
def test_fractions_that_are_none(text: str) -> None:
    with pytest.raises(StoreError, match="--fractions"):
        parse_fractions(text)


def test_fractions() -> None:
    assert parse_fractions("0.8,0.1,0.1") == {"train": 0.8, "dev": 0.1, "test": 0.1}
    assert parse_fractions("0.9,0.1") == {"train": 0.9, "test": 0.1}
    assert parse_fractions("a=0.25, b=0.75") == {"a": 0.25, "b": 0.75}


def test_a_split_that_would_leak_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is looked at, whatever the division meant to do."""
    data = written(tmp_path / "in.jsonl", *many(10))
    turn = Counter[str]()

    class Leaky(dict[str, str]):
        def __getitem__(self, game: str) -> str:
            turn[game] += 1
            return "train" if turn[game] % 2 else "test"

    monkeypatch.setattr("dyna_training.store.splitting.assign", lambda *_: Leaky())
    with pytest.raises(
        StoreError, match=r"train and test would share dyna/ALFWorld-v0:\S+; nothing was written"
    ):
        split(Source([data]), tmp_path / "parts", "game", {"train": 0.5, "test": 0.5}, 0, "jsonl")
    assert not (tmp_path / "parts").exists()


# Sharing


def test_every_game_that_two_sets_share_is_named(tmp_path: Path) -> None:
    one = written(tmp_path / "1.jsonl", *(episode(f"a{i}", "look", game=f"g/{i}") for i in range(5)))
    two = written(tmp_path / "2.jsonl", *(episode(f"b{i}", "open door", game=f"g/{i}") for i in range(3, 8)))
    code, said = dyna("data", "check", one, two)
    assert code == 1
    assert said.splitlines() == [
        f"{one} and {two} share 2 games:",
        "  dyna/ALFWorld-v0:g/3",
        "  dyna/ALFWorld-v0:g/4",
    ]
    code, said = dyna("data", "check", one, two, "--json")
    assert json.loads(said)[0]["games"] == ["dyna/ALFWorld-v0:g/3", "dyna/ALFWorld-v0:g/4"]


def test_games_that_look_the_same_in_two_parts_are_told(tmp_path: Path) -> None:
    found = (episode(f"e{i}", "look", game=f"g/{i}", task=f"Room {i % 2}.") for i in range(8))
    data, parts = written(tmp_path / "in.jsonl", *found), tmp_path / "parts"
    told = "2 first observations are in {} and in {}; --by level counts such games as one"
    code, said = dyna("data", "split", data, "--fractions", "0.5,0.5", "--out", parts)
    assert (code, told.format("train", "test") in said) == (0, True)
    code, said = dyna("data", "check", parts / "train", parts / "test")
    assert (code, told.format(parts / "train", parts / "test") in said) == (0, True)
    said = dyna("data", "split", data, "--fractions", "0.5,0.5", "--by", "level", "--out", tmp_path / "2")[1]
    assert "first observations" not in said


def test_equal_episodes_of_games_with_other_names_are_a_leak() -> None:
    one = episode("one", "look", game="g/1", task="The same.").model_copy(update={"hidden_state": None})
    other = episode("two", "look", game="g/2", task="The same.").model_copy(update={"hidden_state": None})
    [found] = shared({"a": contents([one]), "b": contents([other])})
    assert (found.games, found.episodes, found.leaks) == ([], ["one"], True)
    assert found.levels == 1


def test_one_set_cannot_be_checked(tmp_path: Path) -> None:
    data = written(tmp_path / "1.jsonl", episode("a", "look"))
    assert dyna("data", "check", data)[0] == 1
    assert "name two sets or more, each once" in dyna("data", "check", data, data)[1]


def test_the_item_is_what_a_real_shop_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from dyna_training.environments.webshop.shop import open_shop
    from dyna_training.rollouts import play
    from tests.data import webshop_data

    monkeypatch.setenv("WEBSHOP_DATA", str(webshop_data()))
    found = play("synthetic/7", "expert", seed=0, split="train", environment="dyna/WebShop-v0")
    product = open_shop().goal("synthetic/7").product
    assert GROUPS["item"](found) == f"dyna/WebShop-v0:item {product.asin}"
