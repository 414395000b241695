"""Samples through a server: `transformers serve` in a process of its own, and a server in this process that fails."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from reasoning_anatomy import chat_server
from reasoning_anatomy.errors import SampleError, ServerError, reason_of
from reasoning_anatomy.generation.completion import Completion, Sampling, sample_seed
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.generation.server import ServedModel

SAMPLING = Sampling(temperature=0.6, top_p=0.95, max_tokens=12)
_waits: list[float] = []


@pytest.fixture(autouse=True)
def _no_key_and_no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    _waits.clear()
    monkeypatch.setattr(chat_server, "_pause", lambda seconds, ended: _waits.append(seconds))


def requests_for(n: int, sampling: Sampling = SAMPLING) -> list[Request]:
    return [Request(f"q{number}", f"What is {number} + 1?", number, sampling) for number in range(n)]


def reply(content: str | None = "12", *, message: Any = None, usage: Any = None, **choice: Any) -> Callable[[Any], Any]:
    body = {
        "choices": [{"message": message or {"role": "assistant", "content": content}, "finish_reason": "stop"} | choice],
        "usage": usage or {"completion_tokens": 3},
    }
    return lambda request: (200, {}, json.dumps(body).encode())


def status(code: int, content: str = "busy", **headers: str) -> Callable[[Any], Any]:
    return lambda request: (code, {name.replace("_", "-"): value for name, value in headers.items()}, content.encode())


def echo(request: dict[str, Any]) -> Any:
    return reply(request["messages"][-1]["content"])(request)


def outcomes(server: Any, requests: list[Request] | None = None, **options: Any) -> list[Completion | SampleError]:
    """What comes of requests, in their order."""
    requests = requests_for(1) if requests is None else requests
    by_name = {
        request.name: outcome for request, outcome in ServedModel(url=server.url, model="m", **options).complete(requests)
    }
    return [by_name[request.name] for request in requests]


def test_a_request_says_all_that_a_sample_depends_on(server: Any) -> None:
    server.replies = [reply()]
    seed = sample_seed(0, "q", 1)
    request = Request("a", "How many?", seed, replace(SAMPLING, stop=("\n\n",)), system_prompt="Be brief.")
    assert outcomes(server, [request], template_variables={"enable_thinking": False}) == [Completion("12", 3, "eos")]
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}],
            "temperature": 0.6,
            "top_p": 0.95,
            "max_tokens": 12,
            "seed": seed & 0x7FFFFFFF,
            "stop": ["\n\n"],
            "chat_template_kwargs": {"enable_thinking": False},
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "samplers": ["temperature", "top_p"],
        }
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "eos"),
        ({"stop_reason": None}, "eos"),
        ({"stop_reason": 151643}, "eos"),  # vLLM: the id of a token that ends a turn
        ({"matched_stop": 151645}, "eos"),  # the same of SGLang
        ({"stop_reason": "STOP"}, "stop_string"),
        ({"matched_stop": "STOP"}, "stop_string"),
        ({"finish_reason": "length"}, "length"),
    ],
)
def test_the_reason_why_a_sample_ended_is_told_as_far_as_the_server_tells_it(
    server: Any, choice: dict[str, Any], expected: str
) -> None:
    server.replies = [reply("so 12", **choice)]
    [completion] = outcomes(server, requests_for(1, replace(SAMPLING, stop=("STOP",))))
    assert completion == Completion("so 12", 3, expected)  # type: ignore[arg-type]


def test_a_stop_string_that_the_server_leaves_in_the_text_is_taken_off(server: Any) -> None:
    server.replies = [reply("so 12 STOP")]
    assert outcomes(server, requests_for(1, replace(SAMPLING, stop=("STOP",)))) == [Completion("so 12 ", 3, "stop_string")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", ["12", None])
def test_reasoning_that_is_given_apart_is_kept_apart(server: Any, field: str, content: str | None) -> None:
    server.replies = [reply(message={"content": content, field: "3 * 4 = 12."})]
    assert outcomes(server) == [Completion(content or "", 3, "eos", reasoning="3 * 4 = 12.")]


def test_half_a_character_in_a_text_is_replaced_so_that_it_can_be_written(server: Any) -> None:
    server.replies = [reply("12 \ud83d", finish_reason="length")]
    [completion] = outcomes(server)
    assert completion == Completion("12 \ufffd", 3, "length")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(finish_reason="content_filter"), "it ended because of 'content_filter', expected 'stop' or 'length'"),
        (reply(finish_reason="abort"), "it ended because of 'abort'"),
        (reply(finish_reason=None), "it ended because of None"),
        (reply(usage={"total_tokens": 3}), "it does not say how many tokens were written"),
        (reply(message={"content": "", "tool_calls": [{"id": "1"}]}), "calls tools"),
        (
            status(400, "This model's maximum context length is 8 tokens"),
            "; lower max_tokens, or give the server a longer",
        ),
        (status(400, '{"error": {"type": "exceed_context_size_error"}}'), "; lower max_tokens"),
        (status(400, "System role not supported"), "answers 400: System role not supported; the server's log may say more"),
    ],
)
def test_a_sample_that_cannot_be_made_is_named_and_the_others_are_made(
    server: Any, answer: Callable[[Any], Any], words: str
) -> None:
    server.replies = [lambda request: answer(request) if "What is 1 +" in str(request) else reply()(request)]
    first, failed, last = outcomes(server, requests_for(3))
    assert first == last == Completion("12", 3, "eos")
    assert isinstance(failed, SampleError)
    assert words in str(failed)
    assert str(failed) == f"q1: {reason_of(failed)}"
    assert _waits == []


def test_replies_out_of_order_go_to_their_requests(server: Any) -> None:
    turn = {f"What is {number} + 1?": threading.Event() for number in range(4)}
    turn["What is 3 + 1?"].set()

    def last_first(request: dict[str, Any]) -> Any:
        question = request["messages"][-1]["content"]
        assert turn[question].wait(30)
        return echo(request)

    server.replies = [last_first]
    names = []
    for request, outcome in ServedModel(url=server.url, model="m", concurrency=4).complete(requests_for(4)):
        names.append(request.name)
        assert outcome == Completion(request.question, 3, "eos")
        if request.name != "q0":
            turn[f"What is {int(request.name[1:]) - 1} + 1?"].set()
    assert names == ["q3", "q2", "q1", "q0"]


def test_no_more_requests_are_made_at_a_time_than_allowed_nor_taken_before_there_is_room(server: Any) -> None:
    running, most, taken = 0, 0, []
    lock, all_three = threading.Lock(), threading.Barrier(3, timeout=30)

    def counted(request: dict[str, Any]) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        all_three.wait()
        with lock:
            running -= 1
        return echo(request)

    def asked() -> Iterator[Request]:
        for request in requests_for(9):
            taken.append(request.name)
            yield request

    server.replies = [counted]
    done = 0
    for _ in ServedModel(url=server.url, model="m", concurrency=3).complete(asked()):
        assert len(taken) <= done + 3
        done += 1
    assert (done, most) == (9, 3)


@pytest.mark.parametrize(
    "hindrance", [status(429), status(500), status(503), lambda request: None], ids=["429", "500", "503", "dropped"]
)
def test_a_server_that_is_busy_or_drops_a_connection_is_asked_again(server: Any, hindrance: Callable[[Any], Any]) -> None:
    server.replies = [hindrance, hindrance, reply()]
    assert outcomes(server) == [Completion("12", 3, "eos")]
    assert _waits == [1, 2]
    assert len({json.dumps(request) for request in server.requests}) == 1  # the seed, too, is the same


def test_the_server_says_how_long_to_wait(server: Any) -> None:
    server.replies = [status(429, Retry_After="7"), reply()]
    assert outcomes(server) == [Completion("12", 3, "eos")]
    assert _waits == [7]


def test_thousands_of_requests_are_on_their_way_at_once(server: Any) -> None:
    all_there = threading.Barrier(1000, timeout=60)

    def together(request: dict[str, Any]) -> Any:
        all_there.wait()
        return echo(request)

    server.replies = [together]
    served = ServedModel(url=server.url, model="m", concurrency=1000, attempts=1)
    assert {request.name for request, _ in served.complete(requests_for(1000))} == {f"q{number}" for number in range(1000)}


def test_a_server_that_is_full_is_asked_by_as_many_as_it_takes_until_all_are_answered(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_server, "_pause", lambda seconds, ended: ended.wait(0.05))
    taken, most, refused = threading.Semaphore(20), 20, 0

    def if_there_is_room(request: dict[str, Any]) -> Any:
        nonlocal refused
        if not taken.acquire(blocking=False):
            refused += 1
            return status(429, Retry_After="0")(request)
        try:
            time.sleep(0.01)
            return echo(request)
        finally:
            taken.release()

    server.replies = [if_there_is_room]
    served = ServedModel(url=server.url, model="m", concurrency=500, attempts=3)
    answered = {request.name for request, outcome in served.complete(requests_for(1500)) if isinstance(outcome, Completion)}
    assert len(answered) == 1500
    assert refused < 1500, f"{refused} of more than 1500 were refused by a server that takes {most}"


def test_what_waits_for_room_is_not_asked_any_more_when_the_server_has_gone(server: Any) -> None:
    def first_full_then_gone(request: dict[str, Any]) -> Any:
        return status(429, Retry_After="0")(request) if len(server.requests) <= 20 else status(401)(request)

    server.replies = [first_full_then_gone]
    with pytest.raises(ServerError):
        list(ServedModel(url=server.url, model="m", concurrency=20, attempts=50).complete(requests_for(20)))
    assert len(server.requests) < 40, "half as many at a time after the first round, and nobody after the end"


@pytest.mark.parametrize(("n_requests", "is_allowed"), [(1 << 30, False), (4, True)])
def test_more_connections_than_the_system_allows_are_refused_before_any_is_made(
    server: Any, n_requests: int, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    server.replies = [echo]
    served = ServedModel(url=server.url, model="m", concurrency=n_requests)
    if is_allowed:
        assert len(list(served.complete(requests_for(2)))) == 2
    else:
        with pytest.raises(ServerError, match=r"open files, and this system allows 4096; lower concurrency"):
            list(served.complete(requests_for(2)))
    assert len(server.requests) == 2 * is_allowed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(401, "who are you?"), "answers 401: who are you?; set the environment variable OPENAI_API_KEY"),
        (
            status(404, "no such model"),
            "answers 404: no such model; serves a, b: check the name of the model, and",
        ),
        (status(200, "<html>hello</html>"), "answers something that is not a chat completion"),
        (status(200, '{"choices": []}'), "answers something that is not a chat completion"),
        (status(200, '{"choices": [{"message": "12"}]}'), "answers something that is not a chat completion"),
        (status(503, "down"), "answers 503: down, 3 times; check the url, or run the same command later"),
        (status(429, "quota", Retry_After="3600"), "it asks to wait 3600 s. Run the same command later"),
        (lambda request: None, "does not answer (RemoteProtocolError: "),
    ],
    ids=["key", "model", "html", "no choice", "text as message", "busy", "quota", "dropped"],
)
def test_what_was_received_before_a_failure_is_kept(server: Any, answer: Callable[[Any], Any], words: str) -> None:
    server.listed = ["a", "b"]
    server.replies = [echo, echo, answer]
    received = []
    with pytest.raises(ServerError, match=re.escape(words)) as error:
        received.extend(ServedModel(url=server.url, model="m", concurrency=1, attempts=3).complete(requests_for(9)))
    assert [request.name for request, _ in received] == ["q0", "q1"]
    assert "\n" not in str(error.value)
    assert len(server.requests) <= 5  # the other six are not tried


def test_what_is_on_its_way_when_another_fails_is_waited_for(server: Any) -> None:
    failed = threading.Event()

    def one_fails(request: dict[str, Any]) -> Any:
        if "What is 0 +" in str(request):
            failed.set()
            return status(401)(request)
        assert failed.wait(30)
        time.sleep(0.1)
        return echo(request)

    server.replies = [one_fails]
    received = []
    with pytest.raises(ServerError, match="answers 401"):
        received.extend(ServedModel(url=server.url, model="m", concurrency=3).complete(requests_for(9)))
    assert sorted(request.name for request, _ in received) == ["q1", "q2"]


def test_a_server_that_is_too_slow_is_an_error(server: Any) -> None:
    released = threading.Event()

    def slow(request: dict[str, Any]) -> Any:
        released.wait(30)
        return echo(request)

    server.replies = [slow]
    with pytest.raises(ServerError, match=r"does not answer \(ReadTimeout: .*\), 1 time; check the url"):
        outcomes(server, timeout=0.2, attempts=1)
    released.set()


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = ServedModel(url=f"http://127.0.0.1:{port}/v1")
    with pytest.raises(ServerError, match=r"does not answer \(ConnectError: .*\); start the server, or check the url"):
        list(model.complete(requests_for(1)))
    assert _waits == []


def test_a_caller_that_takes_no_more_leaves_nothing_behind(server: Any) -> None:
    server.replies = [echo]
    samples = ServedModel(url=server.url, model="m", concurrency=2).complete(requests_for(1000))
    next(samples)
    samples.close()  # type: ignore[attr-defined]
    assert len(server.requests) <= 4


def test_the_only_model_of_a_server_needs_no_name(server: Any) -> None:
    server.listed, server.replies = ["org/only"], [reply()]
    model = ServedModel(url=server.url)
    assert model.find_model() == "org/only"
    list(model.complete(requests_for(1)))
    assert server.requests[0]["model"] == "org/only"


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (None, "does not list its models; name one with model=NAME"),
        ([], "does not list its models"),
        (["a", "b\n"], "serves a, b; name one"),
        ([f"m{number}" for number in range(10)], "serves m0, m1, m2, m3, m4, m5, m6, m7 and 2 more; name one"),
    ],
)
def test_without_a_name_one_of_several_models_is_not_guessed(server: Any, listed: list[str] | None, words: str) -> None:
    server.listed = listed
    with pytest.raises(ServerError, match=re.escape(words)):
        ServedModel(url=server.url).find_model()


def test_a_strict_server_is_asked_with_the_fields_that_it_knows(server: Any) -> None:
    def strict(request: dict[str, Any]) -> Any:
        unknown = {"top_k", "min_p", "repetition_penalty", "samplers", "generation_config"} & request.keys()
        return (
            status(400, f"Unrecognized request argument supplied: {', '.join(unknown)}")(request) if unknown else echo(request)
        )

    server.replies = [strict]
    model = ServedModel(url=server.url, model="m", concurrency=1)
    made = [outcome for _, outcome in model.complete(requests_for(3))]
    assert [outcome.draws_from_all_tokens for outcome in made if isinstance(outcome, Completion)] == [False] * 3
    assert len(server.requests) == 5  # two were refused, and then the form was known


def test_the_key_is_sent_and_never_shown(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    server.replies = [status(401, "bad key sk-secret")]
    model = ServedModel(url=server.url, model="m", key_variable="MY_KEY")
    with pytest.raises(ServerError, match=r"bad key \*\*\*; set the environment variable MY_KEY") as error:
        list(model.complete(requests_for(1)))
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(error.value) + repr(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "localhost:8000"}, "url='localhost:8000': expected an address such as http://localhost:8000/v1"),
        ({"url": "http://user:pass@host/v1"}, "url: holds a user, a key or a query"),
        ({"concurrency": 0}, "concurrency is 0, expected 1 or more"),
        ({"attempts": 0}, "attempts is 0, expected 1 or more"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_expected(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ServedModel(**{"url": "http://host/v1"} | options)


def test_a_server_is_asked_without_torch_and_named_without_httpx() -> None:
    heavy = {"torch", "transformers", "httpx"}
    script = f"import sys, reasoning_anatomy.generation.server; print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.fixture(scope="module")
def transformers_serve(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`, which loads the model that a request names."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", str(port)],
            stdout=output, stderr=subprocess.STDOUT, env=os.environ | {"HF_HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"no answer from {address}: {log.read_text()}")


@pytest.fixture(scope="module")
def generated(tiny_model_folder: Path) -> Callable[[str, int, Sampling], str]:
    """What `generate` of transformers writes in this process with a seed and nothing but temperature and top_p."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder)

    def generate(question: str, seed: int, sampling: Sampling) -> str:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        torch.manual_seed(seed)
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        how = {"do_sample": False} if sampling.is_greedy else drawn
        ids = model.generate(**prompt, max_new_tokens=sampling.max_tokens, **how)
        text: str = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
        return text

    return generate


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0])
def test_a_real_server_writes_what_generate_writes_with_the_same_seed(
    transformers_serve: str, tiny_model_folder: Path, generated: Callable[[str, int, Sampling], str], temperature: float
) -> None:
    sampling = replace(SAMPLING, temperature=temperature)
    model = ServedModel(url=transformers_serve, model=str(tiny_model_folder), concurrency=1)
    samples = list(model.complete(requests_for(3, sampling)))
    for request, outcome in samples:  # to which nothing narrowed the draw
        assert outcome == Completion(generated(request.question, request.seed, sampling), 12, "length")
    assert len({outcome.text for _, outcome in samples if isinstance(outcome, Completion)}) == 3


@pytest.mark.slow
def test_a_real_server_ends_a_sample_at_a_stop_string(
    transformers_serve: str, tiny_model_folder: Path, generated: Callable[[str, int, Sampling], str]
) -> None:
    greedy = replace(SAMPLING, temperature=0.0)
    whole = generated("What is 0 + 1?", 0, greedy)
    before, stop, _ = re.split(r"(?<=\w)( \w+)(?= )", whole, maxsplit=1)
    model = ServedModel(url=transformers_serve, model=str(tiny_model_folder))
    [(_, outcome)] = model.complete(requests_for(1, replace(greedy, stop=(stop,))))
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.finish_reason) == (before, "stop_string")
    assert outcome.n_tokens < 12


@pytest.mark.slow
def test_a_real_server_is_asked_many_things_at_once(transformers_serve: str, tiny_model_folder: Path) -> None:
    model = ServedModel(url=transformers_serve, model=str(tiny_model_folder), concurrency=8)
    greedy = requests_for(8, replace(SAMPLING, temperature=0.0))
    at_once = {request.name: outcome for request, outcome in model.complete(greedy)}
    model.concurrency = 1
    assert at_once == {request.name: outcome for request, outcome in model.complete(greedy)}
    assert len(at_once) == 8
