"""Products and what is read of them: the files of the original project, each error with its file and place."""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_training.environments.base import GameFileError

CATALOGUES: Final[tuple[tuple[str, str], ...]] = (
    ("items_shuffle_1000.json", "items_ins_v2_1000.json"),
    ("products-1000.jsonl.xz", "items_ins_v2_1000.json"),
    ("items_shuffle.json", "items_ins_v2.json"),
)
"""Names of files: products, and their attributes with the instructions written for them."""
HUMAN_FILE: Final = "items_human_ins.json"
"""Name of the file of instructions that people wrote."""
HOW_TO_GET: Final = (
    "Get items_shuffle_1000.json, items_ins_v2_1000.json and, for human goals, items_human_ins.json: `setup.sh -d "
    "small` of the project princeton-nlp/WebShop downloads them into its folder data. Set WEBSHOP_DATA to that folder."
)
_DEFAULT_PRICE: Final = 100.0
_LONGEST_ID: Final = 10

Options = tuple[tuple[str, tuple[str, ...]], ...]


class Written(NamedTuple):
    """An instruction that a person wrote, and the attributes and options that it asks for."""

    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str | tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """One product.

    Attributes:
        asin: Id.
        title: Its name.
        category: One of a handful of departments.
        query: What was searched for when the product was found, in lower case.
        product_category: Departments from the largest to the smallest, separated by ``›``.
        description: Long text.
        bullets: Short texts.
        prices: One price, or the lowest and the highest.
        options: What can be chosen: name and values of each.
        attributes: Attributes that were found in its texts.
        instruction: What a user is to ask for who wants this product; empty where none was made up.
        wanted: Those of `attributes` that the instruction asks for.
        human: Instructions that people wrote.
    """

    asin: str
    title: str
    category: str
    query: str
    product_category: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    options: Options
    attributes: tuple[str, ...]
    instruction: str = ""
    wanted: tuple[str, ...] = ()
    human: tuple[Written, ...] = ()

    @property
    def price_tag(self) -> str:
        """The price as pages show it."""
        return " to ".join(f"${price}" for price in self.prices)


def data_files(data_dir: str | Path | None = None) -> tuple[Path, Path, Path]:
    """Return the files of products, attributes and human instructions; the last one need not exist.

    Args:
        data_dir: Folder with the files, or the file of products; default ``$WEBSHOP_DATA``. Of a folder that has both,
            the thousand products are taken rather than all of them, as the original does.

    Raises:
        GameFileError: They are not there.
    """
    given = data_dir or os.environ.get("WEBSHOP_DATA")
    if not given:
        raise GameFileError(f"WEBSHOP_DATA is not set: no WebShop data. {HOW_TO_GET}")
    place = Path(given).expanduser()
    folder = place.parent if place.is_file() else place
    for products, attributes in CATALOGUES:
        if (place.name == products) if place.is_file() else (place / products).is_file():
            if not (folder / attributes).is_file():
                raise GameFileError(
                    f"{folder / attributes}: missing, and it belongs to {products}. {HOW_TO_GET}"
                )
            return folder / products, folder / attributes, folder / HUMAN_FILE
    raise GameFileError(f"{place}: no WebShop products there. {HOW_TO_GET}")


def load_products(data_dir: str | Path | None = None) -> list[Product]:
    """Read all products, in the order of the file and each id once.

    Args:
        data_dir: See `data_files`.

    Raises:
        GameFileError: A file is missing, truncated, not UTF-8, or not what it should be; the message says where.
    """
    products_file, attributes_file, human_file = data_files(data_dir)
    attributes = _mapping(attributes_file)
    human = _mapping(human_file) if human_file.is_file() else {}
    found: dict[str, Product] = {}
    for place, record in records(products_file):
        try:
            asin = record["asin"]
            if asin == "nan" or len(asin) > _LONGEST_ID or asin in found:
                continue
            found[asin] = _product(record, attributes.get(asin) or {}, human.get(asin))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise GameFileError(f"{place}: no product of WebShop: {reason}.") from error
    if not found:
        raise GameFileError(f"{products_file}: no products in it. {HOW_TO_GET}")
    return list(found.values())


