"""The extractive abbreviator: Dyna-Think's rule "remove rather than rewrite", taken literally.

Only sentences are removed. Which stay is decided by features that a person can check: the words of the
executed action, of the last observation and of the actions known in the run; turns of phrase that propose,
look back, suppose or contradict (`dyna_training.traces.wording`); and the place in the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from dyna_training.traces.abbreviator import Abbreviation, Turn
from dyna_training.traces.features import About, marks_of
from dyna_training.traces.sentences import Sentence, joined, sentences
from dyna_training.traces.wording import ANAPHORA, CAUSE, CHOICE, mentions, similarity


class Part(StrEnum):
    """Why a sentence is kept; the first five are the paper's."""

    VERIFICATION = "verification"
    CANDIDATE = "candidate"
    SIMULATION = "simulation"
    CONNECTIVE = "connective"
    CODE = "code"
    DECISION = "decision"


class Limits(NamedTuple):
    """How many sentences of each part are kept at most; this project's choice, the paper names none.

    Attributes:
        verification: Sentences about what the last action did.
        candidates: Proposals of different actions.
        simulation: Sentences about what the executed action will do.
        connective: Sentences that lead from the candidates to the decision.
        items: Length of a list up to which it is kept whole when one of its items verifies.
        alike: Share of common words from which on a sentence repeats a kept one, in [0, 1].
    """

    verification: int = 4
    candidates: int = 5
    simulation: int = 4
    connective: int = 4
    items: int = 8
    alike: float = 0.75


DEFAULT_LIMITS = Limits()
MANY = 3
"""A sentence that names more actions than so many is a list of commands or a plan, no candidate of its own."""


class ExtractiveAbbreviator:
    """Keeps the sentences that belong to the five parts, and removes the others.

    Args:
        limits: How much of each part is kept.
    """

    name = "extractive"
    removes_only = True

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits

    def abbreviate(self, turns: Sequence[Turn]) -> list[Abbreviation]:
        """Shorten turns; each gets exactly one candidate."""
        result = []
        for turn in turns:
            parts = sentences(turn.thought)
            kept = self.select(turn, parts)
            counts = Counter(str(part) for part in kept.values())
            result.append(Abbreviation((joined(parts, kept),), counts))
        return result

    def select(self, turn: Turn, parts: Sequence[Sentence]) -> dict[int, Part]:
        """Return which sentences are kept, and as what.

        Args:
            turn: The turn.
            parts: The sentences of its thinking.
        """
        return _Selection(turn, parts, self.limits).run()


