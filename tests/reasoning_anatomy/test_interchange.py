"""Published files to runs and back: nothing is lost, nothing is guessed, every mistake is named."""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy import cli, export_run, import_run, open_run
from reasoning_anatomy.errors import ChainFileError, EncodingError, PluginError, ReasoningAnatomyError, RunError
from reasoning_anatomy.importance.recency import Recency
from reasoning_anatomy.interchange.reason_tokens_json import token_texts
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import Annotation, ReasoningChain
from reports import write_report

ROOT = Path(__file__).parents[2]
TEXT = "First, take 3 apples. Then 3 * 4 = 12, so there are 12 in all."
CATEGORIES = ("META_DISCOURSE", "FUNCTION", "SYMBOLIC_MATH", "ENTITY_NAME", "VERBAL_MATH", "COREFERENCE")
FORMATS = ", ".join(available("format"))
QUESTION_MARKER = "--------------------------------------------------\n\nQuestion:\n"

Record = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write records, or lines of text, to a file: one a line."""

    def write_lines(*records: Record | str, name: str = "published.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
        return path

    return write_lines


@pytest.fixture
def chains() -> list[ReasoningChain]:
    return [
        ReasoningChain(
            chain_id=f"c/{number}",
            question_id=f"q{number // 2}",
            question=f"How many are 3 times {number}?",
            reasoning=f"{TEXT} Number {number}." + " Wait" * number,
            answer="12",
            gold_answer="12",
            is_correct=number % 2 == 0,
            system_prompt="Think." if number else None,
            step_starts=(0, 5) if number == 1 else None,
            source={"teacher": "t", "temperature": 0.7, "tries": [1, 2]},
        )
        for number in range(4)
    ]


@pytest.fixture
def planted(tmp_path: Path, chains: list[ReasoningChain], make_planted_run: Callable[..., Run]) -> Run:
    return label(make_planted_run(tmp_path / "planted", chains, strength=0.5))


def label(run: Run) -> Run:
    run.write_annotations(
        "crude",
        {
            chain_id: Annotation("Crude()", tuple(CATEGORIES[position % 6] for position in range(len(rows))))
            for chain_id, rows in run.tokens().groupby("chain_id", sort=False)
        },
    )
    return run


def published_greedy(n: int = 8, k: int = 8, **changes: Any) -> Record:
    """An item with the keys of the published pruner alone, and ids of one word each."""
    reason = " ".join(f"w{word}" for word in range(n))
    prunings = {
        "reason_token_ids": list(range(100, 100 + n)),
        "del_pos_rank": list(reversed(range(n)))[:k],
        "reason_answer_perplexity": [1.5 + step for step in range(k)],
        "answer_perplexity": [1.25 + step for step in range(k)],
        "reason_perplexity": [2.5 + step for step in range(k)],
        "original_reason_perplexity": 2.0,
        "original_reason_answer_perplexity": 1.75,
        "original_answer_perplexity": 1.125,
    }
    if k == n:
        prunings["reason_perplexity"][-1] = 1e32
    item = {
        "system_prompt": "Think.", "user_prompt": "2 + 2?", "response_reason": reason, "response_answer": "4",
        "is_correct": True,
        "chat_template": "<s>" * 100, "split_type": "train", "response_reason_num_tokens": n,
        "chat_template_token_ids": [7, 8, *prunings["reason_token_ids"], 9], "greedy_prunings": prunings,
        "current_keep_ratio": 0.5, "total_reason_tokens": n, "tokens_deleted": k, "tokens_remaining": n - k,
    }  # fmt: skip
    return item | changes


def with_spans(item: Record) -> Record:
    """Add what an import without a tokenizer needs."""
    return item | {"spans": [match.span() for match in re.finditer(r" ?\S+", item["response_reason"])]}


def published_tokens(texts: Sequence[str] = ("So", " 2", " +", " 2", " =", " 4"), **changes: Any) -> Record:
    """An item with the keys of the published viewer alone."""
    n = len(texts)
    tokens = [
        {
            "token_position": position, "token_text": text, "deleted_step": (position * 5) % n + 1 if n % 5 else n - position,
            "category": CATEGORIES[position % 6], "justification": "because",
        }
        for position, text in enumerate(texts)
    ]  # fmt: skip
    prompt = f"Label.\n{QUESTION_MARKER}2 + 2?\n\nOutput Reason:\n{''.join(texts)}\nOutput Answer:\n4"
    prompt += "\n\nOutput Reason Tokens (JSON Format):\n"
    return {"question": "2 + 2?", "user_prompt": prompt, "reason_tokens_json": tokens} | changes


def without(record: Record, path: str) -> Record:
    copy = json.loads(json.dumps(record))
    *parents, last = path.split(".")
    inner = copy
    for name in parents:
        inner = inner[int(name) if isinstance(inner, list) else name]
    del inner[last]
    return copy


def changed(record: Record, path: str, value: Any) -> Record:
    copy = json.loads(json.dumps(record))
    *parents, last = path.split(".")
    inner = copy
    for name in parents:
        inner = inner[int(name) if isinstance(inner, list) else name]
    inner[int(last) if isinstance(inner, list) else last] = value
    return copy


def assert_same_path(one: Run, other: Run, chain_id: str, *, curves: bool = True) -> None:
    (label_one, ours), (label_other, theirs) = (
        next(iter(run.measurement(chain_id).paths.items())) for run in (one, other)
    )  # fmt: skip
    assert label_one == label_other
    assert ours.strategy == theirs.strategy
    np.testing.assert_array_equal(ours.deleted, theirs.deleted)
    if curves:
        assert ours.n_ties == theirs.n_ties
        np.testing.assert_array_equal(ours.margin, theirs.margin)
        for name in ("nll_answer", "nll_joint", "nll_reasoning"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12)


# -- round trips


@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_greedy_prunings_come_back_without_loss_and_without_a_model(
    tmp_path: Path, chains: list[ReasoningChain], make_planted_run: Callable[..., Run], keep: float
) -> None:
    before = make_planted_run(tmp_path / "before", chains, strength=0.5, keep=keep)
    file = export_run(before, format="greedy_prunings", out=tmp_path / "file.jsonl")
    after = import_run(file, out=tmp_path / "after")
    assert after.chains == before.chains
    for chain_id in before.chains:
        ours, theirs = before.encoded(chain_id), after.encoded(chain_id)
        for name in ("prompt_ids", "reasoning_ids", "answer_ids", "spans"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        if keep:  # the planted curve has a number where nothing is left, which has none in the format
            assert_same_path(before, after, chain_id)
        np.testing.assert_array_equal(
            before.measurement(chain_id).paths["greedy"].deleted, after.measurement(chain_id).paths["greedy"].deleted
        )


def test_reason_tokens_come_back_with_their_categories_and_without_their_curves(tmp_path: Path, planted: Run) -> None:
    file = export_run(planted, format="reason_tokens_json", out=tmp_path / "file.jsonl")
    after = import_run(file, out=tmp_path / "after")
    assert after.chains == planted.chains
    for chain_id in planted.chains:
        assert_same_path(planted, after, chain_id, curves=False)
        np.testing.assert_array_equal(planted.encoded(chain_id).spans, after.encoded(chain_id).spans)
        assert np.isnan(after.measurement(chain_id).paths["greedy"].nll_answer).all()
    assert after.annotators == ["published"]
    assert after.annotator("published") == "published labels of file.jsonl"
    assert after.tokens()["category_published"].tolist() == planted.tokens()["category_crude"].tolist()
    assert after.tokens()["confidence_published"].isna().all()
    assert (after.tokens()["token_id"] == -1).all()


@pytest.mark.parametrize("format", ["greedy_prunings", "reason_tokens_json"])
def test_a_run_of_the_pipeline_comes_back(tmp_path: Path, tiny_model_folder: Path, format: str) -> None:
    from reasoning_anatomy import measure

    reasoning = "π ≈ 3.14159 🙂🙂 ≠ 22/7,\n\n  naïve <|im_end|> 水 \u200d."
    chain = ReasoningChain(chain_id="c", question_id="q", question="π?", reasoning=reasoning, answer="3")
    before = measure([chain], out=tmp_path / "before", model=str(tiny_model_folder), strategies=["greedy:objective=joint"])
    file = export_run(label(before), format=format, out=tmp_path / "file.jsonl")
    with_model = import_run(file, out=tmp_path / "with", model=str(tiny_model_folder))
    without_model = import_run(file, out=tmp_path / "without")
    old = before.measurement("c")
    assert "".join(token_texts(reasoning, old.encoded.spans)) == reasoning
    for after in (with_model, without_model):
        assert_same_path(before, after, "c", curves=format == "greedy_prunings")
        np.testing.assert_array_equal(old.encoded.spans, after.encoded("c").spans)
        assert list(after.manifest.configuration.strategies) == ["greedy:objective=joint"]
    again = with_model.measurement("c")
    np.testing.assert_array_equal(old.encoded.ids, again.encoded.ids)
    np.testing.assert_array_equal(old.scores["answer_attention"], again.scores["answer_attention"])
    assert with_model.manifest.configuration.model == before.manifest.configuration.model
    assert without_model.manifest.configuration.model is None


def test_a_second_trip_through_a_file_changes_nothing(tmp_path: Path, planted: Run) -> None:
    files = []
    run = planted
    for number in range(3):
        files.append(export_run(run, format="reason_tokens_json", out=tmp_path / f"{number}.jsonl").read_bytes())
        run = import_run(tmp_path / f"{number}.jsonl", out=tmp_path / f"run-{number}")
    assert files[0] == files[1] == files[2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12), st.text(max_size=9))
def test_token_texts_joined_are_the_reasoning(steps: list[tuple[int, int]], tail: str) -> None:
    # spans that overlap, leave gaps, are empty or shared: starts and ends never decrease
    starts = np.cumsum([start for start, _ in steps])
    ends = np.maximum.accumulate(starts + [length for _, length in steps])
    reasoning = "".join(chr(97 + at % 26) for at in range(int(ends[-1]))) + tail
    texts = token_texts(reasoning, np.stack([starts, ends], axis=1))
    assert "".join(texts) == reasoning
    assert len(texts) == len(steps)


# -- files with the published keys alone


def test_a_published_pruning_is_read_by_its_definition(tmp_path: Path, write: Write) -> None:
    run = import_run(write(with_spans(published_greedy(n=4, k=4))), out=tmp_path / "run")
    (chain,) = run.chains.values()
    assert (chain.chain_id, chain.question, chain.reasoning, chain.answer) == ("published-1", "2 + 2?", "w0 w1 w2 w3", "4")
    assert (chain.is_correct, chain.system_prompt) == (True, "Think.")
    assert chain.source["split_type"] == "train"
    assert chain.source["current_keep_ratio"] == 0.5
    assert "chat_template" not in chain.source  # long
    measured = run.measurement(chain.chain_id)
    path = measured.paths["greedy"]
    assert path.deleted.tolist() == [3, 2, 1, 0]
    assert path.deletion_step.tolist() == [4, 3, 2, 1]
    # nll = ln(ppl), index 0 = original
    np.testing.assert_allclose(path.nll_answer, np.log([1.125, 1.25, 2.25, 3.25, 4.25]))
    np.testing.assert_allclose(path.nll_joint, np.log([1.75, 1.5, 2.5, 3.5, 4.5]))
    np.testing.assert_allclose(path.nll_reasoning, [*np.log([2.0, 2.5, 3.5, 4.5]), np.nan])
    assert np.isnan(path.margin).all()
    assert measured.encoded.prompt_ids.tolist() == [7, 8]
    assert measured.encoded.answer_ids.tolist() == [9]
    assert run.tokens()["text"].tolist() == ["w0", " w1", " w2", " w3"]


def test_a_partly_pruned_chain_leaves_tokens_without_a_step(tmp_path: Path, write: Write) -> None:
    run = import_run(write(with_spans(published_greedy(n=8, k=3))), out=tmp_path / "run")
    assert run.tokens()["deletion_step_greedy"].isna().sum() == 5
    assert run.paths()["nll_reasoning"].notna().all()
    again = export_run(run, format="greedy_prunings")
    assert again == run.folder / "exports" / "greedy_prunings.jsonl"
    item = json.loads(again.read_text())
    assert (item["total_reason_tokens"], item["tokens_deleted"], item["tokens_remaining"]) == (8, 3, 5)


@pytest.mark.parametrize("missing", ["all", "originals", "answer"])
def test_curves_that_are_missing_are_missing_in_the_run_and_in_its_export(tmp_path: Path, write: Write, missing: str) -> None:
    item = with_spans(published_greedy(n=6, k=6))
    names = {
        "all": [name for name in item["greedy_prunings"] if "perplexity" in name],
        "originals": [name for name in item["greedy_prunings"] if "original" in name],
        "answer": ["answer_perplexity"],
    }[missing]
    for name in names:
        item = without(item, f"greedy_prunings.{name}")
    run = import_run(write(item), out=tmp_path / "run")
    path = run.measurement("published-1").paths["greedy"]
    assert np.isnan(path.nll_answer[1:]).all() == (missing != "originals")
    assert np.isnan(path.nll_answer[0]) == (missing != "answer")
    written = json.loads(export_run(run, format="greedy_prunings").read_text())
    assert written["greedy_prunings"].keys() == item["greedy_prunings"].keys()
    write_report(run)


@pytest.mark.parametrize(
    ("chat", "prompt", "answer"),
    [
        ([7, 8, 500, *range(100, 108), 501, 9, 2], [7, 8], [9, 2]),  # two markers, added to the tokenizer last
        ([7, 8, *range(100, 108), 9, 2], [7, 8], [9, 2]),
        ([7, 8, 300, *range(100, 108), 302, 9], [7, 8, 300], [302, 9]),  # not consecutive
        ([7, 400, 300, *range(100, 108), 301, 9], [7, 400, 300], [301, 9]),  # not above all others
        ([7, *range(100, 108), 5, 500, *range(100, 108), 501, 9], [7, *range(100, 108), 5], [9]),  # the question quotes it
    ],
)
def test_ids_around_the_reasoning_are_prompt_and_answer(
    tmp_path: Path, write: Write, chat: list[int], prompt: list[int], answer: list[int]
) -> None:
    run = import_run(write(with_spans(published_greedy(chat_template_token_ids=chat))), out=tmp_path / "run")
    encoded = run.encoded("published-1")
    assert (encoded.prompt_ids.tolist(), encoded.answer_ids.tolist()) == (prompt, answer)


def test_published_tokens_are_read_by_their_definition(tmp_path: Path, write: Write) -> None:
    item = published_tokens(("So", " 2", " +", "", " 2", " =", " 4"))
    item["reason_tokens_json"].reverse()  # the order in the file means nothing
    run = import_run(write(item), out=tmp_path / "run")
    tokens = run.tokens()
    assert tokens["text"].tolist() == ["So", " 2", " +", " +", " 2", " =", " 4"]  # without text: a piece of the one before
    assert tokens["category_published"].tolist() == [CATEGORIES[position % 6] for position in range(7)]
    assert tokens["deletion_step_greedy"].tolist() == [position * 5 % 7 + 1 for position in range(7)]
    (chain,) = run.chains.values()
    assert (chain.question, chain.reasoning, chain.answer) == ("2 + 2?", "So 2 + 2 = 4", "4")


@pytest.mark.parametrize(("before", "after"), [("\n", ""), ("", "\n\n"), (" ", " \n")])
def test_white_space_around_the_reasoning_does_not_count(tmp_path: Path, write: Write, before: str, after: str) -> None:
    item = published_tokens()
    item["user_prompt"] = item["user_prompt"].replace("So 2 + 2 = 4", f"{before}So 2 + 2 = 4{after}")
    run = import_run(write(item), out=tmp_path / "run")
    assert run.chains["published-1"].reasoning == "So 2 + 2 = 4"


def test_ids_of_the_file_are_taken_and_chains_on_one_question_share_its_id(tmp_path: Path, write: Write) -> None:
    items = [
        published_tokens(chain_id="../../x", question_id="mine"),
        published_tokens(id=17),
        published_tokens(),
        published_tokens(question="3?"),
    ]
    chains = list(import_run(write(*items), out=tmp_path / "run").chains.values())
    assert [chain.chain_id for chain in chains] == ["../../x", "17", "published-3", "published-4"]
    assert chains[0].question_id == "mine"
    assert chains[1].question_id == chains[2].question_id != chains[3].question_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["published.jsonl", "run"]  # an id is never a path


def test_a_list_is_read_like_lines_and_lines_of_metadata_are_skipped(tmp_path: Path, write: Write) -> None:
    items = [with_spans(published_greedy(user_prompt=f"{n}?")) for n in range(3)]
    by_line = import_run(write({"model_name": "m"}, *items, name="a.jsonl"), out=tmp_path / "lines")
    by_list = import_run(write(json.dumps([{"model_name": "m"}, *items], indent=1), name="b.json"), out=tmp_path / "list")
    assert list(by_line.chains) == ["a-2", "a-3", "a-4"]
    assert list(by_list.chains) == ["b-2", "b-3", "b-4"]
    columns = ["question_id", "position", "text", "deletion_step_greedy"]
    assert by_line.tokens()[columns].equals(by_list.tokens()[columns])


# -- what the published viewer reads


def test_an_export_is_what_the_published_viewer_reads(tmp_path: Path, planted: Run) -> None:
    for line in export_run(planted, format="reason_tokens_json", out=tmp_path / "x.jsonl").read_text().splitlines():
        item = json.loads(line)
        chain = planted.chains[item["chain_id"]]
        # question | reason | answer between the markers of the labelling prompt
        rest = item["user_prompt"].split(QUESTION_MARKER)[1]
        question, rest = rest.split("\n\nOutput Reason:\n")[:2]
        reason, rest = rest.split("\nOutput Answer:\n")[:2]
        answer = rest.split("\n\nOutput Reason Tokens (JSON Format)")[0]
        assert (question, reason, answer) == (chain.question, chain.reasoning, chain.answer)
        assert item["question"] == chain.question
        tokens = item["reason_tokens_json"]
        n = len(tokens)
        assert {tuple(token) for token in tokens} == {
            ("token_position", "token_text", "deleted_step", "category", "justification")
        }
        assert sorted(token["deleted_step"] for token in tokens) == list(range(1, n + 1))
        assert [token["token_position"] for token in tokens] == list(range(n))
        assert {token["category"] for token in tokens} <= set(CATEGORIES)
        assert "".join(token["token_text"] for token in tokens) == reason


def test_an_export_has_the_keys_of_the_published_pruner(tmp_path: Path, planted: Run) -> None:
    keys = published_greedy().keys() - {"chat_template", "split_type", "response_reason_num_tokens"}
    for line in export_run(planted, format="greedy_prunings", out=tmp_path / "x.jsonl").read_text().splitlines():
        item = json.loads(line)
        prunings = item["greedy_prunings"]
        assert keys <= item.keys()
        assert prunings.keys() == published_greedy()["greedy_prunings"].keys()
        path = planted.measurement(item["chain_id"]).paths["greedy"]
        assert prunings["answer_perplexity"] == pytest.approx([math.exp(nll) for nll in path.nll_answer[1:]])
        assert prunings["original_reason_answer_perplexity"] == pytest.approx(math.exp(path.nll_joint[0]))
        assert prunings["reason_perplexity"][-1] == 1e32  # of an empty list, by the published definition
        assert item["chat_template_token_ids"] == [1, *prunings["reason_token_ids"], 2]
        assert isinstance(item["system_prompt"], str)


# -- analyses and reports


@pytest.mark.parametrize("make", [lambda **changes: with_spans(published_greedy(**changes)), published_tokens])
def test_analysis_and_report_work_on_an_imported_run(tmp_path: Path, write: Write, make: Callable[..., Record]) -> None:
    key = "question" if make is published_tokens else "user_prompt"
    run = import_run(write(*(make(**{key: f"{n}?"}) for n in range(6))), out=tmp_path / "run")
    manifest = run.manifest
    assert manifest.configuration.model is None
    assert manifest.configuration.encoding == "imported from published.jsonl"
    assert list(manifest.configuration.scorers) == ["recency", "random"]
    provenance = manifest.configuration.strategies["greedy"]
    assert provenance.startswith("ImportedPath(file='published.jsonl', sha256='")
    assert "objective not stated" in provenance
    status = run.status()
    assert (status.n_chains, status.n_done, status.n_left, status.failed) == (6, 6, 0, {})
    result = RankCorrelation(draws=99).analyse(run)
    assert result.config.startswith("RankCorrelation(scorer=None, strategy='greedy', ")
    assert result.table[["scorer", "term"]].iloc[0].tolist() == ["recency", "spearman"]
    assert result.provenance["model"] == "none; imported from published.jsonl"
    assert result.provenance["strategy"] == provenance
    if make is not published_tokens:  # deleted from the end: the later, the earlier
        assert result.table["estimate"].iloc[0] == pytest.approx(-1)
    run.write_analysis(result)
    assert RankCorrelation(scorer="random", draws=99).analyse(run).table["estimate"].notna().any()
    page = write_report(run).read_text()
    assert "none; imported from published.jsonl" in page
    assert "w7" in page or "So" in page


def test_an_import_needs_no_torch(tmp_path: Path, write: Write) -> None:
    write(*(published_tokens(question=f"{n}?") for n in range(3)), name="tokens.jsonl")
    write(*(with_spans(published_greedy(user_prompt=f"{n}?")) for n in range(3)), name="greedy.jsonl")
    script = (
        "import sys\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'transformers', 'tokenizers'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from reasoning_anatomy import export_run, import_run\nfrom analyses.rank_correlation import RankCorrelation\n"
        "for name in ('tokens', 'greedy'):\n"
        f"    run = import_run(r'{tmp_path}/' + name + '.jsonl', out=r'{tmp_path}/' + name)\n"
        "    print(len(RankCorrelation(draws=99, competitors=False).analyse(run).table))\n"
        "export_run(run, format='greedy_prunings')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout == "14\n14\n"  # seven terms of two scorers


# -- with a model


@pytest.fixture
def of_tiny(small_tokenizer: Any) -> Callable[..., Record]:
    """An item as the published pruner writes it with the tokenizer of the tiny model, markers left in."""

    def make(reason: str = TEXT, **changes: Any) -> Record:
        ids, marker = small_tokenizer(reason)["input_ids"], len(small_tokenizer)
        before, after = small_tokenizer("user 2 + 2?\n")["input_ids"], small_tokenizer("4<|im_end|>")["input_ids"]
        chat = [*before, marker, *ids, marker + 1, *after]
        prunings = {"reason_token_ids": ids, "del_pos_rank": list(range(len(ids)))}
        item = published_greedy(response_reason=reason, chat_template_token_ids=chat, greedy_prunings=prunings)
        return item | changes

    return make


def test_with_a_model_tokens_get_text_and_attention(
    tmp_path: Path, write: Write, of_tiny: Callable[..., Record], small_tokenizer: Any, tiny_model_folder: Path
) -> None:
    from reasoning_anatomy.importance.answer_attention import AnswerAttention
    from reasoning_anatomy.models.loading import load_model

    run = import_run(write(of_tiny()), out=tmp_path / "run", model=str(tiny_model_folder))
    measured = run.measurement("published-1")
    texts = [TEXT[start:end] for start, end in measured.encoded.spans]
    assert "".join(texts) == TEXT
    assert texts == [small_tokenizer.decode(id_) for id_ in measured.encoded.reasoning_ids]
    assert measured.encoded.prompt_ids.tolist() == small_tokenizer("user 2 + 2?\n")["input_ids"]
    assert measured.encoded.answer_ids.tolist() == small_tokenizer("4<|im_end|>")["input_ids"]
    profile = AnswerAttention().score(measured.encoded, loaded=load_model(str(tiny_model_folder))).profile
    assert profile is not None
    np.testing.assert_allclose(measured.profiles["answer_attention"].received, profile.received, rtol=2**-10, atol=1e-9)
    assert run.manifest.configuration.model is not None
    assert run.manifest.configuration.model.id == str(tiny_model_folder)
    assert run.manifest.configuration.encoding.startswith("imported from published.jsonl, tokenizer of ")
    assert "per_head" in RankCorrelation(draws=99).analyse(run).details


def test_weights_are_not_loaded_where_no_scorer_needs_them(
    tmp_path: Path, write: Write, of_tiny: Callable[..., Record], tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(spec: object) -> None:
        raise AssertionError("weights are loaded")

    monkeypatch.setattr("reasoning_anatomy.models.loading.load_model", refuse)
    run = import_run(write(of_tiny()), out=tmp_path / "run", model=str(tiny_model_folder), scorers=["recency"])
    assert run.manifest.configuration.model is None
    assert run.tokens()["text"].str.cat() == TEXT
    scores = run.measurement("published-1").scores["recency"]
    np.testing.assert_array_equal(scores, Recency().score(run.encoded("published-1"), loaded=None).score)


def test_without_ids_around_it_the_reasoning_is_encoded_as_in_a_run(
    tmp_path: Path, write: Write, of_tiny: Callable[..., Record], small_tokenizer: Any, tiny_model_folder: Path
) -> None:
    from reasoning_anatomy.models.encoding import ChainEncoder

    file = write(without(of_tiny(), "chat_template_token_ids"))
    run = import_run(file, out=tmp_path / "run", model=str(tiny_model_folder), scorers=["random"])
    encoded = ChainEncoder(small_tokenizer).encode(run.chains["published-1"])
    np.testing.assert_array_equal(run.encoded("published-1").ids, encoded.ids)


def test_reason_tokens_get_the_ids_of_the_model_that_cut_them(
    tmp_path: Path, write: Write, small_tokenizer: Any, tiny_model_folder: Path
) -> None:
    ids = small_tokenizer(TEXT)["input_ids"]
    file = write(published_tokens([small_tokenizer.decode(id_) for id_ in ids]))
    run = import_run(file, out=tmp_path / "run", model=str(tiny_model_folder), scorers=["recency"])
    assert run.tokens()["token_id"].tolist() == ids
    export_run(run, format="greedy_prunings")


def test_another_tokenizer_is_told_with_line_and_token(
    tmp_path: Path, write: Write, of_tiny: Callable[..., Record], tiny_model_folder: Path
) -> None:
    model = str(tiny_model_folder)
    good = of_tiny()
    ids = good["greedy_prunings"]["reason_token_ids"]
    bad = changed(without(good, "chat_template_token_ids"), "greedy_prunings.reason_token_ids.3", 5)
    short = without(good, "chat_template_token_ids") | {"response_reason": TEXT[:-1]}
    for second, words in (
        (bad, f"'greedy_prunings.reason_token_ids.3' is 5, but the text gives {ids[3]}: it was pruned with another tokenizer"),
        (short, f"'greedy_prunings.reason_token_ids.{len(ids) - 1}' is {ids[-1]}, but the text gives nothing: "),
        (good | {"chat_template_token_ids": [10**6, *ids, 3]}, "holds the id 1000000, but the tokenizer has "),
        (published_tokens(("So", " we", " have it")), "token 2 is \" have it\", but \" have\" with this tokenizer: "),
    ):  # fmt: skip
        first = good if "greedy_prunings" in second else published_tokens(("So",))
        with pytest.raises(ChainFileError) as refused:
            import_run(write(first, second), out=tmp_path / "run", model=model)
        message = str(refused.value)
        assert message.startswith(f"{tmp_path / 'published.jsonl'}, line 2: {words}")
        assert message.endswith("name the model that pruned it: --model MODEL")
    assert not (tmp_path / "run").exists()


def test_a_chain_longer_than_the_context_is_refused(
    tmp_path: Path, write: Write, of_tiny: Callable[..., Record], tiny_model_folder: Path
) -> None:
    with pytest.raises(EncodingError, match=r"published-1: has .* tokens, but the model's context holds 512; leave "):
        import_run(write(of_tiny("so " * 600)), out=tmp_path / "run", model=str(tiny_model_folder))
    assert not (tmp_path / "run").exists()


# -- what is refused

GREEDY = with_spans(published_greedy())
TOKENS = published_tokens()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("{", "column "),
        ("[1, 2,, 3]", "column "),
        ("17", "is 17, expected a JSON object"),
        ({"question": "?"}, f"has none of {FORMATS}, but a file is recognised by one such key; name "),
        (GREEDY | TOKENS, "has greedy_prunings and reason_tokens_json, but a file is recognised by one such key"),
        (without(GREEDY, "user_prompt"), "has no key 'user_prompt', which every item of this format has"),
        (without(GREEDY, "greedy_prunings.del_pos_rank"), "has no key 'greedy_prunings.del_pos_rank', which "),
        (changed(GREEDY, "greedy_prunings", None), "'greedy_prunings' is null: "),
        (changed(GREEDY, "response_reason", 3), "'response_reason' is 3: Input should be a valid string"),
        (changed(GREEDY, "response_reason", " "), "'reasoning' is \" \": is empty"),
        (changed(GREEDY, "is_correct", "yes"), "'is_correct' is \"yes\": "),
        (changed(GREEDY, "greedy_prunings.del_pos_rank.2", 8), "'greedy_prunings.del_pos_rank.2' is 8: expected each of 0..7"),
        (changed(GREEDY, "greedy_prunings.del_pos_rank.2", -1), "'greedy_prunings.del_pos_rank.2' is -1: expected each of"),
        (changed(GREEDY, "greedy_prunings.del_pos_rank.2", 7), "'greedy_prunings.del_pos_rank.2' is 7: expected each of 0..7"),
        (changed(GREEDY, "greedy_prunings.del_pos_rank.2", 1.5), "'greedy_prunings.del_pos_rank.2' is 1.5: "),
        (changed(GREEDY, "greedy_prunings.reason_token_ids", []), "'greedy_prunings.reason_token_ids' is []: "),
        (changed(GREEDY, "greedy_prunings.reason_token_ids.1", -5), "'greedy_prunings.reason_token_ids.1' is -5: "),
        (changed(GREEDY, "greedy_prunings.answer_perplexity", [1.5]), "'greedy_prunings.answer_perplexity' has 1 numbers "),
        (changed(GREEDY, "greedy_prunings.answer_perplexity.0", 0), "'greedy_prunings.answer_perplexity.0' is 0: "),
        (json.dumps(GREEDY).replace("1.125", "1e999"), "'greedy_prunings.original_answer_perplexity' is "),
        (json.dumps(GREEDY).replace("1.125", "NaN"), "holds NaN, which is not JSON"),
        (GREEDY | {"margin": [0.1]}, "'margin' has 1 numbers for 8 deletions"),
        (GREEDY | {"spans": [[0, 2]]}, "'spans' has 1 entries for 8 tokens; give one to each"),
        (changed(GREEDY, "spans.7", [21, 99]), "'spans.7' is [21, 99]: expected a start and an end in 0..23"),
        (changed(GREEDY, "spans.3", [0, 2]), "'spans.3' is [0, 2]: expected a start and an end in 0..23"),
        (changed(GREEDY, "spans.3", [5]), "'spans.3' is [5]: "),
        (without(GREEDY, "spans"), "has no 'spans', which a tokenizer must find; name the model that pruned it: --model MODEL"),
        (without(GREEDY, "chat_template_token_ids"), "has no 'prompt_token_ids', which a tokenizer must find; "),
        (GREEDY | {"chat_template_token_ids": [1, 2]}, "'chat_template_token_ids' holds "),
        (GREEDY | {"strategy": "../x"}, "'strategy' is \"../x\": "),
        (GREEDY | {"chain_id": True}, "'chain_id' is true: "),
        (without(TOKENS, "question"), "has no key 'question', which "),
        (without(TOKENS, "reason_tokens_json.1.category"), "has no key 'reason_tokens_json.1.category', which "),
        (changed(TOKENS, "reason_tokens_json", []), "'reason_tokens_json' is []: "),
        (changed(TOKENS, "reason_tokens_json.1.category", "MATH"), "'reason_tokens_json.1.category' is \"MATH\": "),
        (changed(TOKENS, "reason_tokens_json.1.deleted_step", 7), "'reason_tokens_json.1.deleted_step' is 7: expected each "),
        (changed(TOKENS, "reason_tokens_json.1.deleted_step", 1), "'reason_tokens_json.1.deleted_step' is 1: expected each "),
        (changed(TOKENS, "reason_tokens_json.1.token_position", 0), "'reason_tokens_json.1.token_position' is 0: expected "),
        (changed(TOKENS, "reason_tokens_json.2.token_text", " -"), "token 2 is \" -\", but the reasoning in "),
        (changed(TOKENS, "reason_tokens_json.5.token_text", " 4!"), "token 5 is \" 4!\", but the reasoning in "),
        (TOKENS | {"spans": [[0, 12]] * 6}, "'spans' cut the reasoning into other tokens than 'token_text' does; leave"),
        (changed(TOKENS, "user_prompt", "no markers"), "'user_prompt' has no \"-----"),
        (TOKENS | {"user_prompt": TOKENS["user_prompt"].replace("Answer", "")}, "'user_prompt' has no \"\\nOutput Answer:"),
        (TOKENS | {"user_prompt": TOKENS["user_prompt"].replace(":\n4", ":\n ")}, "'answer' is \" \": is empty"),
        (TOKENS | {"question": "\ud800"}, "'question' is "),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_nothing_is_written(
    tmp_path: Path, write: Write, record: Record | str, words: str
) -> None:
    with pytest.raises(ChainFileError) as refused:
        import_run(write(record), out=tmp_path / "run")
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'published.jsonl'}, line 1")
    assert words in message
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


def test_all_items_with_mistakes_are_named_at_once(tmp_path: Path, write: Write) -> None:
    wrong = changed(GREEDY, "response_reason", 3)
    file = write(wrong, GREEDY, without(GREEDY, "user_prompt"))
    with pytest.raises(ChainFileError) as refused:
        import_run(file, out=tmp_path / "run")
    assert str(refused.value).splitlines() == [
        f"{file}: 2 of 3 lines cannot be imported:",
        "  line 1: 'response_reason' is 3: Input should be a valid string",
        "  line 3: has no key 'user_prompt', which every item of this format has",
    ]
    assert not (tmp_path / "run").exists()


def test_whole_numbers_are_read_as_chains_read_them(tmp_path: Path, write: Write) -> None:
    item = GREEDY | {"chain_id": 3, "question_id": 4, "gold_answer": 12, "is_correct": 0}
    (chain,) = import_run(write(item), out=tmp_path / "run").chains.values()
    assert (chain.chain_id, chain.question_id, chain.gold_answer, chain.is_correct) == ("3", "4", "12", False)


@pytest.mark.parametrize("as_list", [False, True])
def test_a_pipe_is_imported_like_the_file(tmp_path: Path, write: Write, as_list: bool) -> None:
    file = write(json.dumps([GREEDY]) if as_list else GREEDY)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(file.read_bytes())
    piped = import_run(f"/dev/fd/{reading}", out=tmp_path / "piped")
    os.close(reading)
    (strategy,) = piped.manifest.configuration.strategies.values()
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:16] in strategy
    from_file = import_run(file, out=tmp_path / "run")
    assert (
        piped.tokens()
        .drop(columns=["chain_id", "score_random"])
        .equals(
            from_file.tokens().drop(columns=["chain_id", "score_random"])  # random numbers belong to the id
        )
    )


@pytest.mark.parametrize("content", ["", "\n \n", "[]", '{"model_name": "m"}'])
def test_a_file_without_items_is_refused(tmp_path: Path, write: Write, content: str) -> None:
    with pytest.raises(ChainFileError, match="holds no item; expected one JSON object a line, or a list of them"):
        import_run(write(content), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ((GREEDY, changed(GREEDY, "greedy_prunings.del_pos_rank.2", 9)), "line 2: 'greedy_prunings.del_pos_rank.2' is 9"),
        ((GREEDY | {"id": "x"}, GREEDY | {"id": "x"}), "line 2: chain_id 'x' is also on line 1; give each chain its own"),
        ((GREEDY, TOKENS), "line 2: has no key 'response_reason'"),
        (
            (GREEDY, GREEDY | {"strategy": "random"}),
            "line 2: 'strategy' is 'random' after 'greedy'; put each strategy into its own file",
        ),
    ],
)
def test_a_mistake_of_a_later_item_is_named_with_its_line(
    tmp_path: Path, write: Write, records: Sequence[Record], words: str
) -> None:
    with pytest.raises(ChainFileError) as refused:
        import_run(write(*records), out=tmp_path / "run")
    assert str(refused.value).startswith(f"{tmp_path / 'published.jsonl'}, {words}")
    as_list = write(json.dumps(records), name="list.json")
    with pytest.raises(ChainFileError) as refused:
        import_run(as_list, out=tmp_path / "run")
    assert str(refused.value).startswith(f"{as_list}, {words.replace('line', 'item')}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"format": "csv"}, PluginError, f"unknown format 'csv'; available: {FORMATS}"),
        ({"format": "reason_tokens_json"}, ChainFileError, "has no key 'question'"),
        ({"scorers": ["answer_attention"]}, PluginError, "scorer 'answer_attention' needs a model; name the one that pruned"),
        ({"scorers": ["nope"]}, PluginError, "unknown scorer 'nope'; available: "),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_written(
    tmp_path: Path, write: Write, options: Mapping[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        import_run(write(GREEDY), out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_folder_of_other_files_or_of_another_run_is_left_alone(tmp_path: Path, write: Write, planted: Run) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files"):
        import_run(write(GREEDY), out=other)
    with pytest.raises(RunError, match=r"measured with other options \(model: 'planted' in the run, none .* now; encoding: "):
        import_run(write(GREEDY), out=planted.folder)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_the_same_import_again_changes_nothing_and_another_file_is_refused(tmp_path: Path, write: Write) -> None:
    run = import_run(write(GREEDY), out=tmp_path / "run")
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    import_run(tmp_path / "published.jsonl", out=tmp_path / "run")
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"was measured with other options \(strategy 'greedy', sha256: "):
        import_run(write(changed(GREEDY, "greedy_prunings.answer_perplexity.0", 5)), out=tmp_path / "run")


def test_another_import_adds_scorers(tmp_path: Path, write: Write) -> None:
    before = import_run(write(GREEDY), out=tmp_path / "run", scorers=["recency"]).tokens()
    run = import_run(tmp_path / "published.jsonl", out=tmp_path / "run", scorers=["random:seed=3"])
    assert list(run.manifest.configuration.scorers) == ["recency", "random:seed=3"]
    tokens = run.tokens()
    assert tokens[before.columns].equals(before)
    assert tokens["score_random:seed=3"].notna().all()


def test_an_import_that_was_killed_is_finished(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(*(with_spans(published_greedy(user_prompt=f"{n}?")) for n in range(3)))
    whole = import_run(file, out=tmp_path / "whole")
    scored: list[str] = []

    def killed(self: Recency, chain: Any, *, loaded: object) -> Any:
        if scored:
            raise KeyboardInterrupt
        scored.append(chain.chain_id)
        return score(self, chain, loaded=None)

    score = Recency.score
    monkeypatch.setattr(Recency, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        import_run(file, out=tmp_path / "run")
    status = open_run(tmp_path / "run").status()
    assert (status.n_done, status.left) == (1, {"scorer recency": 2, "scorer random": 2})
    monkeypatch.setattr(Recency, "score", score)
    run = import_run(file, out=tmp_path / "run")
    assert run.status().n_done == 3
    assert run.tokens().equals(whole.tokens())
    assert run.paths().equals(whole.paths())


def test_text_that_names_special_tokens_stays_text(
    tmp_path: Path, write: Write, small_tokenizer: Any, tiny_model_folder: Path
) -> None:
    text = "Say <|im_end|> now"
    ids = [id_ for piece in (text,) for id_ in small_tokenizer(piece, split_special_tokens=True)["input_ids"]]
    item = without(published_greedy(response_reason=text), "chat_template_token_ids")
    item["greedy_prunings"] = {"reason_token_ids": ids, "del_pos_rank": []}
    run = import_run(write(item), out=tmp_path / "run", model=str(tiny_model_folder), scorers=["recency"])
    assert not set(run.tokens()["token_id"]) & set(small_tokenizer.all_special_ids)


def test_an_export_without_what_it_needs_names_the_remedy(
    tmp_path: Path, chains: list[ReasoningChain], make_planted_run: Callable[..., Run], write: Write
) -> None:
    run = make_planted_run(tmp_path / "partial", chains, keep=0.5)
    out = tmp_path / "x.jsonl"

    def refusal(run: Run, **options: Any) -> str:
        with pytest.raises(ReasoningAnatomyError) as refused:
            export_run(run, out=out, **{"format": "reason_tokens_json", **options})
        assert not out.exists()
        return str(refused.value)

    assert f"has no annotator; add one: reasoning-anatomy annotate {run.folder}" in refusal(run)
    label(run)
    assert "chain 'c/0': " in refusal(run)
    assert "tokens were never deleted, but this format needs a deletion step of each; run greedy without keep_ratio" in refusal(
        run
    )
    assert "has no annotator 'nope'; it has crude" in refusal(run, annotator="nope")
    assert "has no strategy 'nope'; it has greedy" in refusal(run, strategy="nope")
    assert "unknown format 'csv'" in refusal(run, format="csv")
    names = {chain_id: Annotation("Other()", ("NOUN",) * run.encoded(chain_id).n_reasoning) for chain_id in run.chains}
    run.write_annotations("other", names)
    assert "has the labels of crude, other; name one: --annotator crude" in refusal(run)
    whole = make_planted_run(tmp_path / "whole", chains)
    whole.write_annotations("other", names)
    assert "chain 'c/0', token 0: 'NOUN' is not a category of this format (SYMBOLIC_MATH, " in refusal(whole)
    whole.write_annotations("other", {"c/0": names["c/0"]})
    assert "chain 'c/1' has tokens without a category of 'other'" in refusal(whole)
    for chain_id in whole.chains:
        whole.layout.artefact(chain_id, "path", "greedy").unlink()
    assert "has no chain with a path of 'greedy' to export; finish the run first" in refusal(whole, format="greedy_prunings")
    imported = import_run(write(published_tokens()), out=tmp_path / "imported")
    assert "so its tokens have no ids; import its file again with --model" in refusal(imported, format="greedy_prunings")


def test_chains_that_the_strategy_could_not_prune_are_left_out_of_an_export(tmp_path: Path, planted: Run) -> None:
    planted.layout.artefact("c/1", "path", "greedy").unlink()
    file = export_run(planted, format="greedy_prunings")
    assert [json.loads(line)["chain_id"] for line in file.read_text().splitlines()] == ["c/0", "c/2", "c/3"]


@pytest.mark.parametrize("text", ["\nOutput Answer:\n", "\n\nOutput Reason:\n", "a\n\nOutput Reason Tokens (JSON Format)"])
def test_text_that_the_viewer_would_cut_is_refused(tmp_path: Path, make_planted_run: Callable[..., Run], text: str) -> None:
    chain = ReasoningChain(chain_id="c", question_id="q", question="a" + text, reasoning="b" + text, answer="c" + text)
    run = label(make_planted_run(tmp_path / "run", [chain]))
    with pytest.raises(RunError, match=r"chain 'c': its text holds a marker of this format, .* export it as greedy"):
        export_run(run, format="reason_tokens_json")
    assert import_run(export_run(run, format="greedy_prunings"), out=tmp_path / "again").chains == run.chains


# -- the command line


def test_the_commands_make_a_run_and_a_file(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["reasoning-anatomy", *arguments])
        cli.main()
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    write(*(published_tokens(question=f"{n}?") for n in range(3)), name="tokens.jsonl")
    write(*(with_spans(published_greedy(user_prompt=f"{n}?")) for n in range(3)), name="greedy.jsonl")
    out = call("import", "tokens.jsonl", "--out", "a")
    assert out == "3 of 3 chains are measured in a\nNext: reasoning-anatomy report a\n"
    out = call("import", "greedy.jsonl", "--out", "b", "--format", "greedy_prunings", "--scorers", "random:seed=3")
    assert out.endswith("Next: reasoning-anatomy annotate b && reasoning-anatomy report b\n")
    assert list(open_run("b").manifest.configuration.scorers) == ["random:seed=3"]
    assert (
        call("export", "a", "--format", "reason_tokens_json")
        == f"Wrote 3 of 3 chains to {Path('a/exports/reason_tokens_json.jsonl')}\n"
    )
    assert (
        call("export", "b", "--format", "greedy_prunings", "--out", "x/y.jsonl")
        == f"Wrote 3 of 3 chains to {Path('x/y.jsonl')}\n"
    )
    assert len(Path("x/y.jsonl").read_text().splitlines()) == 3
    assert "spearman" in call("analyse", "a", "--analyses", "rank_correlation:draws=99")
    assert call("report", "a").endswith(f"Open the report: {Path('a/report.html')}\n")
    for arguments in (
        ("import", "greedy.jsonl", "--out", "x"),
        ("import", "none.jsonl", "--out", "c"),
        ("export", "x", "--format", "y"),
    ):
        with pytest.raises(SystemExit) as ended:
            call(*arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
