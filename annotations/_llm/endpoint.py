"""Ask a model at an OpenAI-compatible server for JSON, constrained as far as the server can."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from reasoning_anatomy.chat_server import ChatServer
from reasoning_anatomy.errors import AnnotationError, ServerError

_REFUSES_FORMAT: Final = frozenset({400, 415, 422, 501})
_FORMATS: Final = ("json_schema", "json_object", "text")


@dataclass
class ChatEndpoint:
    """One model at one address, which remembers what constraints the server accepts.

    Attributes
    ----------
    server
        The address, with the name of the model.
    temperature
        As in ``annotations.llm.Llm``.
    """

    server: ChatServer
    temperature: float
    _format: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def session(self) -> Iterator[httpx.Client]:
        """Keep connections open."""
        try:
            with self.server.session() as client:
                yield client
        except ServerError as error:
            raise AnnotationError(str(error)) from error

    def ask(self, client: httpx.Client, messages: list[dict[str, str]], schema: dict[str, Any]) -> str:
        """Send messages and return the text of the reply.

        Raises
        ------
        ServerError
            The server refuses, does not answer, or stays busy.
        """
        while True:
            chosen = self._format
            body = {
                "model": self.server.model,
                "messages": messages,
                "temperature": self.temperature,
                **_format(chosen, schema),
            }
            status, content = self.server.post(client, body)
            if status == httpx.codes.OK:
                choice, _ = self.server.choice(content)
                reply = choice["message"].get("content")
                return reply if isinstance(reply, str) else ""
            if status not in _REFUSES_FORMAT or _FORMATS[chosen] == "text":
                raise self.server.refusal(status, content)
            with self._lock:
                self._format = max(self._format, chosen + 1)


def _format(chosen: int, schema: dict[str, Any]) -> dict[str, Any]:
    if _FORMATS[chosen] == "json_schema":
        definition = {"name": "labels", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": definition}}
    return {"response_format": {"type": "json_object"}} if _FORMATS[chosen] == "json_object" else {}
