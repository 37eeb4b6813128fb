"""What ``dyna eval thinking`` shows: tables on the screen, a Markdown report, pictures and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from dyna_training.evaluation.report import number, percent
from dyna_training.evaluation.written import write_results

Figures = dict[str, Any]
Part = tuple[str, list[str], list[list[str]]]
"""Title, head and rows of a table."""

METHOD = """
The simulation of the executed action is taken out of the thinking of each turn and held against what then really
was observed. *Coverage* is the share of turns with such a simulation, *accuracy* the share of these that came true,
and *coverage × accuracy* the share of all turns with one that came true: the paper's figure. Hypotheses ("Maybe I see
a mug") count as claims there. A simulation that says little is seldom wrong, so three more shares of all turns stand
beside it: *certain*, in which something was said for certain and that came true, whatever was supposed; *informed*,
in which all was said that the history determines, and nothing false for certain where it leaves things open; and
*exact*, in which all was said that was observed. Brackets are 95 % bootstrap intervals over games.
""".strip()
BY_ROTE = """
Simulations that need no insight, on the same turns: *copy* says the last observation again, *template* what commands
of this kind usually get, *opening* how that usually begins ("You arrive at fridge 1."), and *rules* knows the games
by heart and says what the history determines: a yardstick, not a baseline. A simulation need not say everything, so
that *opening* is right whenever a command works at all; it is the share of *informed* turns that tells it from one
that knows. The lead is the policy's figure less that one, paired.
""".strip()
INVENTED = """
*Hallucinated facts* are sentences said for certain, and not true, about turns whose observation the history does not
determine; the share is of all certain sentences. *Turns* are those with a simulation that have one.
""".strip()
WITHIN = """
Pearson's r over games between coverage × accuracy and success. *Within task type* both are centred by task type, so
that types which are harder to do and harder to imagine do not make an r by themselves. It is a correlation: a policy
that wins sees other turns than one that is lost, which alone can move its accuracy.
""".strip()
SHARES = ("coverage", "accuracy", "coverage × accuracy", "certain", "informed", "exact")
KNOWLEDGE = ("determined", "first look", "hidden")


def tables(results: Figures) -> Iterator[tuple[str, list[Part]]]:
    """Yield the tables of each setting, with the setting's title."""
    if results["rollouts"]:
        yield "On own rollouts", _parts(results["rollouts"])
    if results["policies"]:
        on = results["states"]
        title = f"In {on['number']} recorded states of {on['games']} games (digest `{on['digest'][:16]}`)"
        more = [*_differences(results["differences"]), *_by_training(results["policies"])]
        yield title, [*_parts(results["policies"]), *more]


def _parts(measured: list[Figures]) -> list[Part]:
    found = [
        _overview(measured),
        _split(measured, "knowledge", "By what the history determines"),
        _split(measured, "effect", "By whether anything happened") if _fails(measured) else None,
        _split(measured, "action", "By action type"),
        _trivial(measured),
        _hallucination(measured),
        _correlation(measured),
    ]
    return [part for part in found if part is not None and part[2]]


def _fails(measured: list[Figures]) -> bool:
    """Return whether there are actions without an effect; other games say it in other words than households."""
    return any("nothing happens" in m["figures"]["by"].get("effect", {}) for m in measured)


def _overview(measured: list[Figures]) -> Part:
    head = ["policy", "games", "turns", *SHARES]
    rows = []
    for m in measured:
        figures, all_ = m["figures"], m["figures"]["overall"]
        rows.append(
            [
                m["label"],
                str(figures["games"]),
                str(figures["turns"]),
                *_shares(all_),
            ]
        )
    return "World-model accuracy inside the thinking, %", head, rows


def _shares(readings: Figures) -> list[str]:
    """Return the figures under `SHARES`; a share of all turns that nobody can tell is no figure."""
    strict = [percent(readings["strict"][name]) for name in ("coverage", "accuracy", "product")]
    known = {name: readings[name]["coverage"]["value"] for name in ("certain", "informed", "exact")}
    return strict + [percent(readings[name]["product"]) if there else "–" for name, there in known.items()]


def _split(measured: list[Figures], by: str, title: str) -> Part:
    head = ["policy", by, "turns", *SHARES]
    rows = []
    for m in measured:
        names = m["figures"]["by"].get(by, {})
        order = [*(n for n in KNOWLEDGE if n in names), *(n for n in names if n not in KNOWLEDGE)]
        for name in order:
            turns = str(names[name]["strict"]["product"]["steps"])
            rows.append([m["label"], name, turns, *_shares(names[name])])
    return f"{title}, %", head, rows


def _trivial(measured: list[Figures]) -> Part:
    head = [
        "policy",
        "by rote",
        "right",
        "lead",
        "right where simulated",
        "lead there",
        "informed",
        "lead",
        "exact",
    ]
    names = ("all_turns", "lead", "covered_turns", "lead_covered", "informed", "lead_informed", "exact")
    rows = [
        [m["label"], t["name"], *(percent(t[name]) for name in names)]
        for m in measured
        for t in m["figures"]["trivial"]
    ]
    return "Beside simulations by rote, %", head, rows


