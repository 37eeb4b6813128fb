"""Tables, files and the record of an agent evaluation; the verdict comes first everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dyna_training.evaluation.agent import ARMS, AgentEvaluation, GameOutcome, ranking, read_outcomes
from dyna_training.evaluation.agent_figures import EQUAL, points
from dyna_training.evaluation.agent_plots import plot_success, plot_tokens
from dyna_training.evaluation.critic_names import described

OUTCOMES: Final = "outcomes.jsonl"
"""The plays that the figures are made from, in the folder of the results; ``games.jsonl`` also has older ones."""
SAME: Final = ("split", "candidates", "resample", "temperature", "horizon", "max_steps", "critic")
"""What evaluations with other training seeds must share to be counted together."""

Table = tuple[str, list[str], list[list[str]]]


def percent(figure: Sequence[float | None]) -> str:
    """Return ``52 % (40–64)``."""
    value, low, high = figure
    if value is None:
        return "–"
    return (
        f"{value:.0%}" if low is None or high is None else f"{value:.0%} ({low * 100:.0f}–{high * 100:.0f})"
    )


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """Yield title, header and rows of every table."""
    yield _arms(results)
    yield _costs(results)
    if results["trained_minus"]:
        yield (
            "the trained world model minus each other arm (paired by game, points of success)",
            ["arm", "success", "won only with it", "won only without it"],
            [
                [arm, points(d["success"]), str(d["won_only_with"]), str(d["won_only_without"])]
                for arm, d in results["trained_minus"].items()
                if d
            ],
        )
    if results["budget"]:
        yield _budget(results["budget"])
    if results["walkthroughs"]:
        yield _walkthroughs(results["walkthroughs"])
    arms = list(results["arms"])
    yield (
        "success by task type",
        ["task type", "games", *arms],
        [
            [kind, str(found["games"]), *(f"{found[a]:.0%}" if a in found else "–" for a in arms)]
            for kind, found in results["task_types"].items()
        ],
    )


def _arms(results: Mapping[str, Any]) -> Table:
    counts = {name: name for name in ("steps", "invalid", "overruled")}
    if results["resample"]:
        counts["resampled"] = "drawn anew"
    rows = [
        [
            arm,
            "–".join(map(str, figures["candidates"])),
            percent(figures["success"]),
            *(f"{figures[count][0]:.1f}" for count in counts),
        ]
        for arm, figures in results["arms"].items()
    ]
    title = f"{results['games']} games of {results['split']}, k = {results['candidates']}"
    return title, ["arm", "k", "success", *counts.values()], rows


def _costs(results: Mapping[str, Any]) -> Table:
    costs = ("policy_tokens", "model_tokens", "tokens_per_step", "seconds")
    rows = [[arm, *(_number(figures[cost][0]) for cost in costs)] for arm, figures in results["arms"].items()]
    head = ["arm", "policy tokens", "model tokens", "tokens per step", "seconds"]
    return "what a game cost: tokens of policy and world model, time beside other games", head, rows


def _budget(budget: Mapping[str, Any]) -> Table:
    title = (
        f"solved with at most {budget['tokens']:,} tokens of policy and world model together, the trained arm's mean "
        "per game"
    )
    minus = {name: figure for name, figure in budget["trained_minus"].items() if figure}
    return (
        title,
        ["arm", "success", "trained minus it, points"],
        [
            [name, percent(figure), points(minus[name]) if name in minus else ""]
            for name, figure in budget["success"].items()
        ],
    )


def _walkthroughs(parts: Mapping[str, Any]) -> Table:
    arms = list(dict.fromkeys(name for part in parts.values() for name in part["success"]))
    rows = [
        [arm, *(percent(part["success"][arm]) if arm in part["success"] else "–" for part in parts.values())]
        for arm in arms
    ]
    gains = [part["trained_minus_control"] for part in parts.values()]
    if any(gains):
        control = next(iter(parts.values()))["control"]
        rows.append([f"trained minus {control}, points", *(points(g) if g else "–" for g in gains)])
    head = ["arm", *(f"{name}: {part['games']} games" for name, part in parts.items())]
    return "success by whether the walkthrough is that of a training game", head, rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report."""
    lines = ["# What the world model is worth to the agent", ""]
    for verdict in results["verdicts"]:
        lines += [f"**{verdict['sentence']}**", ""]
    if not results["verdicts"]:
        lines += ["**No verdict: it takes plays of the arm `trained` and of a control.**", ""]
    lines += [
        f"`{results['command']}`",
        "",
        f"{results['hardware']}; temperature {results['temperature']}, {results['max_steps']} steps; critic: "
        f"{results['critic']}; training seeds {results['training_seeds']}. Intervals: 95 %, bootstrapped over games.",
        "",
    ]
    if results["resample"]:
        lines += [
            f"Where all {results['candidates']} candidates were rejected, {results['resample']} were drawn anew from "
            "the same prompt, and the best of these ran: where the arm predicts no effect (trained, oracle), or knows "
            "of one or of a loop (rules). The other arms have nothing to reject by; shuffled must not, since dealing "
            "predictions out within a step leaves it as it is whether all do nothing.",
            "",
        ]
    if any(arm.endswith(EQUAL) for arm in results["arms"]):
        lines += [
            f"Rows “{EQUAL.strip(', ')}”: the same control with so many candidates that a step costs at least the "
            "tokens of the trained arm.",
            "",
        ]
    for title, head, rows in tables(results):
        lines += [f"## {title[0].upper()}{title[1:]}", "", "| " + " | ".join(head) + " |"]
        lines += ["|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]
    return "\n".join(lines)


def write(results: Mapping[str, Any], outcomes: Sequence[GameOutcome], out: Path) -> list[Path]:
    """Write ``results.json``, ``report.md``, ``success.png``, ``tokens.png`` and ``outcomes.jsonl``.

    Returns:
        The files, in this order.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f for f in ("results.json", "report.md", "success.png", "tokens.png", OUTCOMES)]
    files[0].write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    pictures = "\n![success by arm](success.png)\n\n![success against tokens](tokens.png)\n"
    files[1].write_text(markdown(results) + pictures, encoding="utf-8")
    plot_success(results, files[2])
    plot_tokens(results, files[3])
    lines = [outcome.model_dump_json() + "\n" for outcome in outcomes]
    files[4].write_text("".join(lines), encoding="utf-8")
    return files


def pooled(folder: Path, settings: AgentEvaluation) -> tuple[list[GameOutcome], list[dict[str, Any]]]:
    """Read a finished evaluation with other training seeds, to be counted together with this one.

    Returns:
        Its plays, and what `adapters_of` said of its adapters.

    Raises:
        ValueError: It is no finished evaluation, was made with other settings, or has the same training seed.
    """
    file = folder / "results.json"
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
        results.setdefault("resample", 0)  # results that were written before anything could be drawn anew
        seeds, there = results["training_seeds"], {key: results[key] for key in SAME}
        adapters = list(results["adapters"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file}: not the results of a finished dyna eval agent ({error}); run it there first"
        ) from error
    here = {key: getattr(settings, key) for key in SAME if key != "critic"}
    here["critic"] = described(ranking(settings))
    for key, value in there.items():
        if value != (own := here[key]):
            raise ValueError(
                f"{folder} was played with {key} {value}, not {own}; such plays cannot be pooled"
            )
    if settings.training_seed in seeds:
        raise ValueError(
            f"{folder} has training seed {settings.training_seed} too; tell them apart with --training-seed"
        )
    return read_outcomes(folder / OUTCOMES), adapters


def record(results: Mapping[str, Any], file: Path, command: str) -> None:
    """Write what the demo shows of an evaluation, bound to the adapters that were evaluated.

    Args:
        results: All figures.
        file: Where to; for the shipped adapters ``evaluation.json`` beside their folders.
        command: A command line that does not depend on this machine.
    """
    keys = ("verdicts", "command", "games", *SAME, "training_seeds", "adapters", "hardware", "arms")
    kept = {key: results[key] for key in (*keys, "trained_minus")} | {"command": command}
    kept["arms"] = {
        name: {key: value for key, value in figures.items() if key != "solved_at"}
        for name, figures in results["arms"].items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def plain_command(settings: AgentEvaluation, equal_tokens: bool = False) -> str:
    """Return the command line of an evaluation without folders of this machine."""
    world_model = "" if settings.world_model is None else settings.world_model.name
    words = ["dyna eval agent", f"--policy {settings.policy.name}", f"--world-model {world_model}"]
    words += [f"--split {settings.split}", f"--games {settings.games}", f"-k {settings.candidates}"]
    if settings.resample:
        words.append(f"--resample {settings.resample}")
    words += [f"--temperature {settings.temperature:g}", f"--max-steps {settings.max_steps}"]
    words += [f"--horizon {settings.horizon}", f"--seed {settings.seed}"]
    if settings.memory != "thoughts":
        words.append(f"--memory {settings.memory}")
    if set(settings.arms) != set(ARMS):
        words.append(f"--arms {','.join(settings.arms)}")
    if equal_tokens:
        words.append("--equal-tokens")
    return " ".join(words)
