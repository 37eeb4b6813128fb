"""From generated tokens to text, as it comes: half characters and possible stop strings are held back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TextStream:
    """The growing text of one branch.

    Args:
        tokenizer: A Hugging Face tokenizer.
        stop: Stop strings.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._ids: list[int] = []
        self._text = ""  # decoded so far
        self._sent = 0  # length of what was handed out
        self._window = 0  # ids before this are decoded for good
        self._window_text = 0  # length of the text of ids before the window
        self.stopped = False

    def push(self, token: int) -> str:
        """Take in a token and return the text that became certain.

        Sets ``stopped`` when a stop string is complete.
        """
        self._ids.append(token)
        tail = decode(self._tokenizer, self._ids[self._window :])
        if tail.endswith("�"):  # perhaps half a character
            return ""
        self._text = self._text[: self._window_text] + tail
        if len(self._ids) - self._window > 16 and len(tail) > 8:
            self._advance()
        found = [at for s in self._stop if (at := self._text.find(s, max(0, self._sent - len(s)))) >= 0]
        if found:
            self.stopped = True
            self._text = self._text[: min(found)]
            return self._hand_out(len(self._text))
        return self._hand_out(len(self._text) - self._held())

    def finish(self) -> str:
        """Return what was still held back; the branch ends here."""
        if not self.stopped and self._ids:
            self._text = self._text[: self._window_text] + decode(self._tokenizer, self._ids[self._window :])
        return self._hand_out(len(self._text))

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text

    def _advance(self) -> None:
        """Move the window on, if the text splits cleanly there; keeps decoding linear in the length."""
        middle = len(self._ids) - 4
        head = decode(self._tokenizer, self._ids[self._window : middle])
        whole = self._text[self._window_text :]
        if head + decode(self._tokenizer, self._ids[middle:]) == whole:
            self._window, self._window_text = middle, self._window_text + len(head)

    def _held(self) -> int:
        """Return how many characters at the end may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(self._text)), longest, -1):
                if self._text.endswith(stop[:size]):
                    longest = size
                    break
        return longest

    def _hand_out(self, end: int) -> str:
        new = self._text[self._sent : max(self._sent, end)]
        self._sent = max(self._sent, end)
        return new


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return the text of the ids, exactly: special tokens stay, spaces are not tidied."""
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