class _Selection:
    def __init__(self, turn: Turn, parts: Sequence[Sentence], limits: Limits) -> None:
        self.limits = limits
        self.about = About.of(turn)
        self.marked = [marks_of(sentence, self.about) for sentence in parts]
        self.kept: dict[int, Part] = {}

    def run(self) -> dict[int, Part]:
        if not self.marked:
            return {}
        decision = self.decide()
        self.kept[decision] = Part.DECISION
        first_proposal = self.first_proposal(decision)
        self.simulate(decision, first_proposal)
        self.verify(min(first_proposal, decision))
        self.propose(decision)
        self.connect(decision)
        self.correct(decision)
        self.keep_code(decision)
        self.keep_lists_with_their_heads()
        return dict(sorted(self.kept.items()))

    def repeats(self, index: int, part: Part | None = None) -> bool:
        """Tell whether a sentence says nothing that a kept one, or a kept one of a part, does not say."""
        words = self.marked[index].words
        others = [i for i, kept in self.kept.items() if i != index and part in (None, kept)]
        return any(similarity(words, self.marked[i].words) >= self.limits.alike for i in others)

    def decide(self) -> int:
        """Return the place of the last statement of the executed action."""
        named = [i for i, m in enumerate(self.marked) if m.executed and not m.code]
        if named:
            return named[-1]
        choices = [i for i, m in enumerate(self.marked) if CHOICE.search(m.text)]
        return choices[-1] if choices else len(self.marked) - 1

    def first_proposal(self, decision: int) -> int:
        for i, m in enumerate(self.marked[:decision]):
            if m.named and (m.conditional or (m.proposes and not m.looks_back)):
                return i
        return decision

    def simulate(self, decision: int, first: int) -> None:
        """Keep what the executed action is expected to do; late statements count more than early ones."""
        scored = []
        for i, m in enumerate(self.marked):
            follows = bool(i) and self.marked[i - 1].executed and bool(ANAPHORA.search(m.text))
            late = i > decision + 1 or (i > decision and not follows)
            listing = len(m.named) > MANY
            if i < first or late or m.code or listing or not (m.executed or follows):
                continue
            if not (m.outcome or m.conditional or follows):
                continue
            only = len(m.named) <= 1
            score = 2 * m.outcome + m.conditional + only + follows + i / len(self.marked)
            scored.append((score, i))
        taken = 0
        for _, i in sorted(scored, reverse=True):
            if taken == self.limits.simulation:
                break
            # The decision says nearly the same words of the same action, but does not imagine what it does.
            if i in self.kept or self.repeats(i, Part.SIMULATION):
                continue
            self.kept[i] = Part.SIMULATION
            if ANAPHORA.search(self.marked[i].text) and i:
                self.kept.setdefault(i - 1, Part.SIMULATION)  # what "that way" refers to
            taken += 1

    def verify(self, before: int) -> None:
        """Keep what the thinking makes of the last action and what it led to, until the first proposal."""
        covered: set[str] = set()
        region = range(max(before, min(len(self.marked) // 4, before + 4)))
        found = []
        for i in region:
            m = self.marked[i]
            about = len(m.words & self.about.seen)
            if not m.code and not m.outcome and (about >= 2 or mentions(m.words, self.about.previous)):
                found.append(i)
        for _ in range(self.limits.verification):
            left = [i for i in found if i not in self.kept and not self.repeats(i)]
            gain = {i: self._gain(i, covered) for i in left}
            best = max(left, key=lambda i: (gain[i], -i), default=None)
            if best is None or gain[best] < 2:
                break
            self.kept[best] = Part.VERIFICATION
            covered |= self.marked[best].words

    def _gain(self, index: int, covered: set[str]) -> float:
        m = self.marked[index]
        return (
            len((m.words & self.about.seen) - covered) + m.looks_back + mentions(m.words, self.about.previous)
        )

    def propose(self, decision: int) -> None:
        """Keep the first proposal of each different set of known actions, the executed one included."""
        proposed: set[int] = set()
        taken = 0
        for i, m in enumerate(self.marked[:decision]):
            if taken == self.limits.candidates:
                break
            if m.code or len(m.named) > MANY or not (m.proposes or m.conditional) or not m.named - proposed:
                continue
            if len(m.words) > 2 and m.words <= self.about.seen:
                continue  # it quotes the observation
            proposed |= m.named
            if i not in self.kept and not self.repeats(i):
                self.kept[i] = Part.CANDIDATE
                taken += 1

    def connect(self, decision: int) -> None:
        """Keep the reasons between the candidates and the decision, those next to kept sentences first."""
        candidates = [i for i, part in self.kept.items() if part is Part.CANDIDATE]
        start = min(candidates, default=decision)
        found = []
        for i in range(start + 1, decision):
            m = self.marked[i]
            if i in self.kept or m.code or not (CAUSE.search(m.text) or m.contrast):
                continue
            if not (m.named or m.words & self.about.seen):
                continue
            near = (i - 1 in self.kept) + (i + 1 in self.kept)
            found.append((near, m.executed, i))
        taken = 0
        for near, _, i in sorted(found, reverse=True):
            if taken == self.limits.connective or not near:
                break
            if not self.repeats(i):
                self.kept[i] = Part.CONNECTIVE
                taken += 1

    def correct(self, decision: int) -> None:
        """Keep what takes a kept sentence back right after it, so that no withdrawn claim stands alone."""
        for i in sorted(self.kept):
            following = i + 1
            if following >= decision or following in self.kept:
                continue
            m = self.marked[following]
            about = m.words & self.marked[i].words or m.named
            if m.contrast and about:
                self.kept[following] = Part.CONNECTIVE

    def keep_code(self, decision: int) -> None:
        for i, m in enumerate(self.marked):
            tied = m.words & self.about.action or i - 1 in self.kept or i + 1 in self.kept
            if m.code and i <= decision + 1 and tied:
                self.kept[i] = Part.CODE

    def keep_whole_observations(self) -> None:
        """Keep all items of a short list of which one verifies: half an observation would mislead."""
        for i in [i for i, part in self.kept.items() if part is Part.VERIFICATION and self.item(i)]:
            first, last = i, i
            while first and self.item(first - 1):
                first -= 1
            while last + 1 < len(self.marked) and self.item(last + 1):
                last += 1
            if last - first < self.limits.items:
                for other in range(first, last + 1):
                    self.kept.setdefault(other, Part.VERIFICATION)

    def item(self, index: int) -> bool:
        """Tell whether a sentence is an item of a list."""
        return self.marked[index].text.startswith(("- ", "* ", "• "))

    def keep_lists_with_their_heads(self) -> None:
        """Drop heads whose list is gone, and keep the head of a list that stays."""
        for i in sorted(self.kept, reverse=True):
            head = self.marked[i].text.rstrip("*").endswith(":")
            if head and i + 1 not in self.kept and self.kept[i] is not Part.DECISION:
                del self.kept[i]
        self.keep_whole_observations()
        for i in sorted(self.kept):
            above = i - 1
            if above >= 0 and above not in self.kept and self.marked[above].text.rstrip("*").endswith(":"):
                self.kept[above] = self.kept[i]
