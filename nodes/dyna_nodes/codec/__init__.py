"""The text formats, written once: training and inference import the same codec, so that they cannot drift."""

from dyna_nodes.codec.actions import ParsedReply, ToolFormat, format_calls, parse_action, parse_reply
from dyna_nodes.codec.chat import ChatCodec, Encoded
from dyna_nodes.codec.outcome import Outcome
from dyna_nodes.codec.row import IGNORED, Example
from dyna_nodes.codec.world_model import Context, WorldModelCodec, expected_return, return_level

__all__ = [
    "IGNORED",
    "ChatCodec",
    "Context",
    "Encoded",
    "Example",
    "Outcome",
    "ParsedReply",
    "ToolFormat",
    "WorldModelCodec",
    "expected_return",
    "format_calls",
    "parse_action",
    "parse_reply",
    "return_level",
]
