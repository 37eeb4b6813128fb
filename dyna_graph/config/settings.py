"""The sections of a configuration: one frozen model each, one docstring per key.

The docstrings are the descriptions in the JSON schema, so that an editor shows them beside the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from dyna_graph.errors import ModelError, suggestion
from dyna_graph.models import LOCAL, parse_model
from dyna_graph.plugins import WORLD_MODELS, plugin_names

Count = Annotated[int, Field(strict=True, ge=1)]
CountOrZero = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]

KINDS = ("chat", "trained", "environment", "none")
"""Kinds of world models that need no plugin, except that *environment* comes with the training package."""


class Settings(BaseModel):
    """Base of all sections: frozen, no unknown keys, and a short form where one key says it all."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        hide_input_in_errors=True,
    )
    short: ClassVar[str | None] = None
    """The key that a bare text stands for."""

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        value = cls.expand(value)
        if not isinstance(value, dict):
            return value
        # A key whose settings are all commented out is null in YAML; it means "the default".
        return {
            k: v
            for k, v in value.items()
            if v is not None or k not in cls.model_fields or cls._may_be_null(k)
        }

    @classmethod
    def _may_be_null(cls, key: str) -> bool:
        return type(None) in get_args(cls.model_fields[key].annotation)

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turn the short form into the long one; anything else is returned as it is."""
        return {cls.short: value} if cls.short and isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _contract(self, handler: SerializerFunctionWrapHandler) -> Any:
        plain = handler(self)
        return plain[self.short] if self.short and set(plain) == {self.short} else plain

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the short form to the JSON schema."""
        long = handler(core)
        if cls.short is None:
            return long
        text = handler.resolve_ref_schema(long)["properties"][cls.short]
        return {"anyOf": [text, long]}


class ModelSettings(Settings):
    """A chat model; its name alone is the short form."""

    short: ClassVar[str | None] = "name"

    name: Text
    """`provider:model` as `init_chat_model` takes it, `local:base[+adapter]` or `vllm:model[@url]`."""
    temperature: Annotated[float, Field(strict=True, ge=0, le=2)] | None = None
    """Sampling temperature in [0, 2]; left out: the model's own default."""
    max_tokens: Count | None = None
    """Most tokens per answer; left out: the model's own default."""
    timeout: Seconds | None = None
    """Seconds to wait for an answer, for models behind a network; left out: the model's own default."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the model, passed on as they are."""

    @field_validator("name")
    @classmethod
    def _readable(cls, name: str) -> str:
        try:
            parse_model(name)
        except ModelError as error:
            raise PydanticCustomError("model_name", "{error}", {"error": str(error)}) from None
        return name

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments for `resolve_model`."""
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "timeout": self.timeout}
        return {**{k: v for k, v in own.items() if v is not None}, **self.options}


class WorldModelSettings(Settings):
    """What imagines the outcome of an action; short form: a kind, a plugin's name or a model's name.

    `local:base+adapter` is short for the kind `trained`, any other model's name for the kind `chat`.
    """

    kind: Text
    """`chat` (any chat model, prompted), `trained` (a fine-tuned adapter), `environment` (a fork of the real
    one), `none`, or the name of an installed plugin."""
    model: ModelSettings | None = None
    """The model of the kinds `chat` and `trained`."""
    timeout: Seconds | None = 60.0
    """Seconds to wait for all predictions of one step; those missing then count as failed; `null`: no limit."""
    options: Mapping[str, Any] = Field(default_factory=dict)
    """Further keyword arguments of the world model, passed on as they are."""

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Turn a kind or a model's name into the long form; infer the kind where only the model is given."""
        if isinstance(value, str):
            return {"kind": _kind_of(value), "model": value} if ":" in value else {"kind": value}
        if isinstance(value, dict) and "kind" not in value and value.get("model") is not None:
            model = value["model"]
            name = model.get("name") if isinstance(model, dict) else model
            return {"kind": _kind_of(str(name)), **value}
        return value

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        plugins = plugin_names(WORLD_MODELS)
        if kind not in KINDS and kind not in plugins:
            known = [*KINDS, *(p for p in plugins if p not in KINDS)]
            hint = suggestion(kind, known, what="write one of " + "a model's name such as local:smollm2, or")
            raise PydanticCustomError(
                "kind", "unknown kind of world model '{kind}'; {hint}", {"kind": kind, "hint": hint}
            )
        return kind

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind in ("chat", "trained") and self.model is None:
            example = f"{LOCAL}:smollm2+my-adapter" if self.kind == "trained" else "openai:gpt-5-mini"
            raise PydanticCustomError(
                "no_model",
                "a world model of kind '{kind}' needs a model, such as {example}",
                {"kind": self.kind, "example": example},
            )
        if self.kind in ("none", "environment") and self.model is not None:
            raise PydanticCustomError(
                "model", "a world model of kind '{kind}' takes no model", {"kind": self.kind}
            )
        return self

    @model_serializer(mode="wrap")
    def _contract(self, handler: SerializerFunctionWrapHandler) -> Any:
        plain = handler(self)
        if set(plain) == {"kind"}:
            return plain["kind"]
        if (
            set(plain) == {"kind", "model"}
            and isinstance(plain["model"], str)
            and (_kind_of(plain["model"]) == self.kind)
        ):
            return plain["model"]
        return plain


def _kind_of(model: str) -> str:
    return "trained" if model.startswith(f"{LOCAL}:") and "+" in model else "chat"


class SimulateSettings(Settings):
    """How far the agent looks ahead."""

    candidates: Count = 1
    """How many responses the policy proposes per step; the best one is taken."""
    horizon: Count = 1
    """How many steps deep each proposed action is imagined."""


class CritiqueSettings(Settings):
    """What happens after a verdict that stops an action."""

    revisions: CountOrZero = 2
    """How often the policy may try again after all its calls were rejected."""
    on_exhausted: Literal["block", "allow", "escalate"] = "block"
    """When the revisions run out: answer the calls as refused, run them anyway, or ask a human."""
    on_failure: Literal["block", "allow", "escalate"] = "block"
    """When the world model or the critic itself breaks: refuse the call, run it, or ask a human."""


class ToolSettings(Settings):
    """How one group of tools is treated."""

    simulate: bool = True
    """Whether calls are imagined and judged before they run."""
    irreversible: bool = False
    """Whether an effect cannot be undone; its intent is then always forced to the disk first."""
    idempotent: bool = False
    """Whether running the same call twice does no more than running it once; only such calls are retried."""
    timeout: Seconds | None = None
    """Seconds after which a call counts as hanging; its outcome is then unknown."""
    budget: Count | None = None
    """Most simulations of these tools in one run; beyond it, calls count as not simulated."""


class RecordSettings(Settings):
    """The experience log; its folder alone is the short form."""

    short: ClassVar[str | None] = "folder"

    folder: Text
    """Folder of the log; relative to the configuration file."""
    level: Literal["process", "power"] = "process"
    """`process`: what is recorded survives the death of the process; `power`: also a power cut (slower)."""
    days: Annotated[float, Field(strict=True, gt=0)] | None = None
    """Delete segments whose last record is older than this many days; left out: keep all."""
    size: Count | None = None
    """Delete the oldest segments until the log has at most this many bytes; left out: keep all."""


class LimitSettings(Settings):
    """What bounds a run."""

    max_steps: Count = 50
    """Most steps (turns of the policy) in one run."""
    max_blocks: Count = 3
    """End the run after this many turns in a row that were refused with the revisions exhausted."""
