"""The report of a study: tables in Markdown, plots, and all figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dyna_training.study.figures import DOMAINS, SEEDS_FOR_AN_ORDER
from dyna_training.study.paper import CLAIM, PAPER
from dyna_training.study.plots import plot_accuracy, plot_success
from dyna_training.whole import write_whole

RESULTS: Final = "results.json"
REPORT: Final = "report.md"
STEM: Final = "dyna-think"
"""How the names of the plots beside the report begin."""
ROLLOUTS: Final = "policy, world-model rollouts"
THINKING: Final = (
    *("arm", "tokens per turn, 10–50–90 %", "mean", "steps", "world-model accuracy", "coverage"),
    *("accuracy where covered", "informed", "the same states", "r with success"),
)
PLOTS: Final = {"success": plot_success, "accuracy": plot_accuracy}


def write(results: Mapping[str, Any], out: Path) -> list[Path]:
    """Write report, plots and figures into the study's folder; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / RESULTS, out / REPORT]
    write_whole(files[0], json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    write_whole(files[1], markdown(results, STEM))
    return [*files, *_plots(results, out, STEM)]


def record(results: Mapping[str, Any], file: Path) -> list[Path]:
    """Write the report for the documentation, with its plots beside it; returns the files."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, markdown(results, file.stem))
    return [file, *_plots(results, file.parent, file.stem)]


def _plots(results: Mapping[str, Any], folder: Path, stem: str) -> list[Path]:
    files = []
    for name, part in results["parts"].items():
        if part["rows"]:
            for kind, plot in PLOTS.items():
                files.append(folder / _plot_name(stem, name, kind))
                plot(part, files[-1])
    return files


def _plot_name(stem: str, part: str, kind: str) -> str:
    return f"{stem}_{part}_{kind}.png"


def markdown(results: Mapping[str, Any], stem: str) -> str:
    """Return the report.

    Args:
        results: What `results.results` returned.
        stem: How the names of the plots begin.
    """
    settings = results["settings"]
    lines = ["# Dyna-Think: distillation, DIT, RFT and DDT", ""]
    if not results["complete"]:
        done = sum(s["state"] == "finished" for s in results["stages"])
        lines += [f"**Not finished: {done} of {len(results['stages'])} stages are.**", ""]
    if results["underpowered"]:
        lines += [f"**Underpowered: {_counted(settings['seeds'], 'training seed')} instead of {SEEDS_FOR_AN_ORDER}; no "
                  "order of arms is claimed, and what is said of one is only what was measured.**", ""]  # fmt: skip
    lines += [f"`{results['command']}`", ""]
    start = _start(settings["start"])
    lines += [
        f"{results['hardware']}; base {settings['base']}, imitation from {start}; training seeds {settings['seeds']}; "
        f"temperature {settings['temperature']:g}, {settings['runs']} runs, {settings['max_steps']} steps; "
        f"earlier turns in the policy's context: {settings['memory']}. Intervals: 95 %, bootstrapped over games; they "
        "hold what varies between games and runs, not what varies between trainings.",
        "",
    ]
    for name, part in results["parts"].items():
        lines += _part(name, part, results, stem)
    lines += _paper()
    lines += _stages(results)
    return "\n".join(lines)


def _start(start: str | Mapping[str, str] | None) -> str:
    """Say what imitation goes on from."""
    if start is None:
        return "a fresh adapter"
    if isinstance(start, str):
        return f"the adapter `{start}`"
    return "adapters (" + ", ".join(f"{arm} from `{adapter}`" for arm, adapter in start.items()) + ")"


def _part(name: str, part: Mapping[str, Any], results: Mapping[str, Any], stem: str) -> Iterator[str]:
    rows = part["rows"]
    yield from (f"## {name}", "")
    if not rows:
        yield from ("Nothing is evaluated yet.", "")
        return
    for games, about in part["games"].items():
        types = {"trained": "without the held-out task type", "held-out": "of the held-out task type alone"}
        kind = types.get(about["task_types"], "of all task types")
        held_out = results["settings"]["environments"][name]["held_out_task_type"]
        where = {"in": "in domain", "out": "out of domain"}[about["domain"]]
        which = f", {kind} ({held_out})" if held_out else ""
        yield f"* {games}: {about['games']} games of {about['split']}{which}; {where}."
    yield ""
    yield from _table(
        ["arm", ROLLOUTS, *(f"{d}: {name}" for name in ("average", "best of n") for d in DOMAINS)],
        [
            [arm, _trained_on(row), *(_share(row, d, name) for name in ("success", "best") for d in DOMAINS)]
            for arm, row in rows.items()
        ],
    )  # fmt: skip
    yield "Rollouts: episodes that were imitated, and episodes that a world model was trained on; of one training seed."
    yield ""
    yield from (f"![Success by arm]({_plot_name(stem, name, 'success')})", "")
    yield from _table(
        THINKING,
        [[arm, *_thinking(row)] for arm, row in rows.items()],
    )  # fmt: skip
    yield (
        "World-model accuracy is coverage × accuracy on the arm's own plays: the share of all turns whose thinking "
        "simulates the executed action and is right, hypotheses included. To be right, saying little is enough; "
        "informed is the share that also says all that the history determines, and elsewhere something for certain; "
        "only of households is that known. "
        "The same states: world-model accuracy where every arm is asked once, greedily, in the same states of the "
        "teacher's games. r is Pearson's, of world-model accuracy and success over games, within task type."
    )
    yield ""
    yield from (f"![Success against accuracy]({_plot_name(stem, name, 'accuracy')})", "")
    yield from _sets(part)
    for reference, minus in part["minus"].items():
        yield from (f"### Minus {reference}, paired by game, in points", "")
        yield from _table(
            ["arm", *(f"{d}: success" for d in DOMAINS), "all: world-model accuracy"],
            [
                [
                    arm,
                    *(_points(d.get(name, {}).get("success")) for name in DOMAINS),
                    _points(d["all"]["accuracy"]),
                ]
                for arm, d in minus.items()
            ],
        )
    yield from _claims(part["claims"], results)


def _sets(part: Mapping[str, Any]) -> Iterator[str]:
    names = list(part["games"])
    if len(names) > 1:
        yield from ("### Average success by set of games", "")
        rows = [
            [arm, *(_percent(row["sets"].get(n, {}).get("success")) for n in names)]
            for arm, row in part["rows"].items()
        ]
        yield from _table(["arm", *names], rows)


def _claims(claims: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    if not claims:
        return
    yield from ("### The paper's claims", "")
    if "tokens" in claims:
        yield (
            f"* DIT's tokens per turn are {_times(claims['tokens'])} of those of distillation with full thinking. Of a "
            "grounded teacher both texts are ours, the long one and the short one: this says that the student learned "
            "the form, not that reasoning can be halved."
        )
        for domain in DOMAINS:
            if f"success_{domain}" in claims:
                claim = claims[f"success_{domain}"]
                yield f"* DIT minus full thinking, {domain}: {claim['sentence']} ({claim['verdict']})"
    if "order" in claims:
        mark = " (underpowered: below three training seeds)" if results["underpowered"] else ""
        for column, text in claims["order"].items():
            name = {"success": "average success", "best": "best of n", "accuracy": "world-model accuracy"}[
                column
            ]
            yield f"* Order by {name}, as measured{mark}: {text}."
        yield f"* The paper's order by success: {CLAIM}."
    yield ""


def _paper() -> Iterator[str]:
    yield from ("## What the paper reports", "")
    yield (
        "Of the paper (arXiv 2506.00320), not of this project: OSWorld, Qwen2.5-32B-Instruct, per cent over all / in / "
        "out of domain; the teacher is DeepSeek-R1."
    )
    yield ""
    head = ["arm", ROLLOUTS, "tokens 10–90 %", "average", "best of 3", "accuracy", "r"]
    yield from _table(head, [[arm, *row] for arm, row in PAPER.items()])


def _stages(results: Mapping[str, Any]) -> Iterator[str]:
    seconds = sum(s["seconds"] for s in results["stages"])
    yield from ("## Stages", "", f"{seconds / 60:.0f} minutes in all.", "")
    limit = results["settings"]["stage_minutes"]
    rows = [
        [s["stage"], s["state"], f"{s['seconds'] / 60:.1f}", f"over {limit:g}" if s["over"] else ""]
        for s in results["stages"]
    ]
    yield from _table(["stage", "state", "minutes", "limit"] if limit else ["stage", "state", "minutes"],
                      [r if limit else r[:3] for r in rows])  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _trained_on(row: Mapping[str, Any]) -> str:
    data = row.get("data")
    return f"{data['policy']}, {data['world_model'] or '–'}" if data else "–"


def _thinking(row: Mapping[str, Any]) -> list[str]:
    figures = row["all"]
    tokens = "–".join(map(str, figures["tokens_10_50_90"] or ["?"]))
    shares = [_percent(figures[name]) for name in ("accuracy", "coverage", "accuracy_covered")]
    numbers = [_number(figures["tokens_per_turn"]), _number(figures["steps"])]
    shares.append(_percent(row["informed"]))
    return [tokens, *numbers, *shares, _same_states(row.get("same_states")), _r(row["r"])]


def _same_states(by_seed: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Write world-model accuracy in the same states: with its interval, or of several seeds their mean."""
    values = [f["value"] for f in (by_seed or {}).values() if f["value"] is not None]
    if len(values) == 1:
        return _percent(next(iter((by_seed or {}).values())))
    return f"{sum(values) / len(values):.1%}, of {len(values)} seeds" if values else "–"


def _r(found: Mapping[str, Any] | None) -> str:
    if found is None or found["r"] is None:
        return "–" if found is None else f"– ({found['why_not']})"
    r = found["r"]
    text = f"{r['value']:+.2f}" + ("" if r["low"] is None else f" ({r['low']:+.2f} to {r['high']:+.2f})")
    return f"{text}, underpowered" if found["underpowered"] else text


def _share(row: Mapping[str, Any], domain: str, name: str) -> str:
    return _percent(row.get(domain, {}).get(name))


def _percent(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    text = f"{figure['value']:.1%}"
    return text if figure["low"] is None else f"{text} ({100 * figure['low']:.0f}–{100 * figure['high']:.0f})"


def _points(figure: Mapping[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    text = f"{100 * figure['value']:+.1f}"
    return (
        text
        if figure["low"] is None
        else f"{text} ({100 * figure['low']:+.0f} to {100 * figure['high']:+.0f})"
    )


def _times(figure: Mapping[str, Any]) -> str:
    """Write a ratio; of an arm that never acted there is none, and of one game no interval."""
    if figure["value"] is None:
        return "an unknown share"
    text = f"{figure['value']:.2f}"
    return text if figure["low"] is None else f"{text} ({figure['low']:.2f}–{figure['high']:.2f})"


def _number(figure: Mapping[str, Any]) -> str:
    return "–" if figure["value"] is None else f"{figure['value']:.1f}"


def _counted(items: Sequence[Any], what: str) -> str:
    return f"{len(items)} {what}" + ("" if len(items) == 1 else "s")
