"""The protocol of StableToolBench's virtual API server: one POST for each call.

POST /virtual
{"category": "Data", "tool_name": "theclique", "api_name": "songkick_concert", "tool_input": {"id_conc": "1"},
 "strip": "", "toolbench_key": "…"}

{"error": "", "response": "…"}
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Final

from dyna_training.environments.connectors.failures import ConnectorError, within

LONGEST: Final = 4_000_000
"""Bytes of the longest answer that is read."""


class ToolServer:
    """A client of the server.

    Args:
        url: Its address.
        key: The ``toolbench_key`` that it passes on to the real APIs.
        timeout: Seconds that it may take.

    Raises:
        ValueError: The address or the timeout cannot be.
    """

    def __init__(self, url: str, key: str, timeout: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must be the http address of a virtual API server, got {url!r}.")
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout}.")
        self.url = url
        self._key = key
        self._timeout = timeout

    def ask(self, category: str, tool: str, api: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the server's answer to one call: ``error`` and ``response``.

        Raises:
            ConnectorError: The server is down, too slow, or answers with what is no answer.
        """
        asked = {
            "category": category,
            "tool_name": tool,
            "api_name": api,
            "tool_input": dict(arguments),
            "strip": "",
            "toolbench_key": self._key,
        }
        request = urllib.request.Request(
            self.url,
            data=json.dumps(asked, default=str).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            # The timeout of a socket begins again with each byte; the deadline does not.
            body = within(self._timeout, f"{self._name} ({api})", lambda: self._fetched(request))
        except urllib.error.HTTPError as error:
            said = error.read(200).decode("utf-8", "replace")
            raise ConnectorError(f"{self._name} answered {api!r} with status {error.code}: {said}") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._too_slow(api) from error
            raise ConnectorError(
                f"{self._name} cannot be reached ({error.reason}); start it with `python main.py` in the folder server "
                "of StableToolBench"
            ) from error
        except TimeoutError as error:
            raise self._too_slow(api) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectorError(f"{self._name} broke off its answer to {api!r}: {error!r}") from error
        return self._read(body, api)

    def _fetched(self, request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=self._timeout) as response:
            body: bytes = response.read(LONGEST + 1)
        return body

    @property
    def _name(self) -> str:
        return f"the tool server at {self.url}"

    def _too_slow(self, api: str) -> ConnectorError:
        return ConnectorError(f"{self._name} ({api}) did not answer within {self._timeout:g} seconds")

    def _read(self, body: bytes, api: str) -> dict[str, Any]:
        if len(body) > LONGEST:
            raise ConnectorError(f"{self._name} answered {api!r} with more than {LONGEST:,} bytes")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ConnectorError(f"{self._name} answered {api!r} with no JSON: {body[:200]!r}") from error
        if not isinstance(answer, dict) or not {"error", "response"} <= answer.keys():
            raise ConnectorError(
                f"{self._name} answered {api!r} without the keys error and response: {body[:200]!r}"
            )
        return answer