def _product(record: Mapping[str, Any], attributes: Mapping[str, Any], human: Any) -> Product:
    bullets = record["small_description"]
    if attributes.get("instruction") and not attributes.get("instruction_attributes"):
        raise ValueError("its instruction asks for no attributes")
    return Product(
        asin=record["asin"],
        title=_text(record, "name"),
        category=_text(record, "category"),
        query=_text(record, "query").lower().strip(),
        product_category=_text(record, "product_category"),
        description=_text(record, "full_description"),
        bullets=tuple(map(str, bullets)) if isinstance(bullets, list) else (str(bullets),),
        prices=_prices(record.get("pricing")),
        options=_options(record["customization_options"]),
        # The original puts this in place of none; it is shown on the page of attributes.
        attributes=tuple(attributes.get("attributes", ("DUMMY_ATTR",))),
        instruction=attributes.get("instruction") or "",
        wanted=tuple(attributes.get("instruction_attributes") or ()),
        human=tuple(map(_written, human or record.get("instructions") or ())),
    )


def _written(record: Mapping[str, Any]) -> Written:
    options = record["instruction_options"]
    wishes = tuple(options.items()) if isinstance(options, dict) else tuple(options)
    return Written(record["instruction"].strip("."), tuple(record["instruction_attributes"]), wishes)


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"its {key!r} is {value!r} and not text")
    return value


def _prices(pricing: Any) -> tuple[float, ...]:
    """Return prices of the original's text, ``$19.99 - $27.99``, or of its search engine's numbers."""
    if not pricing:
        return (_DEFAULT_PRICE,)
    if isinstance(pricing, str):
        pricing = [re.sub(r"[^\d.]", "", price) for price in pricing.split("$")[1:]]
    return tuple(float(price) for price in pricing[:2])


def _options(options: Mapping[str, Any]) -> Options:
    found: dict[str, tuple[str, ...]] = {}
    for name, contents in (options or {}).items():
        if contents is not None:
            values = (content["value"].strip().replace("/", " | ").lower() for content in contents)
            found[name.lower()] = tuple(values)
    return tuple(found.items())


def records(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each product of a file as it is written there, and the place where it stands.

    Raises:
        GameFileError: The file is truncated, not UTF-8, or not what it should be.
    """
    if file.suffix == ".json":
        content = _json(file)
        if not isinstance(content, list):
            raise GameFileError(f"{file}: expected a list of products. {HOW_TO_GET}")
        for number, record in enumerate(content):
            yield f"{file}, product {number}", record
        return
    number = 0
    try:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield f"{file}, line {number}", json.loads(line)["product"]
    except json.JSONDecodeError as error:
        raise GameFileError(f"{file}, line {number}: no JSON: {error.msg}. {HOW_TO_GET}") from error
    except UnicodeDecodeError as error:
        raise GameFileError(
            f"{file}, after line {number}: not UTF-8 ({error.reason}). {HOW_TO_GET}"
        ) from error
    except (KeyError, TypeError) as error:
        raise GameFileError(f"{file}, line {number}: no product of WebShop: {error}. {HOW_TO_GET}") from error
    except (EOFError, lzma.LZMAError) as error:
        raise GameFileError(
            f"{file}, after line {number}: the file is truncated or corrupt. {HOW_TO_GET}"
        ) from error


def _mapping(file: Path) -> Mapping[str, Any]:
    content = _json(file)
    if not isinstance(content, dict):
        raise GameFileError(f"{file}: expected an object with ids of products as keys. {HOW_TO_GET}")
    return content


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes().decode("utf-8"))
    except json.JSONDecodeError as error:
        where = f"{file}, line {error.lineno}, column {error.colno}"
        raise GameFileError(f"{where}: no JSON, or truncated: {error.msg}. {HOW_TO_GET}") from error
    except UnicodeDecodeError as error:
        raise GameFileError(f"{file}: not UTF-8 at byte {error.start}. {HOW_TO_GET}") from error


def documents(products: Sequence[Product]) -> Iterator[tuple[str, str]]:
    """Yield id and text of each product, as they are searched."""
    for product in products:
        named = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product.options)
        parts = (product.title, product.description, (*product.bullets, "")[0], named)
        yield product.asin, " ".join(parts).lower()
