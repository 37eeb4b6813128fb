"""WebShop: goals, and splits that share none of them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from dyna_training.environments.base import GameFileError
from dyna_training.environments.catalogue import WEBSHOP, TooFewGames, catalogue
from dyna_training.environments.webshop import SPLITS, Shop, WebShopEnv, games, open_shop
from dyna_training.environments.webshop.products import load_products
from dyna_training.environments.webshop.splits import HELD_OUT
from tests.data import webshop_data
from tests.training.environments.webshop.shops import folder_of, record, session


def test_goals_are_the_originals(shop: Shop) -> None:
    """Numbers and first goals, which the original prints, too."""
    goals = shop.goals["synthetic"]
    assert len(goals) == 6910
    assert len(shop.goals["human"]) == 13
    for goal in goals:
        above = [
            10.0 * step for step in range(1, 100) if 10.0 * step > shop.prices["synthetic"][goal.product.asin]
        ]
        assert goal.price_upper in above[1:4] or (len(above) < 2 and goal.price_upper == 1_000_000)
        assert ("price lower" in goal.instruction) == (goal.price_upper < 1_000_000)
    for product in {goal.product for goal in goals}:
        assert min(product.prices) <= shop.prices["synthetic"][product.asin] <= max(product.prices)


def test_seldom_asked_attributes_are_drawn_more_often(shop: Shop) -> None:
    env = WebShopEnv(split="train", data_dir=webshop_data(), admissible_actions=False)
    drawn = Counter(env.reset(seed=seed)[1]["task_type"] for seed in range(300))
    everywhere = Counter(shop.goal(name).product.category for name in games("train", shop))
    assert drawn["fashion"] / 300 < 0.6 < everywhere["fashion"] / everywhere.total()


def test_a_broken_instruction_is_explained(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, record())
    (folder / "items_human_ins.json").write_text(
        json.dumps({"B000000001": [{"instruction": "i want shoes"}]})
    )
    with pytest.raises(GameFileError, match=r"product 0: .* no 'instruction_options'"):
        load_products(folder)
    (folder / "items_human_ins.json").unlink()
    asks = {"B000000001": {"attributes": [], "instruction": "Find me shoes", "instruction_attributes": []}}
    (folder / "items_ins_v2_1000.json").write_text(json.dumps(asks))
    with pytest.raises(GameFileError, match=r"product 0: .* its instruction asks for no attributes"):
        load_products(folder)


def test_a_product_may_say_nothing(tmp_path: Path) -> None:
    bare = record(small_description=[], full_description="", customization_options="")
    shopping = session(open_shop(folder_of(tmp_path, bare)), "search[shoes]", "click[b000000001]")
    assert shopping.act("click[features]")
    assert shopping.page().endswith("Back to Search [SEP] < Prev")


def test_human_goals_of_the_originals_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, record())
    written = [
        {
            "instruction": "i want shoes.",
            "instruction_attributes": ["rubber sole"],
            "instruction_options": ["10"],
        },
        {"instruction": "anything", "instruction_attributes": [], "instruction_options": []},
    ]
    (folder / "items_human_ins.json").write_text(json.dumps({"B000000001": written}))
    (goal,) = open_shop(folder).goals["human"]
    assert goal.instruction.startswith("i want shoes, and price lower than ")
    assert (goal.attributes, goal.options, goal.weight) == (("rubber sole",), ("10",), 1.0)


@pytest.mark.parametrize(
    "name",
    ["", "synthetic", "synthetic/", "synthetic/-1", "synthetic/x", "human/1e3", "other/1", "x" * 10**5],
)
def test_a_wrong_name_is_explained(name: str) -> None:
    with pytest.raises(GameFileError, match=r"names no goal; expected synthetic/<number> or human/<number>"):
        WebShopEnv(games=[name])


def test_a_goal_that_is_not_there_is_explained() -> None:
    env = WebShopEnv(games=["human/99999"], data_dir=webshop_data())
    with pytest.raises(GameFileError, match=r"human goals, numbered from 0.*items_human_ins\.json"):
        env.reset(seed=0)


def test_wrong_arguments_are_explained() -> None:
    for arguments in (
        {"split": "train", "games": []},
        {"max_steps": 0},
        {"nouns": "verbs"},
        {"reward": "price"},
    ):
        with pytest.raises(ValueError, match=r"not both|at least 1|'words' or 'spacy'|'success' or 'score'"):
            WebShopEnv(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="No game to play"):
        WebShopEnv(data_dir=webshop_data()).reset()
    with pytest.raises(ValueError, match="unknown split 'trian'"):
        WebShopEnv(split="trian", data_dir=webshop_data())  # type: ignore[arg-type]


def test_splits_share_no_goal_no_product_and_no_instruction(shop: Shop) -> None:
    names: set[str] = set()
    for kind in ("synthetic", "human"):
        seen: dict[str, str] = {}
        for split in SPLITS:
            if split.startswith("human_") != (kind == "human"):
                continue
            if split == "human_dev":  # thirteen human goals do not fill every split
                with pytest.raises(GameFileError, match="no human goals for the split human_dev"):
                    games(split, shop)
                continue
            found = games(split, shop)
            assert names.isdisjoint(found)
            names.update(found)
            for goal in map(shop.goal, found):
                assert seen.setdefault(goal.product.asin, split) == split
                assert seen.setdefault(goal.product.instruction or goal.instruction, split) == split
                assert (goal.product.category == HELD_OUT) == split.endswith("unseen_category")
    assert len(names) == 6923


def test_published_splits_of_all_human_goals(shop: Shop) -> None:
    goals = [shop.goals["synthetic"][number] for number in range(0, 6910, 3)]
    full = dataclasses.replace(shop, goals={**shop.goals, "human": goals})
    assert games("human_test", full) == [f"human/{number}" for number in range(500)]
    assert games("human_dev", full) == [f"human/{number}" for number in range(500, 1500)]
    measured = {goal.product.asin for goal in goals[:1500]}
    left = [full.goal(name) for name in games("human_train", full)]
    assert left
    assert not any(goal.product.asin in measured or goal.product.category == HELD_OUT for goal in left)


def test_the_catalogue_draws_by_weight_and_without_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSHOP_DATA", str(webshop_data()))
    customers = catalogue(WEBSHOP)
    drawn = customers.draw("train", 60, seed=1)
    assert drawn == customers.draw("train", 60, seed=1) != customers.draw("train", 60, seed=2)
    assert drawn[20:] == customers.draw("train", 40, skip=20, seed=1)
    assert len(set(drawn)) == 60
    shop = open_shop()
    departments = Counter(shop.goal(name).product.category for name in drawn)
    assert departments["electronics"] > 5
    only = customers.draw("train", 5, wanted=lambda task_type: task_type == "garden")
    assert {shop.goal(name).product.category for name in only} == {"garden"}
    with pytest.raises(TooFewGames, match="fewer than the 100000 asked for"):
        customers.draw("train", 100_000)
