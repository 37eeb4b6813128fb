"""What an abbreviation is worth in tokens, with intervals, and how often it could not be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dyna_training.traces.abbreviating import Outcome

REPORT: Final = "report.md"
ALL: Final = "all"


def figures(outcomes: Sequence[Outcome], *, seed: int = 0) -> dict[str, Any]:
    """Return the figures over all turns, over the turns that were long enough to shorten, and by group.

    Intervals are 95 %, bootstrapped by trajectory. ``ratio`` is tokens after over tokens before, summed.

    Args:
        outcomes: What became of each turn.
        seed: Seeds the bootstrap.
    """
    groups = {ALL: list(outcomes), "longer turns": [o for o in outcomes if o.became != "untouched"]}
    names = sorted({o.group for o in outcomes})
    if 1 < len(names) <= 12:
        groups |= {name: [o for o in outcomes if o.group == name] for name in names}
    return {name: _figures(members, seed) for name, members in groups.items() if members}


def _figures(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any]:
    import numpy as np

    from dyna_training.evaluation.statistics import Bootstrap, ratio

    bootstrap = Bootstrap([o.trajectory for o in outcomes], seed=seed)
    before = np.array([o.before for o in outcomes], dtype=np.float64)
    after = np.array([o.after for o in outcomes], dtype=np.float64)
    became = Counter(o.became for o in outcomes)
    tried = len(outcomes) - became["untouched"]
    return {
        "turns": len(outcomes),
        "trajectories": len({o.trajectory for o in outcomes}),
        "tokens_before": bootstrap.mean(before).to_json(),
        "tokens_after": bootstrap.mean(after).to_json(),
        "ratio": bootstrap.interval(ratio, after, before).to_json(),
        "quantiles": {
            "before": _quantiles(before),
            "after": _quantiles(after),
            "ratio": _quantiles(after / np.maximum(before, 1)),
        },
        "untouched": bootstrap.mean([o.became == "untouched" for o in outcomes]).to_json(),
        "valid": became["shortened"] / tried if tried else None,
        "new_sentences": _new_sentences(outcomes, seed),
        "became": dict(became),
        "full_because": dict(Counter(o.reason for o in outcomes if o.became == "full").most_common()),
    }


def _new_sentences(outcomes: Sequence[Outcome], seed: int) -> dict[str, Any] | None:
    """Return the mean share of sentences that a shortened turn did not have before; None where none is shortened."""
    from dyna_training.evaluation.statistics import Bootstrap

    short = [o for o in outcomes if o.became == "shortened"]
    if not short:
        return None
    return Bootstrap([o.trajectory for o in short], seed=seed).mean([o.new for o in short]).to_json()


def _quantiles(values: Any) -> dict[str, float]:
    import numpy as np

    low, middle, high = (float(q) for q in np.quantile(values, [0.1, 0.5, 0.9]))
    return {"10": round(low, 3), "50": round(middle, 3), "90": round(high, 3)}


HEADS: Final = (
    "turns",
    "tokens before",
    "tokens after",
    "ratio (95 %)",
    "ratio 10–50–90 %",
    "untouched",
    "shortened",
    "full text kept",
)


def rows(found: dict[str, Any]) -> list[list[str]]:
    """Return the figures as rows of a table, the name first and then `HEADS`."""
    return [[name, *_row(row)] for name, row in found.items()]


def _row(row: dict[str, Any]) -> list[str]:
    became, spread = row["became"], row["quantiles"]["ratio"]
    return [
        f"{row['turns']:,}",
        f"{row['tokens_before']['value']:.0f}",
        f"{row['tokens_after']['value']:.0f}",
        _interval(row["ratio"]),
        " – ".join(f"{spread[q]:.2f}" for q in ("10", "50", "90")),
        f"{became.get('untouched', 0) / row['turns']:.1%}",
        f"{became.get('shortened', 0) / row['turns']:.1%}",
        f"{became.get('full', 0) / row['turns']:.1%}",
    ]


def _interval(value: dict[str, Any]) -> str:
    if value["low"] is None:
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} ({value['low']:.3f}–{value['high']:.3f})"


def markdown(manifest: dict[str, Any]) -> str:
    """Return the report that lies beside the shortened trajectories."""
    settings, found = manifest["settings"], manifest["figures"]
    lines = [
        "# Shortened thinking",
        "",
        f"`{manifest['command']}`" if manifest["command"] else f"method {settings['method']}",
        "",
        f"{manifest['trajectories']} trajectories; tokens of the thinking of a turn, counted by the tokenizer of "
        f"`{settings['base']}`. Turns of at most {settings['keep_under']} tokens stay untouched; *longer turns* are "
        "the others. The ratio is tokens after over tokens before, with a 95 % interval bootstrapped by trajectory; "
        "its quantiles are over turns.",
        "",
        f"| | {' | '.join(HEADS)} |",
        f"|---|{'---:|' * len(HEADS)}",
        *(f"| {' | '.join(row)} |" for row in rows(found)),
        "",
        "## Turns that kept their full text",
        "",
    ]
    because = found[ALL]["full_because"]
    lines += [f"* {count} turns: {reason}" for reason, count in because.items()] or ["None."]
    if manifest["rejected_answers"]:
        rejected = manifest["rejected_answers"].items()
        lines += [
            "",
            "## Answers that could not be used",
            "",
            *(f"* {count}: {reason}" for reason, count in rejected),
        ]
    if found[ALL]["new_sentences"]:
        lines += [
            "",
            "## New sentences",
            "",
            "Mean share of the sentences of a shortened turn that are, word for word, no sentences of the full one: "
            f"{_interval(found[ALL]['new_sentences'])}.",
        ]
    if manifest["parts"]:
        shortened = found[ALL]["became"]["shortened"]
        lines += [
            "",
            "## What was kept",
            "",
            "| part | sentences | shortened turns with it |",
            "|---|---:|---:|",
        ]
        lines += [
            f"| {part} | {row['sentences']:,} | {row['turns'] / shortened:.1%} |"
            for part, row in manifest["parts"].items()
        ]
    if manifest["problems"]:
        lines += ["", "## Problems", "", *(f"* {problem}" for problem in manifest["problems"])]
    return "\n".join(lines) + "\n"
