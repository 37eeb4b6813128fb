"""The critics of a configuration: a list of ``{critic, tools}``, one model per kind."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WrapSerializer,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from dyna_graph.config.settings import (
    Count,
    CountOrZero,
    Discount,
    ModelSettings,
    Number,
    Settings,
    Share,
    Text,
)


class TrustSettings(Settings):
    """A gate before a critic: where the world model has not proved reliable, the critic is not asked.

    Counted are the executed calls in the experience log that `record` names, of all threads; without a log those of
    the thread alone.
    """

    minimum_count: Count = 20
    """How many executed calls a tool needs before it can be trusted."""
    lower_bound: Share = 0.8
    """What the lower confidence bound of the metric must reach, in [0, 1]."""
    metric: Literal["exact", "f1", "outcome", "holds"] = "exact"
    """How predictions are compared with reality: exact text, token F1, or outcome; `holds` for the world model
    `thinking`, whose simulations need not say everything."""
    confidence: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.95
    """Confidence of the one-sided bound, in (0, 1)."""
    untrusted: Literal["escalate", "approve", "reject"] = "escalate"
    """What happens to a call of a tool that is not trusted: a human decides, it runs, or it does not run."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turn ``true`` into all defaults."""
        return {} if value is True else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the short form to the JSON schema."""
        switch = {"type": "boolean", "description": "`true`: with the defaults; `false`: no gate."}
        return {"anyOf": [switch, handler(core)]}


def _many(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _fewest(value: Any, handler: Any) -> Any:
    plain = list(handler(value))
    return plain[0] if len(plain) == 1 else plain


class _OneOrMany:
    """Tells the JSON schema that one thing needs no list."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(core)
        return {"anyOf": [many["items"], many]}


Globs = Annotated[tuple[Text, ...], BeforeValidator(_many), WrapSerializer(_fewest), _OneOrMany]


class CriticSettings(Settings):
    """What all critics have in common; a critic's name alone is the short form."""

    short: ClassVar[str | None] = "critic"

    tools: Globs = ("*",)
    """Glob, or list of globs, of the tools that it judges; the first critic that matches a call judges it."""
    trust: TrustSettings | None = None
    """Ask only where the world model has proved reliable; `true` takes the defaults. Left out: ask always."""

    @field_validator("trust", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return None if value is False else value


class ValueCriticSettings(CriticSettings):
    """Takes the call with the highest imagined return."""

    critic: Literal["value"]
    """`value`: by imagined return."""
    discount: Discount | None = None
    """Factor per imagined step, in (0, 1]. Left out: that of `simulate`."""
    minimum: Share | None = None
    """Reject calls with a lower imagined return. Left out: reject none."""
    spare_best: bool = True
    """With `minimum`: approve the best call even when all are below it."""


class OutcomeCriticSettings(CriticSettings):
    """Lets a call run only when its success is predicted; for what cannot be undone."""

    critic: Literal["outcome"]
    """`outcome`: by predicted success."""
    minimum_confidence: Share | None = None
    """A predicted success counts only with at least this confidence. Left out: with any."""
    otherwise: Literal["reject", "escalate"] = "reject"
    """What happens to a call without predicted success."""


class JudgeCriticSettings(CriticSettings):
    """Asks a chat model about every prediction."""

    critic: Literal["judge"]
    """`judge`: by a chat model that reads the prediction."""
    model: ModelSettings | None = None
    """The model that judges. Left out: the policy's."""
    instruction: Text | None = None
    """What the judge is told. Left out: the built-in instruction."""
    last_steps: CountOrZero = 20
    """How many of the last executed steps it sees."""


class RulesCriticSettings(CriticSettings):
    """Applies rules that need no world model: what had no effect just now, and loops."""

    critic: Literal["rules"]
    """`rules`: by what was executed before."""
    no_effect: tuple[Text, ...] | None = None
    """Observations that mean that an action did nothing. Left out: those of text games."""
    repeats: Count = 2
    """An action that was run this often with the same observation is a loop."""
    reject: tuple[Literal["known no effect", "loop"], ...] = ("known no effect", "loop")
    """Which findings reject a call; the others only lower its score."""


class HouseholdCriticSettings(CriticSettings):
    """Ranks actions in household games: predicted effect, repetition, success and value, agreement."""

    critic: Literal["household"]
    """`household`: by everything that a household world model predicts, and what the policy itself prefers."""
    no_effect: tuple[Text, ...] | None = None
    """Observations that mean that an action did nothing. Left out: those of text games."""
    no_effect_weight: Number = 1.0
    """Taken off the score for a predicted no effect."""
    repeat_weight: Number = 0.1
    """Taken off for each time that the predicted observation was seen before."""
    success_weight: Number = 1.0
    """Added for a predicted success, discounted."""
    value_weight: Number = 0.25
    """Factor of the imagined return."""
    agreement_weight: Number = 0.2
    """Factor of the share of the candidates that propose the same call."""
    log_probability_weight: Number = 0.05
    """Factor of the log-probability of the message under the policy, where the model reports it."""
    discount: Discount | None = None
    """Factor per imagined step, in (0, 1]. Left out: that of `simulate`."""
    rules: bool = False
    """Also apply the rules of the critic `rules`."""
    reject: tuple[Literal["predicted no effect", "known no effect", "loop"], ...] = (
        "predicted no effect",
        "known no effect",
        "loop",
    )
    """Which findings reject a call."""


class TogetherCriticSettings(CriticSettings):
    """Asks several critics about every call: the strictest decision counts, weighted scores add up."""

    short: ClassVar[str | None] = None

    critic: Literal["together"]
    """`together`: by several critics at once."""
    critics: Critics = Field(min_length=1)
    """The critics; their `tools` do not count here."""
    weights: tuple[Number, ...] = ()
    """Factor of each critic's score, in their order. Left out: 1 each."""

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights and len(self.weights) != len(self.critics):
            raise PydanticCustomError(
                "weights",
                "{critics} critics but {weights} weights; give one weight per critic, or none",
                {"critics": len(self.critics), "weights": len(self.weights)},
            )
        return self


AnyCritic = Annotated[
    ValueCriticSettings
    | OutcomeCriticSettings
    | JudgeCriticSettings
    | RulesCriticSettings
    | HouseholdCriticSettings
    | TogetherCriticSettings,
    Field(discriminator="critic"),
]


def _one(value: Any) -> Any:
    return {"critic": value} if isinstance(value, str) else value


Critics = Annotated[
    tuple[Annotated[AnyCritic, BeforeValidator(_one)], ...],
    BeforeValidator(_many),
    WrapSerializer(_fewest),
    _OneOrMany,
]
"""A list of critics; a single one needs no list."""

TogetherCriticSettings.model_rebuild()
