"""What ``dyna eval world-model`` shows: tables on the screen, a Markdown report, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from dyna_training.evaluation.figures import ENOUGH
from dyna_training.evaluation.written import write_results

Figures = dict[str, Any]

METHOD = """
Greedy decoding after the real history, {dtype}; brackets are 95 % bootstrap intervals over games. EM counts a
step when observation and success flag are both right; macro is the mean over action types. *determined* are steps
whose observation follows from the history, *first look* those that show something for the first time, *hidden*
those that depend on something else that the history does not tell. F1 is word-level. *rules* knows the rules of
the games by heart, guesses by template what the history leaves open, and never predicts success: a yardstick,
not a baseline.
""".strip()
HARD = """
*imagined* is the flag of the imagined outcome, *after* the one that is predicted after the real observation.
Hard precision is over successes and near misses alone, probes included: episodes in which an expert pursues
almost the right task (without heating, cooling or cleaning; one of two objects; another object) up to the step
that would complete it.
""".strip()

REWARDS = """
*reward* counts a step when the predicted reward is the real one to three decimals, *reward told* only steps whose
reward success does not say; an answer without a reward predicts 1 with success, else 0. *end* is the end of the
episode, *failures found* the share of ends without success that were predicted.
""".strip()


def percent(interval: Figures | None) -> str:
    """Write an interval of a share: ``93.1 [91.0, 95.2]``, in percent."""
    return number(interval, scale=100, digits=1)


def number(interval: Figures | None, *, scale: float = 1, digits: int = 2) -> str:
    """Write an interval; ``–`` where there is no figure, no bounds where there are none."""
    if interval is None or interval["value"] is None:
        return "–"
    text = f"{interval['value'] * scale:.{digits}f}"
    if interval["low"] is None:
        return text
    return f"{text} [{interval['low'] * scale:.{digits}f}, {interval['high'] * scale:.{digits}f}]"


def overview(results: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the main table: every model in every context."""
    head = [
        "model",
        "context",
        "games",
        "EM micro",
        "EM macro",
        "determined",
        "first look",
        "hidden",
        "F1",
        "−log p/token",
    ]
    rows = []
    for model in results["models"]:
        for context, found in model["contexts"].items():
            parts = found["slices"]["knowledge"]
            rows.append(
                [
                    model["name"],
                    context,
                    str(model["games"]),
                    percent(found["em"]),
                    percent(found["em_macro"]),
                    percent(parts.get("determined", {}).get("em")),
                    percent(parts.get("first look", {}).get("em")),
                    percent(parts.get("hidden", {}).get("em")),
                    percent(found["f1"]),
                    number(found["surprise_per_token"], digits=3),
                ]
            )
    return head, rows


