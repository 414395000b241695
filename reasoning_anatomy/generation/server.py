"""Sample through an OpenAI-compatible server: many requests at once, a seed for each."""

import json
import queue
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from reasoning_anatomy.errors import SampleError, ServerError, UnusableError
from reasoning_anatomy.gate import Gate
from reasoning_anatomy.generation.completion import Completion, FinishReason, Sampling
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.options import expect_address, expect_at_least
from reasoning_anatomy.replies import Reply, read_reply
from reasoning_anatomy.untrusted import one_line, whole_characters

if TYPE_CHECKING:
    import httpx

    from reasoning_anatomy.chat_server import ChatServer

_OK: Final = 200
_REFUSES_REQUEST: Final = frozenset({400, 413, 422})
_BITS_OF_A_SEED: Final = 31
_TOO_LONG: Final = re.compile(r"context|too long|longer than|maximum\b.{0,20}\blength", re.IGNORECASE)
_LISTED: Final = 8
_OTHER_FILES: Final = 256
_FORMS: Final = ("fields", "generation_config", "plain")
_NEUTRAL: Final[Mapping[str, Any]] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_ORDER: Final[Mapping[str, Any]] = {"samplers": ["temperature", "top_p"]}
"""llama.cpp would draw by top_p before it divides by the temperature; other servers do not look at this."""


@dataclass(kw_only=True)
class ServedModel:
    """A model behind an OpenAI-compatible server, such as vLLM, SGLang, llama.cpp or ``transformers serve``.

    Attributes
    ----------
    url
        Address of the server, such as ``http://localhost:8000/v1``. Questions are sent there and nowhere else.
    model
        Its name there; None takes the only one that the server lists.
    key_variable
        Name of the environment variable that holds the server's key; empty for no key.
    concurrency
        Number of requests at the same time, at most: fewer while the server says that it is full.
    attempts, timeout
        How often a server that is busy or does not answer is tried, and the seconds that each sample may take.
    template_variables
        Variables of the chat template, such as ``{"enable_thinking": False}``.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    url: str
    model: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    attempts: int = 5
    timeout: float = 3600.0
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    _form: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        expect_at_least(self, concurrency=1, attempts=1, timeout=0.001)
        expect_address(self.url)

    def find_model(self) -> str:
        """Return the name of the model; the server is asked for it if it was not given.

        Raises
        ------
        ServerError
            Nothing answers, the key is refused, or the server does not list exactly one model.
        """
        server = self._server()
        with server.session() as client:
            return self._named(server, client).model or ""

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        """Make samples, at most ``concurrency`` at the same time.

        Parameters
        ----------
        requests
            The next is asked for only when there is room for it.

        Yields
        ------
        A request with its completion, or with the reason why this one cannot be made, as they are finished: in any order.

        Raises
        ------
        ServerError
            The server cannot be reached, refuses all requests alike, or has gone. What had been asked for before is waited
            for and yielded first.
        """
        server = self._server()
        _make_room_for(self.concurrency)
        with server.session() as client:
            named = self._named(server, client)
            ended = threading.Event()
            try:
                yield from self._all(named, client, iter(requests), ended)
            finally:
                ended.set()

    def _all(
        self, server: "ChatServer", client: "httpx.Client", waiting: Iterator[Request], ended: threading.Event
    ) -> Iterator[tuple[Request, Completion | SampleError]]:
        finished: queue.SimpleQueue[tuple[Request, Future[Completion | SampleError]]] = queue.SimpleQueue()
        gate, n_running = Gate(self.concurrency), 0
        failure: ServerError | None = None

        def work(request: Request) -> None:
            future: Future[Completion | SampleError] = Future()
            try:
                future.set_result(self._one(server, client, request, ended, gate))
            except Exception as error:
                future.set_exception(error)
            finished.put((request, future))

        while True:
            while failure is None and n_running < self.concurrency and (request := next(waiting, None)) is not None:
                threading.Thread(target=work, args=(request,), daemon=True).start()
                n_running += 1
            if not n_running:
                break
            request, future = finished.get()
            n_running -= 1
            try:
                outcome = future.result()
            except ServerError as error:
                failure = failure or error
                ended.set()
            else:
                yield request, outcome
        if failure is not None:
            raise failure

    def _one(
        self, server: "ChatServer", client: "httpx.Client", request: Request, ended: threading.Event, gate: Gate
    ) -> Completion | SampleError:
        while True:
            form = self._form
            status, content = server.post(client, self._body(server, request, _FORMS[form]), ended=ended, gate=gate)
            if status == _OK:
                return _completion(request, *server.choice(content), draws_from_all_tokens=_FORMS[form] != "plain")
            text = content.decode(errors="replace")
            if status in _REFUSES_REQUEST and _names_field(text, _FORMS[form]):
                with self._lock:
                    self._form = max(self._form, form + 1)
            elif status in _REFUSES_REQUEST:
                too_long = "lower max_tokens, or give the server a longer context"
                remedy = too_long if _TOO_LONG.search(text) else "the server's log may say more"
                return SampleError(request.name, str(server.refusal(status, content, remedy)))
            else:
                raise server.refusal(status, content, self._names(server, client) if status == 404 else None)

    def _body(self, server: "ChatServer", request: Request, form: str) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": server.model,
            "messages": request.messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed % (1 << _BITS_OF_A_SEED),
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.template_variables:
            body["chat_template_kwargs"] = dict(self.template_variables)
        return body | _further_fields(form, sampling)

    def _server(self) -> "ChatServer":
        try:
            from reasoning_anatomy.chat_server import ChatServer
        except ImportError as error:
            raise ServerError("a server needs httpx; install it with: pip install 'reasoning-anatomy[llm]'") from error
        return ChatServer(
            self.url, model=self.model, key_variable=self.key_variable, attempts=self.attempts, timeout=self.timeout
        )

    def _named(self, server: "ChatServer", client: "httpx.Client") -> "ChatServer":
        """Ask for the list of models once: it shows that the server is there, and names the model if that is not given."""
        names = server.models(client)
        if self.model is None:
            if names is None or len(names) != 1:
                raise server.error(f"{_listed(names)}; name one with model=NAME (--model NAME)")
            self.model = names[0]
        return replace(server, model=self.model)

    def _names(self, server: "ChatServer", client: "httpx.Client") -> str:
        return f"{_listed(server.models(client))}: check the name of the model, and that the url ends as in http://localhost:8000/v1"


def _make_room_for(n_connections: int) -> None:
    """Raise the limit of open files, each connection being one, as far as it is needed."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n_connections + _OTHER_FILES
    if resource.RLIM_INFINITY != hard < needed:
        raise ServerError(
            f"{n_connections} requests at the same time need {needed} open files, and this system allows {hard}; lower "
            "concurrency, or raise the limit: ulimit -Hn"
        )
    if resource.RLIM_INFINITY != soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _further_fields(form: str, sampling: Sampling) -> dict[str, Any]:
    """Fields that turn off what narrows a draw beside temperature and top_p, in the form that a server may know."""
    if form == "fields":
        return {**_NEUTRAL, **_ORDER}
    if form == "generation_config":
        config = {"do_sample": not sampling.is_greedy, "top_k": 0, "repetition_penalty": 1.0}
        return {"generation_config": json.dumps(config)}
    return {}


