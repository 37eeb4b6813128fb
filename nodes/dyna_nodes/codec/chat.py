"""ChatML, written once for training and for inference.

The chat template that ships with SmolLM2 drops tool calls and ignores tools, and a naive template turns tool
output that contains ``<|im_start|>`` into real role tokens. Here every piece of text is tokenised by itself
with special tokens split into plain characters, and only the codec itself emits role tokens. Two things
follow: no text can forge a turn, and the ids of a conversation are a prefix of the ids of any longer one,
which is what makes a prefix cache hit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from dyna_nodes.codec.actions import ToolFormat, format_calls

Role = Literal["system", "user", "assistant", "tool"]
_HALF = re.compile("[\ud800-\udfff]")
IM_START, IM_END = "<|im_start|>", "<|im_end|>"


class Encoded(NamedTuple):
    """Token ids and, for each, whether the assistant wrote it (1) or only reads it (0)."""

    ids: list[int]
    targets: list[int]


class ChatCodec:
    """Turns messages into token ids.

    Args:
        tokenizer: A Hugging Face tokenizer that has ``<|im_start|>`` and ``<|im_end|>``.

    Raises:
        ValueError: The tokenizer has no ChatML tokens.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        known = tokenizer.get_vocab()
        missing = [t for t in (IM_START, IM_END) if t not in known]
        if missing:
            raise ValueError(
                f"the tokenizer has no {' and '.join(missing)}: the codec speaks ChatML; "
                "choose a model with a ChatML tokenizer (SmolLM2, Qwen) or add the tokens to it"
            )
        self.start_id: int = known[IM_START]
        self.end_id: int = known[IM_END]
        self._newline = self.text("\n")
        self._openings = {
            r: [self.start_id, *self.text(f"{r}\n")] for r in ("system", "user", "assistant", "tool")
        }

    def text(self, text: str) -> list[int]:
        """Tokenise untrusted text; special tokens in it come out as plain characters.

        Half a surrogate pair, which is no text and which tokenizers refuse, is read as the replacement character.
        """
        if not text.isascii():
            text = _HALF.sub("\ufffd", text)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn generated ids back into text, end-of-turn left out."""
        return str(self.tokenizer.decode([i for i in ids if i != self.end_id], skip_special_tokens=False))

    def opening(self, role: Role) -> list[int]:
        """Return the ids that open a turn."""
        return list(self._openings[role])

    def closing(self) -> list[int]:
        """Return the ids that close a turn: end-of-turn and a newline."""
        return [self.end_id, *self._newline]

    def turn(self, role: Role, content: str) -> list[int]:
        """Return the ids of one whole turn."""
        return [*self._openings[role], *self.text(content), *self.closing()]

    def encode(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[dict[str, Any]] = (),
        tool_format: ToolFormat = "text",
        open_assistant: bool = True,
    ) -> Encoded:
        """Encode a conversation.

        Args:
            messages: LangChain messages; tool messages become ``tool`` turns (``user`` turns in text format,
                the role that small models know).
            tools: OpenAI tool schemas; told to the model in the system turn in ``template`` format.
            tool_format: How calls are written, see `dyna_nodes.codec.actions`.
            open_assistant: End with an open assistant turn, ready to be continued.
        """
        ids: list[int] = []
        targets: list[int] = []
        rest = list(messages)
        system = [_content(m) for m in rest if isinstance(m, SystemMessage)]
        if tools and tool_format == "template":
            system.append(_describe(tools))
        if system:
            ids += self.turn("system", "\n\n".join(system))
        targets += [0] * len(ids)
        for message in rest:
            if isinstance(message, SystemMessage):
                continue
            if isinstance(message, AIMessage):
                body = [
                    *self.text(format_calls(_content(message), message.tool_calls, tool_format)),
                    self.end_id,
                ]
                head = self.opening("assistant")
                ids += [*head, *body, *self._newline]
                targets += [0] * len(head) + [1] * len(body) + [0] * len(self._newline)
            else:
                turn = self.turn(_role(message, tool_format), _content(message))
                ids += turn
                targets += [0] * len(turn)
        if open_assistant:
            head = self.opening("assistant")
            ids += head
            targets += [0] * len(head)
        return Encoded(ids, targets)


def _role(message: BaseMessage, tool_format: ToolFormat) -> Role:
    if isinstance(message, HumanMessage):
        return "user"
    if isinstance(message, ToolMessage):
        return "tool" if tool_format == "template" else "user"
    raise ValueError(
        f"cannot encode a message of type {message.type!r}; use system, human, ai or tool messages"
    )


def _content(message: BaseMessage) -> str:
    """Return the text of a message; other blocks are refused, since a text model cannot read them."""
    if isinstance(message.content, str):
        return message.content
    parts: list[str] = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block.get("text", "")))
        elif block.get("type") not in {"tool_use", "tool_call", "reasoning"}:
            raise ValueError(f"a text model cannot read a {block.get('type')!r} content block")
    return "".join(parts)


def _describe(tools: Sequence[dict[str, Any]]) -> str:
    lines = "\n".join(json.dumps(t.get("function", t), sort_keys=True, ensure_ascii=False) for t in tools)
    return (
        f"You may call these tools:\n<tools>\n{lines}\n</tools>\n"
        'To call one, write <tool_call>{"name": …, "arguments": {…}}</tool_call>.'
    )
