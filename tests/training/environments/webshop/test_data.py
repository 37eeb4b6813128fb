"""WebShop: the original's files, whole and broken, and the search over them."""

from __future__ import annotations

import dataclasses
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.base import GameFileError
from dyna_training.environments.webshop import Shop, WebShopEnv
from dyna_training.environments.webshop.products import load_products
from dyna_training.environments.webshop.search import Index
from dyna_training.environments.webshop.words import words as search_words
from tests.data import webshop_data
from tests.training.environments.webshop.shops import folder_of, record


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
