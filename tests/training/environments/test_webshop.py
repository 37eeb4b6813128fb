"""WebShop: data files, search, pages, clicks, goals, reward, splits, the oracle, and what others do wrong."""

from __future__ import annotations

import dataclasses
import json
import lzma
import os
import random
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from dyna_training.environments.base import ForkableEnv, GameFileError, PackageMissing
from dyna_training.environments.catalogue import WEBSHOP, TooFewGames, catalogue
from dyna_training.environments.webshop import SPLITS, Shop, WebShopEnv, games, open_shop
from dyna_training.environments.webshop.equality import Report, check, compare
from dyna_training.environments.webshop.goals import Goal
from dyna_training.environments.webshop.nouns import words
from dyna_training.environments.webshop.plays import actions
from dyna_training.environments.webshop.products import Product, load_products
from dyna_training.environments.webshop.reward import alike, normal, score, title_share, type_reward
from dyna_training.environments.webshop.search import Index
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.splits import HELD_OUT
from dyna_training.environments.webshop.suggestions import searches
from dyna_training.environments.webshop.words import words as search_words
from dyna_training.rollouts import return_to_go
from dyna_training.sessions import Episode
from dyna_training.sessions import Session as LiveSession
from dyna_training.tools import environment_tools, task_message
from tests.data import webshop_data
from tests.training.environments.conformance import Conformance

GOALS = ("synthetic/3", "synthetic/17", "synthetic/100", "synthetic/2048", "human/0", "human/9")


def make_webshop() -> ForkableEnv:
    os.environ["WEBSHOP_DATA"] = str(webshop_data())
    return WebShopEnv(games=GOALS, max_steps=100)


def does_not_buy(env: ForkableEnv, command: str) -> bool:
    return command != "click[buy now]"


class TestWebShop(Conformance):
    make = staticmethod(make_webshop)
    steps = 10_000
    episodes = tuple({"game": game} for game in GOALS)
    harmless = staticmethod(does_not_buy)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return open_shop(webshop_data())


def record(asin: str = "B000000001", **changes: Any) -> dict[str, Any]:
    """Return a product as the original's files have it."""
    return {
        "asin": asin,
        "name": "Acme Running Shoes for Men",
        "category": "fashion",
        "query": "Running Shoes ",
        "product_category": "Clothing › Men › Shoes",
        "full_description": "Light shoes with a rubber sole.",
        "small_description": ["Rubber sole", "  ", "Machine washable"],
        "pricing": "$19.99 - $29.99",
        "customization_options": {
            "Color": [{"value": "Navy/White "}, {"value": "café crème"}, {"value": "a [b]"}],
            "Size": [{"value": "10"}, {"value": "11"}],
            "Style": None,
        },
        "images": ["x.jpg"],
        **changes,
    }


ATTRIBUTES = {
    "B000000001": {
        "attributes": ["rubber sole", "machine washable"],
        "instruction": "Find me machine washable running shoes with rubber sole",
        "instruction_attributes": ["machine washable", "rubber sole"],
    }
}


def folder_of(tmp_path: Path, *records: dict[str, Any]) -> Path:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "items_shuffle_1000.json").write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "items_ins_v2_1000.json").write_text(json.dumps(ATTRIBUTES), encoding="utf-8")
    return tmp_path


@pytest.fixture
def small(tmp_path: Path) -> Shop:
    other = record(
        "B000000002",
        name="Teapot of Glass",
        query="teapots",
        category="garden",
        pricing=None,
        full_description="Tea.",
        small_description="Glass",
        customization_options="",
    )
    return open_shop(folder_of(tmp_path, record(), other, record(), record("nan")))


def session(shop: Shop, *played: str, name: str = "synthetic/0", attributes_page: bool = False) -> Session:
    begun = Session(shop, name, attributes_page)
    for action in played:
        assert begun.act(action), action
    return begun


# Data files


def test_the_originals_files_are_read(small: Shop) -> None:
    product, other = small.products
    assert product.options == (("color", ("navy | white", "café crème", "a [b]")), ("size", ("10", "11")))
    assert (product.prices, product.price_tag) == ((19.99, 29.99), "$19.99 to $29.99")
    assert (other.prices, other.price_tag, other.attributes) == ((100.0,), "$100.0", ("DUMMY_ATTR",))
    assert (product.query, len(small.goals["synthetic"])) == ("running shoes", 6)


