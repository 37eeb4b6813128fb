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
from dyna_graph.models import LOCAL, VLLM, parse_model
from dyna_graph.plugins import WORLD_MODELS, plugin_names
from dyna_nodes.codec.world_model import DISCOUNT

Count = Annotated[int, Field(strict=True, ge=1)]
CountOrZero = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Discount = Annotated[float, Field(strict=True, gt=0, le=1)]
Policy = Literal["block", "allow", "escalate"]
Text = Annotated[str, Field(min_length=1)]

KINDS = ("chat", "trained", "thinking", "environment", "none")
"""Kinds of world models that need no plugin, except that *environment* comes with the training package."""

_TAKES = {"model": ("chat", "trained"), "context": ("chat", "trained")}


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
    """`provider:model` as `init_chat_model` takes it, `local:base[+adapter]`, or on a vLLM server `vllm:model[@url]` or
    `vllm:base+adapter[@url]`."""
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

    `local:base+adapter` and `vllm:base+adapter` are short for the kind `trained`, any other model's name for `chat`.
    """

    kind: Text
    """`chat` (any chat model, prompted), `trained` (a fine-tuned adapter), `thinking` (what the policy simulates in
    its own response; no second model), `environment` (a fork of the real one), `none`, or the name of an installed
    plugin."""
    model: ModelSettings | None = None
    """The model of the kinds `chat` and `trained`."""
    context: Literal["agent", "privileged"] = "agent"
    """What it is told: what the agent has seen, or also the environment's hidden state (`privileged`)."""
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
        for key in ("model", "context"):
            default = type(self).model_fields[key].default
            if getattr(self, key) != default and self.kind in KINDS and self.kind not in _TAKES[key]:
                raise PydanticCustomError(
                    "not_taken",
                    "a world model of kind '{kind}' takes no {key}",
                    {"kind": self.kind, "key": key},
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the short form to the JSON schema, and that a model alone implies the kind."""
        long = handler(core)
        kind = long["properties"]["kind"]
        kind["examples"] = list(KINDS)
        del long["required"]
        long["anyOf"] = [{"required": ["kind"]}, {"required": ["model"]}]
        return {"anyOf": [{**kind, "examples": [*KINDS, "local:smollm2"]}, long]}

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
    try:
        name = parse_model(model)
    except ModelError:
        return "chat"
    return "trained" if name.provider in (LOCAL, VLLM) and name.adapter is not None else "chat"


class SimulateSettings(Settings):
    """How far the agent looks ahead."""

    candidates: Count = 1
    """How many responses the policy proposes per turn; the best one is taken."""
    resample: CountOrZero = 0
    """How many are drawn anew, from the same prompt, where every call of theirs was rejected, before the policy is told
    why. Needs a policy that samples; no response streams token by token then."""
    horizon: Count = 1
    """How many steps deep each proposed action is imagined."""
    discount: Discount = DISCOUNT
    """Factor per imagined step, in (0, 1]."""
    world_model_timeout: Seconds | None = None
    """Seconds that all predictions of one depth may take; missing ones then count as failed."""
    inner_simulation: bool = False
    """Whether what the policy's own thinking imagines is recorded and scored beside the world model's prediction."""
    surprise: bool = True
    """Whether the world model is asked how likely it had thought what really happened; see `scores` in the log."""


class CritiqueSettings(Settings):
    """What a verdict, or the lack of one, leads to."""

    max_revisions: CountOrZero = 2
    """How many turns in a row may be rejected entirely before `on_exhausted` decides."""
    on_exhausted: Policy = "block"
    """When the revisions run out: `block` refuses the calls, `allow` runs them, `escalate` asks a human."""
    on_failure: Policy = "block"
    """The same for calls whose world model or critic broke."""
    unmatched: Literal["approve", "reject", "escalate"] = "approve"
    """What happens to a call of a tool that no critic judges."""
    critic_timeout: Seconds | None = None
    """Seconds that judging one turn may take. Left out: no limit."""
    verdict_ttl: Seconds | None = None
    """Seconds for which a verdict counts; a call that starts later is judged again. Left out: for ever."""


class ToolSettings(Settings):
    """How one tool, or all tools of one glob, are treated."""

    simulate: bool = True
    """`false` opts out: calls are neither imagined nor judged, and the record says so."""
    budget: CountOrZero | None = None
    """How many calls may be imagined per trajectory; further ones count as unanswered. Left out: all."""
    timeout: Seconds | None = None
    """Seconds that a call may take; then its outcome is unknown. Left out: no limit."""
    irreversible: bool = False
    """The effect cannot be undone: the intent is forced to the disk before the tool runs, and where there is a world
    model, a call needs a predicted success (see `needs_success`)."""
    idempotent: bool = False
    """Calling it twice has the effect of calling it once, so it may be retried."""
    retries: CountOrZero = 0
    """How often an idempotent tool is called again after it raised."""
    sequential: bool = False
    """Calls run one after another, each imagined after the previous one was executed; for environments."""
    needs_success: bool | None = None
    """An approved call counts as uncertain unless its success is predicted. Left out: so for irreversible tools."""
    min_confidence: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    """An approved call counts as uncertain where its prediction has less confidence, or none. Left out: any will do."""
    on_uncertain: Policy = "block"
    """What becomes of an uncertain call: `block`, `allow`, or `escalate` to a human."""
    on_reject: Policy = "block"
    """What becomes of a call that its critic rejects."""
    on_failure: Policy | None = None
    """What becomes of a call whose critic or world model broke. Left out: what `critique` says."""

    @model_validator(mode="after")
    def _retried_only_when_idempotent(self) -> Self:
        if self.retries and not self.idempotent:
            raise PydanticCustomError(
                "retries", "retries need idempotent: true, because any other tool must not be called twice"
            )
        return self


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
    """How long a run may take."""

    max_steps: Count = 50
    """How many executed turns a run may take."""
    max_blocks: Count = 3
    """After how many refused turns in a row the run ends."""
