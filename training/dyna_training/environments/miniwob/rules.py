"""What to do next in the tasks that have an expert: functions of the task, the page and the last action."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from dyna_training.environments.miniwob.seen import Element, Seen

Choice = tuple[str, str]
"""A thought and an action."""
Rule = Callable[[str, Seen, str], Choice | None]
"""From the task, the page and the last action to a choice; None where the rule does not know."""

_ORDER: Final = {"1st": 0, "2nd": 1, "3rd": 2}
_BY: Final = {"left": "-40,0", "right": "40,0", "up": "0,-40", "down": "0,40"}


def quoted(task: str) -> str:
    """Return what the task has in quotation marks."""
    found = re.search(r'"(.*?)"', task)
    return found[1] if found else ""


def chosen(task: str, end: str) -> str:
    """Return what stands in the task between ``Select`` and ``end``."""
    return task.removeprefix("Select ").rpartition(f" {end}")[0]


def ordinal(task: str) -> int:
    """Return which of several the task means, from 0; the first where it says nothing."""
    return next((place for word, place in _ORDER.items() if word in task), 0)


def click(element: Element | None, why: str) -> Choice | None:
    """Click on an element if it is there."""
    return None if element is None else (why, f"click [{element.ref}]")


def submit(seen: Seen, why: str = "All is as the task wants it") -> Choice | None:
    """Click on the last button."""
    buttons = seen.all("button")
    return click(buttons[-1] if buttons else None, f"{why}; I press the button.")


def fill(fields: Sequence[Element], seen: Seen, values: Sequence[str]) -> Choice | None:
    """Type values into fields, one after the other, and press the button."""
    for field, value in zip(fields, values, strict=False):
        if field.value != value:
            said = json.dumps(value)
            return f"The field has to contain {said}.", f"type [{field.ref}] {said}"
    return submit(seen)


# ---------------------------------------------------------------- clicking


def named(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on what has the label that the task quotes."""
    label = quoted(task)
    return click(seen.labelled(json.loads(f'"{label}"')), f'I see "{label}"; I click on it.')