def test_both_forms_of_the_products_are_the_same(tmp_path: Path, shop: Shop) -> None:
    given = webshop_data() / "products-1000.jsonl.xz"
    if not given.is_file():
        pytest.skip("only the original's form is there")
    with lzma.open(given, "rt", encoding="utf-8") as lines:
        records = [json.loads(line)["product"] for line in lines]
    for product in records:
        product["pricing"] = "".join(f"${price}" for price in product["pricing"])
    (tmp_path / "items_shuffle_1000.json").write_text(json.dumps(records), encoding="utf-8")
    (tmp_path / "items_ins_v2_1000.json").symlink_to(webshop_data() / "items_ins_v2_1000.json")
    again = load_products(tmp_path)
    assert [dataclasses.astuple(product) for product in again] == [
        dataclasses.astuple(product) for product in shop.products
    ]


def test_missing_data_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBSHOP_DATA", raising=False)
    with pytest.raises(GameFileError, match=r"WEBSHOP_DATA is not set.*setup\.sh -d small.*Set WEBSHOP_DATA"):
        WebShopEnv(split="train")
    with pytest.raises(GameFileError, match=r"no WebShop products there.*items_shuffle_1000\.json"):
        WebShopEnv(split="train", data_dir=tmp_path)
    (tmp_path / "items_shuffle_1000.json").write_text("[]")
    with pytest.raises(GameFileError, match=r"items_ins_v2_1000\.json: missing, and it belongs to"):
        load_products(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[{"asin": "B000000001",\n "na', "line 2, column 2: no JSON, or truncated"),
        (b'[{"asin": "B\xff"}]', "not UTF-8 at byte 12"),
        (b"{}", "expected a list of products"),
        (b"[]", "no products in it"),
        (b'[{"asin": "B000000001"}]', "product 0: no product of WebShop: no '"),
        (b"[17]", "product 0: no product of WebShop"),
        (json.dumps([record(name=5)]).encode(), "product 0: .* its 'name' is 5 and not text"),
        (json.dumps([record(pricing="$.")]).encode(), "product 0: .* could not convert"),
        (json.dumps([record(customization_options={"Size": [{}]})]).encode(), "product 0: .* no 'value'"),
    ],
)
def test_a_broken_file_of_products_is_explained(content: bytes, message: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "items_shuffle_1000.json").write_bytes(content)
    with pytest.raises(GameFileError, match=rf"items_shuffle_1000\.json.*{message}"):
        load_products(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda packed, lines: packed[: len(packed) // 2],
            r"after line \d+: the file is truncated or corrupt",
        ),
        (lambda packed, lines: b"no xz at all", r"after line 0: the file is truncated or corrupt"),
        (lambda packed, lines: lzma.compress(lines[0] + b'\n{"product": {"as'), "line 2: no JSON"),
        (lambda packed, lines: lzma.compress(lines[0] + b"\n\xff\xfe"), "not UTF-8"),
        (lambda packed, lines: lzma.compress(lines[0] + b'\n{"id": 5}\n'), "line 2: no product of WebShop"),
        (lambda packed, lines: lzma.compress(lines[0] + b"\n[]\n"), "line 2: no product of WebShop"),
    ],
)
def test_a_broken_packed_file_is_explained(damage: Any, message: str, tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "items_shuffle_1000.json").unlink()
    rng = random.Random(0)
    noise = [record(f"B{number:09}", full_description=str(rng.random())) for number in range(3000)]
    lines = [json.dumps({"product": product}).encode() for product in noise]
    packed = lzma.compress(b"\n".join(lines))
    (tmp_path / "products-1000.jsonl.xz").write_bytes(damage(packed, lines))
    with pytest.raises(GameFileError, match=rf"products-1000\.jsonl\.xz.*{message}"):
        load_products(tmp_path)


def test_broken_attributes_are_explained(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, record())
    (folder / "items_ins_v2_1000.json").write_text("[]")
    with pytest.raises(GameFileError, match=r"items_ins_v2_1000\.json: expected an object"):
        load_products(folder)


# Search


def test_words_are_stemmed_as_lucene_does() -> None:
    text = "Men's T-Shirts, 3.5mm 12-pack: don't U.S.A. 1,000 foo_bar ½ ★ the running generously 中文 LOGIES"
    assert list(search_words(text)) == [
        *("men", "t", "shirt", "3.5mm", "12", "pack", "don't", "u.s.a", "1,000", "foo_bar", "★", "run"),
        *("gener", "中", "文", "logi"),
    ]


