"""Small shops, and sessions in them, for the tests of WebShop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from dyna_training.environments.webshop import Shop
from dyna_training.environments.webshop.goals import Goal
from dyna_training.environments.webshop.products import Product
from dyna_training.environments.webshop.session import Session


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


def session(shop: Shop, *played: str, name: str = "synthetic/0", attributes_page: bool = False) -> Session:
    begun = Session(shop, name, attributes_page)
    for action in played:
        assert begun.act(action), action
    return begun


def goal_of(product: Product, **changes: Any) -> Goal:
    goal = Goal(
        product, "", ("rubber sole", "machine washable"), (("color", "navy | white"), ("size", "10")), 30.0
    )
    return dataclasses.replace(goal, **changes)
