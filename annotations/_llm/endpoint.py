"""Chat with an OpenAI-compatible endpoint: patient with busy servers, strict with everything else."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from annotations._llm.answer import one_line
from reasoning_anatomy.errors import AnnotationError

_PATH: Final = "/chat/completions"
_BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSES_FORMAT: Final = frozenset({400, 415, 422, 501})
_LONGEST_WAIT: Final = 120.0
_LARGEST_ANSWER: Final = 8 << 20
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_FORMATS: Final = ("json_schema", "json_object", "text")


@dataclass
class ChatEndpoint:
    """One model at one address.

    Attributes
    ----------
    url, model, key_variable, temperature, attempts, timeout
        As in ``annotations.llm.Llm``.
    """

    url: str
    model: str
    key_variable: str
    temperature: float
    attempts: int
    timeout: float
    _format: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def session(self) -> Iterator[httpx.Client]:
        """Keep connections open, to the given address alone: no proxy from the environment, no redirect."""
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=self.timeout, headers=self._headers()) as client:
            yield client

    def ask(self, client: httpx.Client, messages: list[dict[str, str]], schema: dict[str, Any]) -> str:
        """Send messages and return the text of the reply, constrained as far as the server can.

        Raises
        ------
        AnnotationError
            The server refuses, does not answer, or stays busy.
        """
        while True:
            chosen = self._format
            body = {"model": self.model, "messages": messages, "temperature": self.temperature, **_format(chosen, schema)}
            status, content = self._post(client, body)
            if status == httpx.codes.OK:
                return self._reply(content)
            if status not in _REFUSES_FORMAT or _FORMATS[chosen] == "text":
                raise self._error(f"answers {status}: {_shown(content)}{_remedy(status, self.key_variable)}")
            with self._lock:
                self._format = max(self._format, chosen + 1)

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> tuple[int, bytes]:
        """Send once, and again while the server is busy or does not answer."""
        for attempt in range(1, self.attempts + 1):
            try:
                with client.stream("POST", self._address, json=body) as response:
                    content = self._limited(response)
                    status, after = response.status_code, response.headers.get("retry-after")
                    reason = f"answers {status}: {_shown(content)}"
            except httpx.RequestError as error:
                status, after, reason = 0, None, f"does not answer ({type(error).__name__}: {one_line(str(error))})"
            if status and status not in _BUSY:
                return status, content
            wait = _wait(after, attempt)
            if wait > _LONGEST_WAIT:
                raise self._error(
                    f"{reason}; it asks to wait {wait:.0f} s. Run the same command later; the answers so far are kept"
                )
            if attempt < self.attempts:
                time.sleep(wait)
        raise self._error(
            f"{reason}, {self.attempts} times; check the url, or run the same command later; the answers so far are kept"
        )

    def _limited(self, response: httpx.Response) -> bytes:
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                raise self._error(f"answers with more than {_LARGEST_ANSWER} bytes; lower units_per_request")
        return content

    def _reply(self, content: bytes) -> str:
        try:
            reply = httpx.Response(200, content=content).json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise self._error(
                f"answers something that is not a chat completion ({error!r}): {_shown(content)}; check the url"
            ) from error
        return reply if isinstance(reply, str) else ""

    @property
    def _address(self) -> str:
        return self.url if self.url.rstrip("/").endswith(_PATH) else self.url.rstrip("/") + _PATH

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if not key:
            return {}
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise self._error(
                f"cannot be sent the key in {self.key_variable}: it has characters that no key has; set the variable again"
            )
        parts = urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise self._error(
                f"would be sent the key in {self.key_variable} unencrypted; use https, or send no key: key_variable="
            )
        return {"Authorization": f"Bearer {key}"}

    def _error(self, what: str) -> AnnotationError:
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        safe = what.replace(key, "***") if key else what  # a server may repeat what it was sent
        return AnnotationError(f"{self.model} at {self._address} {safe}")


def _format(chosen: int, schema: dict[str, Any]) -> dict[str, Any]:
    if _FORMATS[chosen] == "json_schema":
        definition = {"name": "labels", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": definition}}
    return {"response_format": {"type": "json_object"}} if _FORMATS[chosen] == "json_object" else {}


def _wait(retry_after: str | None, attempt: int) -> float:
    """Seconds to wait: as many as the server asks for, else 1, then 2, 4 and so on."""
    if retry_after is not None:
        try:
            return max(0.0, float(retry_after))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
        except (ValueError, TypeError):
            pass
    return float(min(2 ** (attempt - 1), 30))


def _remedy(status: int, key_variable: str) -> str:
    if status in (401, 403):
        return f"; set the environment variable {key_variable} to a key of this server"
    return "; check the url and the name of the model" if 300 <= status < 500 else ""


def _shown(content: bytes) -> str:
    return one_line(content[:4000].decode(errors="replace")) or "nothing"