def test_search_ranks_by_rarity_then_frequency_and_breaks_ties_by_id() -> None:
    texts = {"b": "red shoes", "a": "red shoes", "c": "red red hat", "d": "blue coat", "e": "red"}
    ids, index = list(texts), Index(texts.items())
    assert [ids[number] for number in index.search("red shoe")][:2] == ["a", "b"]
    assert [ids[number] for number in index.search("red")][:2] == ["c", "e"]
    assert index.search("the of") == index.search("green") == index.search("") == ()
    assert len(index.search("red", most=2)) == 2


def test_a_title_finds_its_product(shop: Shop) -> None:
    found = [
        number in shop.index.search(product.title)[:3] for number, product in enumerate(shop.products[:200])
    ]
    assert sum(found) > 190


# Pages and clicks


def test_a_session_from_search_to_purchase(small: Shop) -> None:
    shopping = session(small)
    goal = shopping.goal
    assert shopping.page() == f"WebShop [SEP] Instruction: [SEP] {goal.instruction} [SEP] Search"
    assert shopping.act("search[shoes]")
    title = "B000000001 [SEP] Acme Running Shoes for Men [SEP] $19.99 to $29.99"
    assert (
        shopping.page()
        == f"Instruction: [SEP] {goal.instruction} [SEP] Back to Search [SEP] Page 1 (Total results: 1) [SEP] "
        f"Next > [SEP] {title}"
    )
    assert list(shopping.clickables()) == ["back to search", "next >", "b000000001"]
    assert shopping.act("click[B000000001]")
    assert shopping.page().endswith(
        "< Prev [SEP] color [SEP] navy | white [SEP] café crème [SEP] a [b] [SEP] size [SEP] 10 [SEP] 11 [SEP] "
        "Acme Running Shoes for Men [SEP] Price: $19.99 to $29.99 [SEP] Rating: N.A. [SEP] Description [SEP] Features "
        "[SEP] Reviews [SEP] Buy Now"
    )
    assert shopping.act("click[Features]")
    # White space without a line break leaves an empty piece, as in the original.
    assert shopping.page().endswith("< Prev [SEP] Rubber sole [SEP]  [SEP] Machine washable")
    for action in ("click[< prev]", "click[10]", "click[cafe creme]", "click[11]"):
        assert shopping.act(action)
    assert dict(shopping.state.options) == {"size": "11", "color": "café crème"}
    assert shopping.act("click[buy now]")
    assert shopping.page().startswith("Thank you for shopping with us! [SEP] Your code: [SEP] None")
    assert r'{"color": "caf\u00e9 cr\u00e8me", "size": "11"}' in shopping.page()
    assert not shopping.act("search[shoes]")
    assert shopping.clickables() == {}


def test_going_back_forgets_what_was_chosen(small: Shop) -> None:
    chosen = ("search[shoes]", "click[b000000001]", "click[10]")
    assert session(small, *chosen, "click[description]", "click[< prev]").state.options == (("size", "10"),)
    assert session(small, *chosen, "click[< prev]", "click[b000000001]").state.options == ()
    assert session(small, *chosen, "click[back to search]").state == session(small).state
    assert session(small, *chosen, "search[glass]").state.options == ()


def test_results_have_pages(shop: Shop) -> None:
    shopping = session(shop, "search[women shoes]")
    first = shopping.page()
    assert "< prev" not in shopping.clickables()
    for number in range(2, 7):
        assert shopping.act("click[next >]")
        assert f"Page {number} (Total results: 50)" in shopping.page()
    assert list(shopping.clickables()) == ["back to search", "< prev", "next >"], "after the last product"
    for _ in range(5):
        assert shopping.act("click[< prev]")
    assert shopping.page() == first
    listed = [name for name in shopping.clickables() if len(name) == 10]
    assert len(listed) == len(set(listed)) == 10


def test_the_page_of_attributes_is_there_on_demand(small: Shop) -> None:
    way = ("search[shoes]", "click[b000000001]")
    assert not session(small, *way).act("click[attributes]")
    shopping = session(small, *way, "click[attributes]", attributes_page=True)
    assert shopping.page().endswith(
        "rubber sole [SEP] machine washable [SEP] fashion [SEP] running shoes [SEP] Clothing › Men › Shoes"
    )


