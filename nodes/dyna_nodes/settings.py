"""What a user decides about the loop; every key has one meaning and a safe default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.nouns import Noun

Mode = Literal["enforce", "advise", "shadow"]
Policy = Literal["block", "allow", "escalate"]
Memory = Literal["thoughts", "actions"]


class ToolSettings(Noun):
    """How the loop treats one tool.

    Attributes:
        simulate: False opts the tool out: it is neither imagined nor judged, and its verdict says so.
        budget: How many calls of this tool may be imagined per trajectory; beyond it a call counts as one
            that the world model could not answer. None is no limit.
        timeout: Seconds that the tool may take; then its outcome is unknown. None waits for ever.
        irreversible: The intent is forced to the disk before the tool runs.
        idempotent: Calling it twice has the effect of calling it once, so it may be retried.
        retries: How often an idempotent tool is called again after it raised.
        sequential: Calls run one after another, each imagined after the previous one was executed; for tools
            of an environment. One sequential call makes its whole message sequential.
        needs_success: Whether an approved call counts as uncertain unless its success is predicted. None: where
            the tool is irreversible and there is a world model.
        min_confidence: Confidence of the prediction, in [0, 1], below which an approved call counts as uncertain;
            one without a confidence does, too. None: none is needed.
        on_uncertain: What becomes of an uncertain call: ``block`` rejects it, ``allow`` runs it, ``escalate`` asks
            a human.
        on_reject: The same for calls that the critic rejects.
        on_failure: The same for calls whose critic or world model broke; None for what the loop does.
    """

    simulate: bool = True
    budget: int | None = Field(default=None, ge=0)
    timeout: float | None = Field(default=None, gt=0)
    irreversible: bool = False
    idempotent: bool = False
    retries: int = Field(default=0, ge=0)
    sequential: bool = False
    needs_success: bool | None = None
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    on_uncertain: Policy = "block"
    on_reject: Policy = "block"
    on_failure: Policy | None = None

    @model_validator(mode="after")
    def _only_idempotent_tools_are_retried(self) -> ToolSettings:
        if self.retries and not self.idempotent:
            raise ValueError(
                "retries need idempotent: true; a tool that is not idempotent must not be called twice"
            )
        return self


class LoopSettings(Noun):
    """How the loop decides.

    Attributes:
        candidates: How many responses the policy proposes per turn.
        resample: How many responses are drawn anew, from the same prompt, where every call in all candidates was
            rejected. Only when nothing among these is approved either, the policy is told why. 0 tells it at once.
            Needs a policy that samples. No response streams token by token then, since any may yet be dropped.
        horizon: How many steps each proposal is imagined ahead.
        memory: What the policy reads of its own earlier turns: ``thoughts`` shows them whole, ``actions`` shows
            the calls without the text beside them. The conversation and the record keep everything.
        inner_simulation: Whether what the policy's own thinking imagines of a call is recorded and scored
            beside the world model's prediction. It makes no difference where the world model is the policy's
            thinking itself.
        mode: ``enforce`` obeys verdicts, ``advise`` runs everything and adds the hint to the result,
            ``shadow`` only records.
        max_revisions: How many turns in a row may be rejected entirely before ``on_exhausted`` decides.
        on_exhausted: ``block`` refuses the calls, ``allow`` runs them, ``escalate`` asks a human.
        on_failure: The same for calls whose critic or world model broke.
        max_blocks: After how many refused turns in a row the run ends.
        max_steps: How many executed turns a run may take.
        discount: Discount per imagined step, in (0, 1].
        dry_run: No tool runs: the world model's prediction takes the place of the result.
        verdict_ttl: Seconds for which a verdict counts; None means for ever.
        world_model_timeout: Seconds that all predictions of one depth may take, or all surprises of one round.
        surprise: Whether a world model that can tell is asked how likely it had thought what really happened.
        critic_timeout: Seconds that judging one turn may take.
        tools: `ToolSettings` by tool name or glob; the first match in order counts, an exact name before any
            glob.
    """

    candidates: int = Field(default=1, ge=1)
    resample: int = Field(default=0, ge=0)
    horizon: int = Field(default=1, ge=1)
    memory: Memory = "thoughts"
    inner_simulation: bool = False
    mode: Mode = "enforce"
    max_revisions: int = Field(default=2, ge=0)
    on_exhausted: Policy = "block"
    on_failure: Policy = "block"
    max_blocks: int = Field(default=3, ge=1)
    max_steps: int = Field(default=50, ge=1)
    discount: float = Field(default=DISCOUNT, gt=0, le=1)
    dry_run: bool = False
    verdict_ttl: float | None = Field(default=None, gt=0)
    world_model_timeout: float | None = Field(default=None, gt=0)
    surprise: bool = True
    critic_timeout: float | None = Field(default=None, gt=0)
    tools: Mapping[str, ToolSettings] = Field(default_factory=dict)

    @field_validator("tools")
    @classmethod
    def _each_glob_is_reached(cls, tools: Mapping[str, ToolSettings]) -> Mapping[str, ToolSettings]:
        refuse_unreached_globs(tools)
        return tools

    def tool(self, name: str) -> ToolSettings:
        """Return the settings of one tool."""
        if name in self.tools:
            return self.tools[name]
        return next((s for glob, s in self.tools.items() if fnmatchcase(name, glob)), _DEFAULT)

    @property
    def resamples(self) -> bool:
        """Whether a response may be dropped for others, and so must not stream; only where verdicts are obeyed."""
        return self.mode == "enforce" and self.resample > 0

    @property
    def can_escalate(self) -> bool:
        """Whether a policy of these settings may ask a human."""
        tools = [
            p for tool in self.tools.values() for p in (tool.on_uncertain, tool.on_reject, tool.on_failure)
        ]
        return "escalate" in (self.on_exhausted, self.on_failure, *tools)


_DEFAULT = ToolSettings()


def refuse_unreached(name: str, globs: Sequence[str], earlier: Sequence[str]) -> None:
    """Refuse what can never match, because everything it matches is matched by something earlier.

    Raises:
        PydanticCustomError: It cannot; raised in a validator, this becomes a problem of the settings.
    """
    before = [next((g for g in earlier if fnmatchcase(glob, g)), None) for glob in globs]
    if None not in before:
        raise PydanticCustomError(
            "never_reached",
            "{name} is never reached, because {before} stands before it; put the more special one first",
            {"name": repr(name), "before": " and ".join(sorted({repr(b) for b in before}))},
        )


def refuse_unreached_globs(tools: Iterable[str]) -> None:
    """Refuse names and globs of tools, in order, of which one can never match.

    Raises:
        PydanticCustomError: As `refuse_unreached`.
    """
    globs = [glob for glob in tools if any(c in glob for c in "*?[")]  # a plain name always comes first
    for index, glob in enumerate(globs):
        refuse_unreached(glob, (glob,), globs[:index])


def loop_settings(**values: Any) -> LoopSettings:
    """Build `LoopSettings`; plain dicts are accepted for ``tools``."""
    return LoopSettings.model_validate(values)