def only_button(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on the button there is, or on the one that closes."""
    return click(seen.first(lambda one: one.kind == "button"), "I click on the button.")


def button_one_or_two(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on button ONE or TWO, or on both in this order."""
    wanted = re.findall("ONE|TWO", task)
    first = seen.labelled(wanted[0])
    if len(wanted) == 2 and first is not None and last == f"click [{first.ref}]":
        return click(seen.labelled(wanted[1]), "ONE was clicked, so TWO is next.")
    return click(first, f"The task wants {wanted[0]} clicked.")


def colour(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on the box of a colour."""
    wanted = task.split()[3]
    return click(seen.first(lambda one: one.says(wanted)), f"That box is {wanted}.")


def widget(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on a widget of a kind."""
    kinds = {"radio": "radio button", "text": "text field", "textarea": "text area"}
    kind = kinds.get(quoted(task), quoted(task))
    return click(next(iter(seen.all(kind)), None), f"That is a {kind}.")


def focus(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on a field."""
    return click(seen.all("field")[ordinal(task)], "A click gives the field the focus.")


def tab(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on a tab by its label."""
    wanted = task.removeprefix("Click on ").rstrip(".")
    return click(seen.labelled(wanted), f"I see {wanted}.")


def behind(task: str, seen: Seen, last: str) -> Choice | None:
    """Open one tab or section after the other until the page shows what the task quotes."""
    wanted = quoted(task)
    found = seen.first(lambda one: one.label == wanted and one.kind.startswith("span"))
    if found is not None:
        return click(found, f'I see "{wanted}"; I click on it.')
    parts = [one for one in seen.lines if re.fullmatch(r"(link|h3).*", one.kind)]
    opened = max((index for index, part in enumerate(parts) if part.says("open")), default=-1)
    following = parts[(opened + 1) % len(parts)] if parts else None
    return click(following, f'I do not see "{wanted}" here; I look into the next part.')


def expand(task: str, seen: Seen, last: str) -> Choice | None:
    """Open the section and press the button in it."""
    section = seen.first(lambda one: one.label.startswith("Section #"))
    if section is not None and not section.says("open"):
        return click(section, "The section is closed.")
    return submit(seen, "The section is open")


# ---------------------------------------------------------------- choosing


def boxes(task: str, seen: Seen, last: str) -> Choice | None:
    """Check the boxes that the task names, and no other."""
    wanted = chosen(task, "and click").split(", ")
    for box in [*seen.all("checkbox"), *seen.all("radio button")]:
        if (box.label in wanted) != box.says("checked"):
            return click(box, f'"{box.label}" has to be {"" if box.label in wanted else "un"}checked.')
    return submit(seen)


def listed(task: str, seen: Seen, last: str) -> Choice | None:
    """Select the options that the task names, and no other."""
    several = seen.all("list of several")
    wanted = chosen(task, "from the")
    for menu in [*several, *seen.all("list")]:
        for option, selected in menu.options.items():
            # Names have commas of their own.
            named_here = option == wanted or f", {option}, " in f", {wanted}, "
            if named_here != selected and (named_here or several):
                return f"{option} is {'not ' if named_here else ''}selected.", (
                    f"select [{menu.ref}] {json.dumps(option)}"
                )
    return submit(seen)


# ---------------------------------------------------------------- typing


def typed(value: Callable[[str, Seen], str]) -> Rule:
    """Return the rule that types one value into every field and presses the button."""

    def rule(task: str, seen: Seen, last: str) -> Choice | None:
        fields = seen.all("field")
        return fill(fields, seen, [value(task, seen)] * len(fields))

    return rule


def cased(task: str, seen: Seen) -> str:
    """Return the quoted text in the case that the task wants."""
    return quoted(task).upper() if "upper case" in task else quoted(task).lower()


def date(task: str, seen: Seen) -> str:
    """Return the date of the task as a field shows it."""
    month, day, year = re.findall(r"\d+", task)
    return f"{year}-{month}-{day}"


def time(task: str, seen: Seen) -> str:
    """Return the time of the task as a field shows it."""
    hour, minute, half = re.findall(r"(\d+):(\d+) ([AP])M", task)[0]
    return f"{int(hour) % 12 + (12 if half == 'P' else 0):02}:{minute}"


def arithmetic(task: str, seen: Seen) -> str:
    """Return the result of a problem such as ``3 x 4 =``."""
    one, sign, other = seen.texts[0].split()[:3]
    a, b = int(one), int(other)
    return str({"+": a + b, "-": a - b, "x": a * b}[sign])


def algebra(task: str, seen: Seen) -> str:
    """Return x of an equation such as ``3 + x = 20``."""
    one, sign, other, _, result = seen.texts[0].split()
    if one == "x":
        return str(int(result) - int(other) if sign == "+" else int(result) + int(other))
    return str(int(result) - int(one) if sign == "+" else int(one) - int(result))


def table(seen: Seen) -> dict[str, str]:
    """Return the rows of a table of two columns."""
    rows = [text.split(" | ") for text in seen.texts]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def value_of_row(task: str, seen: Seen) -> str:
    """Return the value in the row that the task names."""
    return table(seen).get(task.removeprefix("Enter the value of ").partition(" into ")[0], "")


def rows(task: str, seen: Seen, last: str) -> Choice | None:
    """Type into each field the value of the row that its label names."""
    labels = [text.rstrip(":") for text in seen.texts if text.endswith(":")]
    return fill(seen.all("field"), seen, [table(seen).get(label, "") for label in labels])


def copied(task: str, seen: Seen, last: str) -> Choice | None:
    """Type what a text area contains into the text field."""
    return into_text_field(seen, seen.all("text area")[ordinal(task)].value)


def last_word(task: str, seen: Seen, last: str) -> Choice | None:
    """Type the last word of a text area into the text field."""
    return into_text_field(seen, seen.all("text area")[0].value.split()[-1].rstrip(".,"))


def into_text_field(seen: Seen, text: str) -> Choice | None:
    """Type a value into the text field, beside which there may be text areas, and press the button."""
    return fill(seen.all("text field"), seen, [text])


def login(task: str, seen: Seen, last: str) -> Choice | None:
    """Type the name and the password that the task quotes."""
    return fill(seen.all("field"), seen, re.findall(r'"(.*?)"', task))


# ---------------------------------------------------------------- the rest


def highlight(task: str, seen: Seen, last: str) -> Choice | None:
    """Select the text of a paragraph and press the button."""
    paragraphs = [line for line in seen.lines if line.ref and line.kind not in ("button", "link")]
    wanted = f"highlight [{paragraphs[ordinal(task)].ref}]"
    return submit(seen, "The text is selected") if last == wanted else ("That is the text.", wanted)


def drag(task: str, seen: Seen, last: str) -> Choice | None:
    """Drag the one shape that the task speaks of."""
    direction = next(word for word in _BY if f" {word} " in task)
    shape = seen.first(lambda one: one.says("coloured"))
    if shape is None:
        return None
    wanted = f"drag [{shape.ref}] by {_BY[direction]}"
    if last == wanted:
        return submit(seen, "The shape was dragged")
    return f"The shape has to go {direction}.", wanted


def generate(task: str, seen: Seen, last: str) -> Choice | None:
    """Generate numbers until one is as the task wants it."""
    shown = next((int(text) for text in seen.texts if text.isdigit()), None)
    limit = next((int(word.strip(",")) for word in task.split() if word.strip(",").isdigit()), 0)
    if shown is not None and (
        ("less" in task and shown < limit)
        or ("greater" in task and shown > limit)
        or ("odd" in task and shown % 2 == 1)
        or ("even" in task and shown % 2 == 0)
    ):
        return submit(seen, f"{shown} is such a number")
    return click(seen.labelled("Generate"), "That is no such number yet.")


def spin(task: str, seen: Seen, last: str) -> Choice | None:
    """Click on the arrow of a spinner until it shows the number."""
    wanted, shown = int(task.split()[1]), seen.all("field")[0].value
    if shown == str(wanted):
        return submit(seen)
    arrow = "up" if not shown.lstrip("-").isdigit() or int(shown) < wanted else "down"
    found = seen.first(lambda one: f"ui-spinner-{arrow}" in one.state)
    return click(found, f"It shows {shown or 'nothing'} and has to show {wanted}.")


def mail(icon: str) -> Rule:
    """Return the rule that clicks on an icon of the mail of a sender."""

    def rule(task: str, seen: Seen, last: str) -> Choice | None:
        sender = task.partition(" by ")[2].partition(" and ")[0]
        found = seen.after(sender, lambda one: one.kind.startswith(icon))
        return click(found, f"That is the mail by {sender}.")

    return rule


EXPERTS: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "click-button": named,
        "click-button-sequence": button_one_or_two,
        "click-checkboxes": boxes,
        "click-checkboxes-large": boxes,
        "click-checkboxes-transfer": boxes,
        "choose-list": listed,
        "click-collapsible": expand,
        "click-collapsible-nodelay": expand,
        "click-collapsible-2": behind,
        "click-collapsible-2-nodelay": behind,
        "click-color": colour,
        "click-dialog": only_button,
        "click-dialog-2": lambda task, seen, last: (
            named(task, seen, last) if quoted(task) != "x" else only_button(task, seen, last)
        ),
        "click-link": named,
        "click-option": boxes,
        "click-scroll-list": listed,
        "click-tab": tab,
        "click-tab-2": behind,
        "click-tab-2-easy": behind,
        "click-tab-2-hard": behind,
        "click-tab-2-medium": behind,
        "click-test": only_button,
        "click-test-2": button_one_or_two,
        "click-test-transfer": button_one_or_two,
        "click-widget": widget,
        "copy-paste": copied,
        "copy-paste-2": copied,
        "drag-circle": drag,
        "drag-single-shape": drag,
        "email-inbox-delete": mail("span.trash"),
        "email-inbox-important": mail("span.star"),
        "enter-date": typed(date),
        "enter-password": typed(lambda task, seen: quoted(task)),
        "enter-text": typed(lambda task, seen: quoted(task)),
        "enter-text-2": typed(cased),
        "enter-text-dynamic": typed(lambda task, seen: quoted(task)),
        "enter-time": typed(time),
        "focus-text": focus,
        "focus-text-2": focus,
        "generate-number": generate,
        "highlight-text": highlight,
        "highlight-text-2": highlight,
        "login-user": login,
        "read-table": typed(value_of_row),
        "read-table-2": rows,
        "scroll-text": last_word,
        "simple-algebra": typed(algebra),
        "simple-arithmetic": typed(arithmetic),
        "text-transform": typed(lambda task, seen: seen.texts[0].replace(" ", "")),
        "unicode-test": named,
        "use-spinner": spin,
    }
)
"""Tasks that have an expert."""