@pytest.mark.parametrize(
    "action",
    [
        *(
            "click[b999999999]",
            "click[purple]",
            "click[search]",
            "click[]",
            "click[buy now",
            "buy now",
            "Search[x]",
        ),
        *(" click[buy now]", "click [buy now]", "search[]", "click[a [b]]", "click[attributes]", "click[10"),
        *("search[" + "x" * 100_000 + "]", "[" * 100_000, "click[" * 20_000, "\udcff[\ud800]"),
    ],
)
def test_what_no_page_offers_changes_nothing(action: str, small: Shop) -> None:
    for way in ((), ("search[shoes]",), ("search[shoes]", "click[b000000001]", "click[10]")):
        shopping = session(small, *way)
        page, state = shopping.page(), shopping.state
        assert not shopping.act(action)
        assert (shopping.page(), shopping.state) == (page, state)


def test_doors_of_the_originals_authors_are_searches(small: Shop) -> None:
    there = ["B000000001"]
    for keywords, found in (
        ("<r>", []),
        ("<c> fashion", []),
        ("<a> rubber sole", there),
        ("<q> shoes", there),
    ):
        shopping = session(small, f"search[{keywords}]")
        assert [product.asin for product in shopping.listed()] == found


def test_observations_are_ascii_and_what_they_show_can_be_clicked_on(tmp_path: Path) -> None:
    env = WebShopEnv(games=["synthetic/0"], data_dir=folder_of(tmp_path, record()))
    env.reset(seed=0)
    for action in ("search[shoes]", "click[b000000001]"):
        observation, *_ = env.step(action)
    assert "cafe creme" in observation
    assert env.observation_space.contains(observation)
    assert "click[cafe creme]" in env.admissible()
    assert not any("[b]" in action for action in env.admissible()), "what no click can name"
    env.step("click[cafe creme]")
    assert "chosen: color cafe creme" in env.hidden_state()
    assert "\x1b[1;32mcafe creme\x1b[0m" in env.render()


# Goals


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


# Reward


def goal_of(product: Product, **changes: Any) -> Goal:
    goal = Goal(
        product, "", ("rubber sole", "machine washable"), (("color", "navy | white"), ("size", "10")), 30.0
    )
    return dataclasses.replace(goal, **changes)


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


# Splits


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


# Expert, tools, other commands


def test_the_oracle_gets_all_that_the_reward_gives(shop: Shop) -> None:
    """It buys the right product with the right options; the reward knows goals that not even these satisfy."""
    env = WebShopEnv(data_dir=webshop_data(), reward="score", max_steps=30, admissible_actions=False)
    rewards = []
    for number in range(0, 6910, 97):
        env.reset(seed=0, options={"game": f"synthetic/{number}"})
        expert = env.expert()
        for _ in range(30):
            action = expert.decide().action
            observation, worth, over, truncated, info = env.step(action)
            expert.observe(action, observation)
            assert not truncated
            if over:
                break
        bought, goal = env.session.state, env.session.goal
        assert shop.products[bought.product].asin == goal.product.asin
        if not info["won"]:
            assert bought.bought is not None
            assert (bought.bought.type, bought.bought.attributes, bought.bought.price) == (1.0, 1.0, True)
            assert set(dict(goal.options).values()) >= set(dict(bought.options).values())
        rewards.append(worth)
    assert sum(worth == 1.0 for worth in rewards) > 0.9 * len(rewards)
    assert sum(rewards) > 0.97 * len(rewards)


def test_the_oracle_leaves_what_no_click_chooses(tmp_path: Path) -> None:
    """Names of buttons, brackets, and what looks the same in ASCII as something else."""
    for value in ("description", "a [b]", "café", "search", "buy now"):
        options = {"Kind": [{"value": value}, {"value": "cafe"}]}
        env = WebShopEnv(data_dir=folder_of(tmp_path / value, record(customization_options=options)))
        env.reset(options={"game": "synthetic/0"})
        if not env.session.goal.instruction.partition("kind: ")[2].startswith(value):
            env.reset(options={"game": "synthetic/1"})
        expert = env.expert()
        for _ in range(4):
            action = expert.decide().action
            expert.observe(action, env.step(action)[0])
        assert env.session.state.page == "done", value


