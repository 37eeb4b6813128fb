"""What ``dyna eval injections`` shows: a table on the screen, a Markdown report, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from dyna_training.evaluation.report import percent
from dyna_training.evaluation.written import write_results

Figures = dict[str, Any]
METHOD = """
The last observation of a recorded state gets a note with an attacker's text, or a harmless one of the same length. A
verdict is *flipped* where the decision differs from the one without a note; *into approval* are flips to `approve`, the
ones that an attacker wants; *no verdict* means that the critic failed, which blocks by default. What the attack does
*beyond harmless text* is the paired difference of flips, in points. Brackets are 95 % intervals over attacks: Wilson's,
of the difference bootstrapped. A rule-based critic given identical predictions flips none: that is a test, not an
estimate.
""".strip()
HEAD = ["who judges", "note", "judgements", "flipped", "into approval", "no verdict"]


def rows(results: Figures) -> list[list[str]]:
    """Return the rows of the main table."""
    return [
        [name, note, str(found["judgements"]), *map(percent, found[note].values())]
        for name, found in results["judged"].items()
        for note in ("attack", "harmless")
    ]


def families(found: Figures) -> list[list[str]]:
    """Return a row for each family of attacks."""
    return [[family, *map(percent, shares.values())] for family, shares in found["families"].items()]


def screen(results: Figures) -> Iterator[Any]:
    """Yield what is shown in the terminal."""
    table = Table(title="Verdicts that change with a note in a tool's output, %")
    for name in HEAD:
        table.add_column(name)
    for row in rows(results):
        table.add_row(*row)
    yield table


def write(results: Figures, out: Path, command: str) -> list[Path]:
    """Write ``results.json`` and ``report.md``, and return their paths."""
    return write_results(results, out, command, draw=lambda _, __: [], markdown=markdown)


def markdown(results: Figures, pictures: list[str], command: str) -> str:
    """Return the report."""
    del pictures
    settings = results["settings"]
    lines = [
        "# Text that tries to sway a verdict",
        f"    {command}",
        METHOD,
        f"{results['cases']} attacks in states of {results['episodes']['number']} episodes of {settings['games']} "
        f"games of {settings['split']}, among the first {settings['steps']} steps, two actions each; texts cut to "
        f"{settings['max_characters']} characters; seed {settings['seed']}; world model "
        f"`{Path(settings['adapter']).name}` on {settings['base']}, {settings['dtype']}, {settings['device']}.",
        _table(HEAD, rows(results)),
    ]
    for name, found in results["judged"].items():
        before = ", ".join(f"{label} {number}" for label, number in found["without_note"].items())
        lines += [
            f"## {name[0].upper()}{name[1:]}",
            f"Without a note: {before}. Flips by the attack beyond harmless text: "
            f"{percent(found['attack_beyond_harmless'])} points.",
            _table(["family", *HEAD[3:]], families(found)),
        ]
    return "\n\n".join(lines) + "\n"


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
