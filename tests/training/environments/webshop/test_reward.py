"""WebShop: what a purchase is worth."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.base import PackageMissing
from dyna_training.environments.webshop import Shop, WebShopEnv
from dyna_training.environments.webshop.nouns import words
from dyna_training.environments.webshop.reward import alike, normal, score, title_share, type_reward
from dyna_training.rollouts import return_to_go
from dyna_training.sessions import Episode
from dyna_training.sessions import Session as LiveSession
from tests.data import webshop_data
from tests.training.environments.webshop.shops import folder_of, goal_of, record


def test_reward_counts_attributes_options_and_price(small: Shop) -> None:
    product, other = small.products
    goal = goal_of(product, options=(("size", "10"), ("style", "plain")))
    assert score(product, ["10", "plain"], 25.0, goal, words).total == 1.0
    assert score(product, ["10"], 25.0, goal, words).total == 4 / 5
    assert score(product, ["10"], 35.0, goal, words).total == 3 / 5
    assert score(product, [], 35.0, goal, words).options == 0.0
    worth = score(other, ["10", "plain"], 25.0, goal, words)
    assert (worth.type, worth.total) == (0.0, 0.0), "no word of the title is shared"
    assert score(product, [], 25.0, goal_of(product, attributes=("vegan",), options=()), words).total == 0.5


def test_a_purchase_with_a_part_of_the_score_has_not_solved_the_task(tmp_path: Path) -> None:
    """Neither for agents and the perfect world model, nor in a return-to-go."""
    env = WebShopEnv(games=["synthetic/0"], data_dir=folder_of(tmp_path, record()), reward="score")
    live = LiveSession(env, Episode(seed=0))
    expert = env.expert()
    for _ in range(3):  # to the product, and one of two options
        action = expert.decide().action
        expert.observe(action, live.step(action).observation)
    bought = live.fork().step("click[buy now]")
    assert (bought.reward, bought.done, bought.success) == (0.8, True, False)
    buyer: Any = types.SimpleNamespace(decide=lambda: types.SimpleNamespace(action="click[buy now]"))
    buyer.fork = lambda: buyer
    assert return_to_go(live.env, buyer, solved=False) == 0.0


def test_the_reward_is_success_or_the_score(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, record())
    for kind, options, worth in (
        ("success", 2, 1.0),
        ("success", 1, 0.0),
        ("score", 2, 1.0),
        ("score", 1, 0.8),
    ):
        env = WebShopEnv(games=["synthetic/0"], data_dir=folder, reward=kind)  # type: ignore[arg-type]
        env.reset(seed=0)
        expert = env.expert()
        for _ in range(2 + options):
            action = expert.decide().action
            expert.observe(action, env.step(action)[0])
        _, reward, over, _, info = env.step("click[buy now]")
        assert (reward, over, info["won"]) == (worth, True, options == 2)
        assert info["score"] == (1.0 if options == 2 else 0.8)


def test_attributes_are_found_in_texts_or_nearly(small: Shop) -> None:
    product = small.products[0]
    bare = dataclasses.replace(product, attributes=("rubber soles",))
    goal = goal_of(product, attributes=("rubber sole", "machine washable", "light shoes", "silk"), options=())
    assert score(bare, [], 25.0, goal, words).attributes == 3 / 4


def test_options_go_by_their_first_colour() -> None:
    assert normal("dark navy stripes") == "dark"
    assert normal(("color", "dark navy")) == ("color", "dark navy"), (
        "only where the colour is all of the value"
    )
    assert normal(("color", "navy")) == "navy"
    assert alike("pecan", ("flavor name", "pecan"))
    assert not alike("", "x")
    assert not alike("10", "11")
    assert alike("cool powder snow", "powder snow")


def test_type_goes_by_query_departments_and_title(small: Shop) -> None:
    product = small.products[0]
    elsewhere = dataclasses.replace(product, query="hats", product_category="a › b")
    assert type_reward(elsewhere, product, words) == 1.0, "the title is enough"
    long = dataclasses.replace(product, title="shoes " + " ".join(f"word{letter}" for letter in "abcdefg"))
    assert type_reward(elsewhere, long, words) == 0.5
    longer = dataclasses.replace(
        product, title="shoes " + " ".join(f"word{letter}" for letter in "abcdefghijk")
    )
    assert type_reward(product, longer, words) == 0.1, "although query and departments match"


CORD = "BRST AC Power Cord Outlet Socket Cable Plug Lead for Panasonic SC-HT830V DVD/VCR Combo Home Theater System"


@pytest.mark.parametrize(
    ("wanted", "bought", "share"),
    [
        (
            "Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K Ultra HD Soundbar Home Theater "
            "System Subwoofer",
            CORD,
            0.3,
        ),
        (
            "Saireed UL Listed 2 Prong Power Cord for JBL Bar 3.1 Bar 2.1 Channel 4K Ultra HD Soundbar",
            CORD,
            0.15,
        ),
        (
            "Rusticware 921ORB Kitchen and Bath Cabinet Knob",
            "Minkissy 2pcs Stainless Steel Eyebrow Tweezers Blackhead Acne Remover Portable Makeup Tweezers (Silver)",
            0.0,
        ),
    ],
)
def test_words_share_as_much_as_the_originals_model_finds(wanted: str, bought: str, share: float) -> None:
    """Shares that the original's tests expect of spaCy's model."""
    assert title_share(words(bought), words(wanted)) == pytest.approx(share, abs=0.02)


def test_a_missing_model_of_spacy_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    env = WebShopEnv(games=["synthetic/0"], data_dir=webshop_data(), nouns="spacy")
    with pytest.raises(PackageMissing, match="python -m spacy download en_core_web_sm"):
        env.reset(seed=0)
