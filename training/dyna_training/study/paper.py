"""What the paper reports, to stand beside what is measured here; none of it was measured by this project.

Dyna-Think, arXiv 2506.00320, table of results on OSWorld with Qwen2.5-32B-Instruct, and its world-model accuracies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class PaperRow(NamedTuple):
    """A row of the paper's table; success in per cent over all, in-domain and out-of-domain tasks.

    Attributes:
        rollouts: Policy and world-model rollouts that it was trained on.
        tokens: Tokens per turn, 10th to 90th percentile, in the paper's unit.
        average: Average of three runs.
        best: Best of three runs.
        accuracy: World-model accuracy in per cent, where the paper gives it.
        r: Pearson's r of accuracy and success.
    """

    rollouts: str
    tokens: str
    average: str
    best: str
    accuracy: str = "–"
    r: str = "–"


PAPER: Final[Mapping[str, PaperRow]] = {
    "teacher": PaperRow("–", "–", "31.2", "44.8", "53.1", ".37"),
    "distill-no-thinking": PaperRow("–", "0.1–0.5x", "17.1 / 19.3 / 11.8", "28.2 / 30.9 / 21.6"),
    "distill-full": PaperRow("–", "1.6–6.0x", "20.9 / 24.6 / 11.8", "36.2 / 42.3 / 21.6"),
    "dit": PaperRow("–", "1.1–2.5x", "22.6 / 26.8 / 12.4", "35.6 / 40.7 / 23.5", "38.9", ".45"),
    "rft": PaperRow("35, –", "1.0–2.7x", "23.2 / 26.0 / 16.3", "38.5 / 43.1 / 27.5", "46.6", ".37"),
    "vanilla-dyna": PaperRow("94, 116", "1.1–2.5x", "24.1 / 26.8 / 17.6", "35.6 / – / 31.4"),
    "ddt-next-state": PaperRow("35, 116", "1.1–2.7x", "25.9 / 28.7 / 19.0", "43.1 / 47.2 / 33.3"),
    "ddt-difference": PaperRow("35, 116", "1.2–3.5x", "23.2 / 27.6 / 12.4", "38.5 / 44.7 / 23.5"),
    "ddt-critique": PaperRow(
        "35, 116", "1.2–2.7x", "26.6 / 30.3 / 17.6", "44.3 / 49.6 / 31.4", "55.7", ".44"
    ),
}
CLAIM: Final = "critique ≥ next state > difference ≈ RFT"
"""The paper's order of the objectives."""