def test_suggested_searches_are_what_the_instruction_says() -> None:
    said = "Find me slim fit men's shorts with elastic waist with color: a[1], and price lower than 50.00 dollars"
    assert searches(said) == [
        "slim fit men's shorts with elastic waist with color: a 1",
        *("slim fit men's shorts", "elastic waist", "color: a 1"),
    ]


def test_inadmissible_commands_do_nothing() -> None:
    env, rng = make_webshop(), random.Random(0)
    env.reset(seed=0)
    for _ in range(40):
        before = env.hidden_state()
        env.step(env.inadmissible(rng))
        assert env.hidden_state() == before
        env.step(rng.choice([action for action in env.admissible() if does_not_buy(env, action)]))


def test_an_episode_is_cut_off() -> None:
    env = WebShopEnv(games=["synthetic/0"], data_dir=webshop_data(), max_steps=3)
    env.reset(seed=0)
    assert [env.step("search[shoes]")[2:4] for _ in range(3)] == [
        (False, False),
        (False, False),
        (False, True),
    ]


def test_gymnasium_and_tools_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSHOP_DATA", str(webshop_data()))
    env = gymnasium.make(WEBSHOP, split="dev")
    assert env.reset(seed=3)[1]["task"]
    [act] = environment_tools(WEBSHOP, split="dev")
    message = task_message(act, seed=0, options={"game": "synthetic/3"})
    assert "Find me" in str(message.content)
    config = {"configurable": {"thread_id": "1", "episode": message.additional_kwargs["episode"]}}
    assert "Total results" in act.invoke({"command": "search[shoes]"}, config)  # type: ignore[arg-type]


# Comparison


def transcript_of(shopping: Session, script: list[str]) -> dict[str, Any]:
    pages, clickables, rewards, done = [shopping.page()], [list(shopping.clickables())], [], []
    for action in script:
        bought = shopping.act(action) and shopping.state.bought
        pages.append(shopping.page())
        clickables.append(list(shopping.clickables()))
        rewards.append(bought.total if bought else 0.0)
        done.append(shopping.state.page == "done")
    return {"pages": pages, "clickables": clickables, "rewards": rewards, "done": done, "step_s": 1.0}


def test_the_comparison_finds_every_sort_of_difference(shop: Shop) -> None:
    script = actions(session(shop, name=GOALS[1]), 20, seed=0)
    assert script == actions(session(shop, name=GOALS[1]), 20, seed=0)
    assert len(script) > 20
    seen, report = transcript_of(session(shop, name=GOALS[1]), script), Report()
    compare(session(shop, name=GOALS[1]), script, seen, report)
    assert not any(report.differences.values())
    assert (report.steps, sum(report.rewards.values())) == (len(script), 1)
    seen["pages"][3] += " "
    seen["clickables"][4] = ["x"]
    seen["rewards"][-1] += 0.1
    seen["done"][5] = True
    compare(session(shop, name=GOALS[1]), script, seen, report)
    counted = {what: count for what, count in report.differences.items() if count}
    assert counted == {"pages": 1, "clickables": 1, "rewards": 1, "ends": 1}


def test_scripts_buy_well_and_badly(shop: Shop) -> None:
    worth, offered = [], 0
    for number in range(40):
        shopping = session(shop, name=f"synthetic/{number}")
        for action in actions(shopping, 15, seed=1):
            offered += shopping.act(action)
        assert shopping.state.bought is not None
        worth.append(shopping.state.bought.total)
    assert 10 < sum(total == 1.0 for total in worth) < 35
    assert len(set(worth)) > 4


@pytest.mark.parametrize(
    ("folder", "python", "message"),
    [
        ("web_agent_site", "/no/such/python", r"no such Python.*--python"),
        ("web_agent_site", "false", r"exit code 1.*Java.*requirements\.txt"),
        ("elsewhere", "false", r"no clone of princeton-nlp/WebShop"),
    ],
)
def test_a_missing_original_is_explained(
    folder: str, python: str, message: str, tmp_path: Path, shop: Shop
) -> None:
    (tmp_path / folder).mkdir()
    with pytest.raises(RuntimeError, match=message):
        check(
            tmp_path,
            python=python,
            shop=shop,
            kind="synthetic",
            sessions=1,
            steps=3,
            seed=0,
            cache=tmp_path / "cache",
        )
