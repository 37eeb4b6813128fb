"""WebShop: pages, and what is clicked on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_training.environments.webshop import Shop, WebShopEnv
from tests.training.environments.webshop.shops import folder_of, record, session


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
