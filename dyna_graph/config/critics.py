"""The critics of a configuration: a list of ``{critic, tools}``, one model per kind."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, WrapSerializer
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dyna_graph.config.settings import ModelSettings, Settings, Share, Text


class CriticSettings(Settings):
    """What all critics have in common; a critic's name alone is the short form."""

    short: ClassVar[str | None] = "critic"

    tools: Text = "*"
    """Glob of the tools that it judges; the first critic in the list that matches a call judges it."""


class ValueCriticSettings(CriticSettings):
    """Judges by the imagined return."""

    critic: Literal["value"]
    """`value`: the call with the highest imagined return is taken."""
    discount: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.95
    """Factor per imagined step, in (0, 1]."""
    minimum: Share | None = None
    """Reject calls with a lower imagined return; left out: reject none, only take the best."""
    spare_best: bool = True
    """With `minimum`: approve the best call even when all are below it."""


class JudgeCriticSettings(CriticSettings):
    """Asks a chat model, or a trained critique adapter."""

    critic: Literal["judge"]
    """`judge`: a chat model reads the prediction and decides."""
    model: ModelSettings | None = None
    """The model that judges; left out: the policy's."""


AnyCritic = Annotated[ValueCriticSettings | JudgeCriticSettings, Field(discriminator="critic")]


def _one(value: Any) -> Any:
    return {"critic": value} if isinstance(value, str) else value


def _many(value: Any) -> Any:
    return value if isinstance(value, list | tuple) or value is None else [value]


def _fewest(value: Any, handler: Any) -> Any:
    plain = list(handler(value))
    return plain[0] if len(plain) == 1 else plain


class _ManyOrOne:
    """Tells the JSON schema that one critic needs no list."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        many = handler(core)
        return {"anyOf": [many["items"], many]}


Critics = Annotated[
    tuple[Annotated[AnyCritic, BeforeValidator(_one)], ...],
    BeforeValidator(_many),
    WrapSerializer(_fewest),
    _ManyOrOne,
]
"""A list of critics; a single one needs no list."""
