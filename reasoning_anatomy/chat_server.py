"""Talk to an OpenAI-compatible server: patient with busy servers, strict with everything else."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from reasoning_anatomy.errors import ServerError
from reasoning_anatomy.gate import Gate
from reasoning_anatomy.options import expect_address
from reasoning_anatomy.untrusted import one_line

_CHAT: Final = "/chat/completions"
_MODELS: Final = "/models"
_BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_FULL: Final = frozenset({429, 503, 529})
_LONGEST_WAIT: Final = 120.0
_LARGEST_ANSWER: Final = 8 << 20
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_LONGEST_CONNECT: Final = 20.0
_LONGEST_IDLE: Final = 2.0  # seconds; servers close connections that are idle for about five
_LATER: Final = "run the same command later; what was received is kept"


@dataclass(frozen=True)
class ChatServer:
    """A server at one address, to which alone anything is sent.

    Attributes
    ----------
    url
        Its address, such as ``http://localhost:8000/v1``.
    model
        Name of the model in errors; None if it is not known.
    key_variable
        Name of the environment variable that holds the key; empty for no key.
    attempts, timeout
        How often a server that is busy or does not answer is tried, and the seconds that each attempt may take.
    length_option
        Name of the option that makes answers shorter, for the error about an answer that is too long.

    Raises
    ------
    ValueError
        The address is none, or holds something that must not be kept.
    """

    url: str
    model: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    attempts: int = 4
    timeout: float = 120.0
    length_option: str = "max_tokens"

    def __post_init__(self) -> None:
        expect_address(self.url)

    @contextmanager
    def session(self) -> Iterator[httpx.Client]:
        """Keep connections open, to the given address alone: no proxy from the environment, no redirect."""
        with httpx.Client(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, _LONGEST_CONNECT), pool=None),
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_LONGEST_IDLE),
            headers=self._headers(),
        ) as client:
            yield client

    def post(
        self,
        client: httpx.Client,
        body: Mapping[str, Any],
        *,
        ended: threading.Event | None = None,
        gate: Gate | None = None,
    ) -> tuple[int, bytes]:
        """Send a request for a reply of the model, and again while the server is busy or does not answer.

        Parameters
        ----------
        client
            A session.
        body
            What is asked.
        ended
            Set by another thread when the reply is not wanted any more: then nothing is sent again.
        gate
            Through which the requests of several threads go. A server that is full is asked for as long as it answers others.

        Returns
        -------
        Status and content of a response that waiting would not change.

        Raises
        ------
        ServerError
            The server stays busy, does not answer, or answers without end.
        """
        ended, gate = ended or threading.Event(), gate or Gate(1)
        attempt, n_answered = 0, gate.n_answered
        while True:
            with gate.passed(ended) as sent:
                if ended.is_set() and not attempt:
                    raise self.error("was not asked any more, since another request failed")
                status, content, after, reason = self._send(client, "POST", self.address, body)
            if status and status not in _BUSY:
                gate.answered()
                return status, content
            gate.found_full(sent)
            if status in _FULL and gate.n_answered > n_answered:
                attempt, n_answered = 0, gate.n_answered
            attempt += 1
            wait = _wait(after, attempt)
            if wait > _LONGEST_WAIT:
                raise self.error(f"{reason}; it asks to wait {wait:.0f} s. {_LATER.capitalize()}")
            if attempt < self.attempts:
                _pause(wait, ended)
            if attempt >= self.attempts or ended.is_set():
                times = f"{attempt} {'time' if attempt == 1 else 'times'}"
                raise self.error(f"{reason}, {times}; check the url, or {_LATER}")

    def models(self, client: httpx.Client) -> list[str] | None:
        """Names of the models that the server lists; None if it has no list.

        Raises
        ------
        ServerError
            Nothing answers at the address, or the key is refused.
        """
        status, content, _, reason = self._send(client, "GET", self._root + _MODELS)
        if not status:
            raise self.error(f"{reason}; start the server, or check the url")
        if status in (401, 403):
            raise self.refusal(status, content)
        try:
            return [str(model["id"]) for model in httpx.Response(status, content=content).json()["data"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def choice(self, content: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Read a response: its first choice, which has a message, and the whole.

        Raises
        ------
        ServerError
            It is not a chat completion.
        """
        try:
            response = httpx.Response(200, content=content).json()
            choice = response["choices"][0]
            if not isinstance(choice["message"], Mapping):
                raise TypeError("the message is not an object")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise self.error(
                f"answers something that is not a chat completion ({error!r}): {_shown(content)}; check the url"
            ) from error
        return choice, response

    def refusal(self, status: int, content: bytes, remedy: str | None = None) -> ServerError:
        """Make the error that says what a server answered instead of a reply, and what can be done."""
        return self.error(f"answers {status}: {_shown(content)}{self._remedy(status) if remedy is None else f'; {remedy}'}")

    def error(self, what: str) -> ServerError:
        """Make the error that says what a server did; the key is not in it even if the server repeats it."""
        key = self._key()
        safe = what.replace(key, "***") if key else what
        return ServerError(f"{self.model or 'the server'} at {self.address} {safe}")

    @property
    def address(self) -> str:
        """Where replies are asked for."""
        return self._root + _CHAT

    @property
    def _root(self) -> str:
        return self.url.rstrip("/").removesuffix(_CHAT)

    def _send(
        self, client: httpx.Client, method: str, address: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, bytes, str | None, str]:
        """Send once -> status (0 if there is no answer), content, for how long to wait, and what happened in words."""
        try:
            with client.stream(method, address, json=body) as response:
                content = self._limited(response)
                status = response.status_code
                return status, content, response.headers.get("retry-after"), f"answers {status}: {_shown(content)}"
        except httpx.RequestError as error:
            return 0, b"", None, f"does not answer ({type(error).__name__}: {one_line(str(error))})"

    def _limited(self, response: httpx.Response) -> bytes:
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                raise self.error(f"answers with more than {_LARGEST_ANSWER} bytes; lower {self.length_option}")
        return content

    def _headers(self) -> dict[str, str]:
        key = self._key()
        if not key:
            return {}
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise self.error(
                f"cannot be sent the key in {self.key_variable}: it has characters that no key has; set the variable again"
            )
        parts = urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise self.error(
                f"would be sent the key in {self.key_variable} unencrypted; use https, or send no key: key_variable="
            )
        return {"Authorization": f"Bearer {key}"}

    def _key(self) -> str:
        return os.environ.get(self.key_variable, "").strip() if self.key_variable else ""

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return f"; set the environment variable {self.key_variable} to a key of this server"
        return "; check the url and the name of the model" if 300 <= status < 500 else ""


def _pause(seconds: float, ended: threading.Event) -> None:
    ended.wait(seconds)


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


def _shown(content: bytes) -> str:
    return one_line(content[:4000].decode(errors="replace")) or "nothing"
