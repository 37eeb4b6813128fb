"""A customer's session: a small state, and what searching and clicking make of it.

Rules are the original's: ``search[…]`` works on every page, a click only on what the page offers, in any case of
letters and, beyond the original, without accents; anything else leaves the page as it is. The original's doors for its
authors, searches that begin with ``<r>``, ``<a>``, ``<c>`` or ``<q>``, are ordinary searches here: they would show what
is hidden, or draw at random.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from dyna_training.environments.text import plain
from dyna_training.environments.webshop import pages
from dyna_training.environments.webshop.goals import Goal
from dyna_training.environments.webshop.products import Product
from dyna_training.environments.webshop.reward import Score, score
from dyna_training.environments.webshop.shop import PAGE, Shop, parse

LONGEST: Final = 2000
"""Characters of an action; a longer one does nothing."""
_ACTION = re.compile(r"(.+)\[(.+)\]")


@dataclass(frozen=True, slots=True)
class State:
    """Where a session stands.

    Attributes:
        page: Kind of page.
        keywords: What was searched for last.
        results: Numbers of the products found.
        number: Of the page of results, from 1.
        product: Number of the product looked at; -1 for none.
        options: Chosen values by name, in the order of choice.
        sub_page: Name of the page about the product.
        bought: What the purchase was worth.
    """

    page: Literal["search", "results", "item", "sub_page", "done"] = "search"
    keywords: str = ""
    results: tuple[int, ...] = ()
    number: int = 0
    product: int = -1
    options: tuple[tuple[str, str], ...] = ()
    sub_page: str = ""
    bought: Score | None = None


@dataclass(slots=True)
class Session:
    """One customer with one goal.

    Attributes:
        shop: The shop.
        name: Name of the goal.
        attributes_page: Whether products have a page of attributes.
        state: Where the session stands.
    """

    shop: Shop
    name: str
    attributes_page: bool = False
    state: State = State()

    @property
    def goal(self) -> Goal:
        """What is to be bought."""
        return self.shop.goal(self.name)

    @property
    def product(self) -> Product:
        """The product looked at."""
        return self.shop.products[self.state.product]

    def fork(self) -> Session:
        """Return an independent session in the same state."""
        return Session(self.shop, self.name, self.attributes_page, self.state)

    def act(self, action: str) -> bool:
        """Do what an action says.

        Args:
            action: Any text.

        Returns:
            Whether the page offers it.
        """
        match = _ACTION.match(action) if len(action) <= LONGEST else None
        if match is None or self.state.page == "done":
            return False
        verb, argument = match[1], match[2].lower()
        if verb == "search":
            self._search(argument)
        elif verb == "click" and (name := self.meant(argument)) is not None:
            self._click(name)
        else:
            return False
        return True

    def page(self) -> str:
        """Return what the page says."""
        state, instruction = self.state, self.goal.instruction
        match state.page:
            case "search":
                return pages.search_page(instruction)
            case "results":
                return pages.results_page(instruction, self.listed(), state.number, len(state.results))
            case "item":
                return pages.item_page(instruction, self.product, self.attributes_page)
            case "sub_page":
                return pages.sub_page(instruction, self.product, state.sub_page)
            case "done":
                total = state.bought.total if state.bought else 0.0
                return pages.done_page(self.product.asin, dict(state.options), total)

    def listed(self) -> list[Product]:
        """Return the products on the page of results."""
        first = (self.state.number - 1) * PAGE
        return [self.shop.products[number] for number in self.state.results[first : first + PAGE]]

    def clickables(self) -> dict[str, str]:
        """Return what can be clicked on, in the page's order; of an option, the name of what is chosen by it."""
        state = self.state
        match state.page:
            case "search":
                buttons = [pages.SEARCH]
            case "results":
                back = [pages.PREV] if state.number > 1 else []
                buttons = [pages.BACK, *back, pages.NEXT, *(product.asin for product in self.listed())]
            case "item":
                buttons = [pages.BACK, pages.PREV, *pages.sub_pages(self.attributes_page), pages.BUY]
            case "sub_page":
                buttons = [pages.BACK, pages.PREV]
            case "done":
                buttons = []
        found = {button.lower(): "" for button in buttons}
        if state.page == "item":
            # Of equal values of two options, the later one is chosen by the click.
            found.update((value, name) for name, values in self.product.options for value in values)
        return found

    def meant(self, name: str) -> str | None:
        """Return what is clicked on by a name; the name in printable ASCII, as pages are shown, will do.

        Args:
            name: In lower case.

        Returns:
            The name itself, or None where the page does not offer it.
        """
        offered = self.clickables()
        if name == pages.SEARCH.lower():
            return None
        return name if name in offered else next((other for other in offered if plain(other) == name), None)

    def _search(self, keywords: str) -> None:
        self.state = State("results", keywords, self.shop.index.search(keywords), 1)

    def _click(self, name: str) -> None:
        state = self.state
        if name == pages.BUY.lower():
            self._buy()
        elif name == pages.BACK.lower():
            self.state = State()
        elif state.page == "results":
            self._click_result(name)
        elif name == pages.PREV.lower():
            if state.page == "item":
                self.state = State("results", state.keywords, state.results, state.number)
            else:
                self.state = replace(state, page="item", sub_page="")
        elif name.capitalize() in pages.SUB_PAGES:
            self.state = replace(state, page="sub_page", sub_page=name.capitalize())
        else:
            chosen = {**dict(state.options), self.clickables()[name]: name}
            self.state = replace(state, options=tuple(chosen.items()))

    def _click_result(self, name: str) -> None:
        state = self.state
        if name == pages.NEXT.lower():
            self.state = replace(state, number=state.number + 1)
        elif name == pages.PREV.lower():
            self.state = replace(state, number=state.number - 1)
        else:
            self.state = replace(state, page="item", product=self.shop.by_asin[name])

    def _buy(self) -> None:
        price = self.shop.prices[parse(self.name)[0]][self.product.asin]
        chosen = dict(self.state.options).values()
        bought = score(self.product, chosen, price, self.goal, self.shop.nouns)
        self.state = replace(self.state, page="done", bought=bought)