def _hallucination(measured: list[Figures]) -> Part:
    head = [
        "policy",
        "hallucinated facts",
        "turns",
        "turns that are not determined",
        "hypotheses that came true",
    ]
    rows = [
        [m["label"], *(percent(found[name]) for name in ("facts", "turns", "open_turns", "hypotheses"))]
        for m in measured
        if (found := m["figures"]["hallucination"]) is not None
    ]
    return "Hallucinated facts, %", head, rows


def _correlation(measured: list[Figures]) -> Part:
    head = ["policy", "accuracy is", "games", "won", "r within task type", "raw r", ""]
    rows = []
    for m in measured:
        ways = (("correlation", "coverage × accuracy"), ("correlation_covered", "among simulated turns"))
        for key, name in ways:
            found = m["figures"][key]
            if found is not None:
                why = [w for w in dict.fromkeys((found["why_not"], found["raw_why_not"])) if w]
                if found["underpowered"] and not why:
                    why = ["underpowered"]
                r, raw = number(found["r"]), number(found["raw"])
                won = str(found["won"])
                rows.append([m["label"], name, str(found["games"]), won, r, raw, "; ".join(why)])
    return "Correlation with success", head, rows


def _differences(found: list[Figures]) -> list[Part]:
    readings = ("strict", *SHARES[3:])
    rows = [[f"{d['first']} − {d['second']}", *(percent(d[name]) for name in readings)] for d in found]
    return [("Paired differences, points", ["difference", *SHARES[2:]], rows)] if rows else []


def _by_training(measured: list[Figures]) -> list[Part]:
    rows = [
        [m["label"], training["source"], percent(training["product"])]
        for m in measured
        for training in m.get("trainings", ())
    ]
    return [("By training, %", ["policy", "training", "coverage × accuracy"], rows)] if rows else []


EXPLAINED = {
    "Beside simulations by rote, %": BY_ROTE,
    "Hallucinated facts, %": INVENTED,
    "Correlation with success": WITHIN,
}


def notes(results: Figures) -> list[str]:
    """Return sentences about what was left out, and about who judged."""
    lines = []
    for m in [*results["rollouts"], *results["policies"]]:
        figures = m["figures"]
        judges = ", ".join(f"{n} by {name}" for name, n in figures["judged_by"].items())
        line = f"{m['label']}: {figures['turns']} turns judged ({judges})"
        line += f", of {len(m['trainings'])} trainings." if m.get("trainings") else "."
        if figures["unjudged"]:
            reasons = ", ".join(f"{n} {why}" for why, n in figures["unjudged"].items())
            line += f" Left out since the judge failed: {reasons}."
        if figures["unread"]:
            line += (
                f" The thinking of {figures['unread']} has no form that this judge reads; they count as not simulated. "
                "A chat model reads any form: --judge provider:model."
            )
        if figures["without_action"]:
            reasons = ", ".join(f"{n} {why}" for why, n in m["without_action"].items())
            line += f" Responses without an action ({reasons}) count as not simulated."
        if m.get("tokens"):
            tokens = m["tokens"]
            line += (
                f" Tokens per response: {tokens['mean']:.0f} on average, "
                f"{tokens['p10']:.0f} to {tokens['p90']:.0f} (10–90 %)."
            )
        lines.append(line)
    return lines


def screen(results: Figures) -> Iterator[Any]:
    """Yield what is shown in the terminal."""
    for setting, parts in tables(results):
        yield setting.replace("`", "")
        for title, head, rows in parts:
            table = Table(title=title, title_justify="left")
            for index, name in enumerate(head):
                table.add_column(name, justify="left" if index < 2 else "right")
            for row in rows:
                table.add_row(*row)
            yield table
    yield from notes(results)


def markdown(results: Figures, pictures: list[str], command: str) -> str:
    """Return the report.

    Args:
        results: What `evaluate` returned.
        pictures: Names of picture files beside the report.
        command: The command that made it.
    """
    lines = ["# World-model accuracy inside thinking", "", f"    {command}", "", METHOD, ""]
    lines += [*(f"* {note}" for note in notes(results)), ""]
    lines += [f"![{name}]({name})\n" for name in pictures]
    for setting, parts in tables(results):
        lines += [f"## {setting}", ""]
        for title, head, rows in parts:
            lines += [f"### {title}", ""]
            lines += [EXPLAINED[title], ""] if title in EXPLAINED else []
            lines += [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
            lines.append("")
    for kind in ("rollouts", "policies"):
        for m in results[kind]:
            lines += _mistakes(m)
    versions = ", ".join(f"{name} {v}" for name, v in results["versions"].items())
    return "\n".join([*lines, f"Versions: {versions}.", ""])


def _mistakes(measured: Figures) -> Iterator[str]:
    if measured["figures"]["mistakes"]:
        yield from (f"## Wrong simulations: {measured['label']}", "")
        for m in measured["figures"]["mistakes"]:
            yield f"* `{_inline(m['action'])}`" + (f" ({m['knowledge']})" if m["knowledge"] else "")
            yield f"  * imagined: `{_inline(m['imagined'] or '(not quoted by the judge)')}`"
            yield f"  * observed: `{_inline(m['observed'])}`"
        yield ""


def _inline(text: str) -> str:
    return text.replace("`", "'").replace("\n", " ⏎ ")


def write(results: Figures, out: Path, command: str) -> list[Path]:
    """Write ``results.json``, ``report.md`` and the pictures, and return their paths."""
    from dyna_training.evaluation.thinking.plots import draw

    return write_results(results, out, command, draw=draw, markdown=markdown)