def _names_field(refusal: str, form: str) -> bool:
    """Whether a refusal is about one of the further fields, so that the server may accept another form."""
    fields = {"fields": tuple(_NEUTRAL), "generation_config": ("generation_config",), "plain": ()}[form]
    return any(name in refusal for name in fields)


def _completion(
    request: Request, choice: Mapping[str, Any], response: Mapping[str, Any], *, draws_from_all_tokens: bool
) -> Completion | SampleError:
    try:
        reply = read_reply(choice["message"])
        return Completion(
            text=whole_characters(_without_stop_string(reply.answer, request.sampling)),
            n_tokens=_n_tokens(response),
            finish_reason=_finish_reason(choice, reply, request.sampling),
            reasoning=None if reply.reasoning is None else whole_characters(reply.reasoning),
            draws_from_all_tokens=draws_from_all_tokens,
        )
    except UnusableError as error:
        return SampleError(request.name, f"what the server answered cannot be used: {error}")


def _n_tokens(response: Mapping[str, Any]) -> int:
    usage = response.get("usage")
    n_tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    if not isinstance(n_tokens, int) or isinstance(n_tokens, bool) or n_tokens < 0:
        raise UnusableError("it does not say how many tokens were written (usage.completion_tokens)")
    return n_tokens


def _finish_reason(choice: Mapping[str, Any], reply: Reply, sampling: Sampling) -> FinishReason:
    """Tell an end of turn from a stop string by what vLLM and SGLang say beside the reason, or by the end of the text."""
    reason = choice.get("finish_reason")
    if reason == "length":
        return "length"
    if reason != "stop":
        raise UnusableError(f"it ended because of {one_line(repr(reason), 40)}, expected 'stop' or 'length'")
    told = choice.get("stop_reason", choice.get("matched_stop"))
    written = reply.answer or reply.reasoning or ""
    return "stop_string" if isinstance(told, str) or written.endswith(sampling.stop) else "eos"


def _without_stop_string(text: str, sampling: Sampling) -> str:
    return next((text.removesuffix(stop) for stop in sampling.stop if text.endswith(stop)), text)


def _listed(names: list[str] | None) -> str:
    if not names:
        return "does not list its models"
    shown = ", ".join(one_line(name, 80) for name in names[:_LISTED])
    return f"serves {shown}{f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''}"