def flags(results: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table about success flags."""
    head = [
        "model",
        "context",
        "flag",
        "precision",
        "recall",
        "precision, hard",
        "near misses taken for success",
    ]
    names = ("precision", "recall", "precision_hard", "near_miss_false_alarms")
    rows = [
        [model["name"], context, way, *(percent(found["flag"][way][name]) for name in names)]
        for model in results["models"]
        for context, found in model["contexts"].items()
        for way in ("imagined", "after")
        if way in found["flag"]
    ]
    return head, rows


def rewards(results: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table about reward and end; no rows where success says all of them."""
    head = ["model", "context", "reward", "reward told", "end: precision", "recall", "failures found"]
    rows = []
    for model in results["models"]:
        for context, found in model["contexts"].items():
            figures = found.get("rewards", {})
            reward, end = figures.get("reward", {}), figures.get("end", {})
            if figures:
                shares = [reward.get("accuracy"), reward.get("accuracy_told")]
                shares += [end.get(name) for name in ("precision", "recall", "recall_without_success")]
                rows.append([model["name"], context, *map(percent, shares)])
    return head, rows


def values(results: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table about returns and confidence."""
    head = ["model", "context", "read off", "r", "mean error", "error of a constant", "calibration error"]
    rows = []
    for model in results["models"]:
        for context, found in model["contexts"].items():
            for name, value in found["value"].items():
                if name != "constant":
                    rows.append(
                        [
                            model["name"],
                            context,
                            name,
                            number(value["r"]),
                            number(value["mae"], digits=3),
                            number(found["value"]["constant"]["mae"], digits=3),
                            number(found["confidence"].get("ece"), digits=3) if name == "imagined" else "",
                        ]
                    )
    return head, rows


def parts(found: Figures, by: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of one split of one model's exact match."""
    rows = [
        [name, str(part["em"]["steps"]), percent(part["em"]), percent(part["f1"])]
        for name, part in sorted(
            found["slices"].get(by, {}).items(), key=lambda item: -item[1]["em"]["steps"]
        )
    ]
    return [by.replace("_", " "), "steps", "EM", "F1"], rows


def false_alarms(found: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of near misses, probes included, that one model takes for success."""
    ways = [way for way in ("imagined", "after") if way in found["flag"]]
    by = {way: found["flag"][way]["false_alarms_by_task_type"] for way in ways}
    kinds = sorted({kind for shares in by.values() for kind in shares})
    head = ["task type", "near misses", *(f"{way}, %" for way in ways)]
    rows = []
    for kind in kinds:
        counts = [str(by[way][kind]["steps"]) for way in ways if kind in by[way]]
        rows.append([kind, " / ".join(dict.fromkeys(counts)), *(percent(by[way].get(kind)) for way in ways)])
    return head, rows


def differences(results: Figures) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of paired differences."""
    rows = [
        [f"{d['first']} − {d['second']}", context, percent(found["em"]), percent(found["em_macro"])]
        for d in results["differences"]
        for context, found in d["contexts"].items()
    ]
    return ["difference", "context", "EM micro", "EM macro"], rows


def about(results: Figures) -> list[str]:
    """Return sentences about what was measured on what."""
    on, flag = results["episodes"], _flag_counts(results)
    lines = [
        f"Episodes: {on['trajectories']} of {on['games']} games ({on['split']}), {on['steps']} steps; "
        f"digest `{on['digest'][:16]}`.",
        f"Success flag: {flag['successes']} successes, {flag['near_misses']} near misses in the mixture, "
        f"{flag['near_miss_probes']} probes"
        + ("." if flag["enough"] else f": fewer than {ENOUGH} of a kind, so underpowered."),
    ]
    lines += [
        f"Teacher forcing checked by generating ({v['model']}, {v['context']}): "
        f"{v['agree']} of {v['steps']} steps agree."
        for v in results["verified"]
    ]
    return lines


def screen(results: Figures) -> Iterator[Any]:
    """Yield what is shown in the terminal."""
    yield from about(results)
    for title, (head, rows) in (
        ("Exact match, % [95 % interval by game]", overview(results)),
        ("Success flag, %", flags(results)),
        ("Reward and end, %", rewards(results)),
        ("Return-to-go and confidence", values(results)),
        ("Paired differences of exact match, points", differences(results)),
    ):
        if rows:
            yield _table(title, head, rows)
    for model in results["models"][: max(1, len(results["settings"]["adapters"]))][-1:]:
        for context, found in model["contexts"].items():
            yield _table(f"{model['name']}, {context}: by action type, %", *parts(found, "action_type"))


def markdown(results: Figures, figures: list[str], command: str) -> str:
    """Return the report.

    Args:
        results: What `evaluate` returned.
        figures: Names of picture files beside the report.
        command: The command that made it.
    """
    settings = results["settings"]
    lines = [
        "# World models, measured",
        "",
        f"    {command}",
        "",
        *(f"{line}  " for line in about(results)),
        "",
    ]
    lines += [
        METHOD.format(dtype=settings["dtype"]),
        "",
        *_markdown_table(*overview(results)),
        "",
        "## Success flag",
        "",
        HARD,
        "",
        *_markdown_table(*flags(results)),
        "",
    ]
    head, rows = rewards(results)
    lines += ["## Reward and end", "", REWARDS, "", *_markdown_table(head, rows), ""] if rows else []
    lines += [
        "## Return-to-go and confidence",
        "",
        *_markdown_table(*values(results)),
        "",
    ]
    if results["differences"]:
        lines += ["## Paired differences, points", "", *_markdown_table(*differences(results)), ""]
    lines += [f"![{name}]({name})\n" for name in figures]
    for model in results["models"][: max(1, len(settings["adapters"]))][-1:]:
        for context, found in model["contexts"].items():
            lines += [f"## {model['name']}, {context}", ""]
            for by in found["slices"]:
                head, rows = parts(found, by)
                lines += [*_markdown_table(head, rows), ""] if rows else []
            head, rows = false_alarms(found)
            lines += ["Near misses taken for success:", "", *_markdown_table(head, rows), ""] if rows else []
            lines += [*_mistakes(found["mistakes"])] if found["mistakes"] else []
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    return "\n".join([*lines, f"Versions: {versions}.", ""])


def write(results: Figures, out: Path, command: str) -> list[Path]:
    """Write ``results.json``, ``report.md`` and the pictures, and return their paths."""
    from dyna_training.evaluation.plots import draw

    return write_results(results, out, command, draw=draw, markdown=markdown)


def _flag_counts(results: Figures) -> Figures:
    first = results["models"][0]["contexts"]
    counts: Figures = next(iter(first.values()))["flag"]
    return counts


def _mistakes(kinds: list[Figures]) -> Iterator[str]:
    yield from ("### Mistakes", "")
    for kind in kinds:
        yield from (f"**{kind['kind']}** ({kind['count']})", "")
        for example in kind["examples"]:
            yield f"* `{example['action']}`"
            yield f"  * predicted: {_inline(example['predicted'])}"
            yield f"  * real: {_inline(example['real'])}"
        yield ""


def _inline(text: str) -> str:
    return "`" + text.replace("`", "'").replace("\n", " ⏎ ") + "`"


def _markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _table(title: str, head: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*row)
    return table
