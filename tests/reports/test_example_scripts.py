"""The scripts in ``examples/``, as a reader would run them: each prints what the analysis found and leaves a picture."""

import runpy
import sys
from pathlib import Path

import pytest

from analyses.compare import RunComparison
from reasoning_anatomy.plugins import load

EXAMPLES = Path(__file__).parents[2] / "examples"
OF_ONE_RUN = {
    "attention_and_importance": ("analysed_run", "rank_correlation:scorer=answer_attention,strategy=greedy,competitors=false"),
    "what_goes_first": ("full_run", "deletion_by_category:strategy=greedy"),
    "is_importance_concentrated": ("analysed_run", "strategy_comparison"),
    "how_much_can_be_pruned": ("swept_run", "threshold_comparison"),
    "what_eviction_costs": ("written_run", None),
    "one_chain": ("analysed_run", None),
}
"""Fixture of the run, and the analysis whose finding is printed."""
OTHERS = {"compare_two_runs", "figure_rank_correlation", "readme_pictures"}


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a script on runs, and return what it prints; it leaves a picture, and in the runs nothing."""

    def run_it(name, *runs):
        picture = tmp_path / "picture.png"
        before = [files_of(run.folder) for run in runs]
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *(str(run.folder) for run in runs), str(picture)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert [files_of(run.folder) for run in runs] == before
        return capsys.readouterr().out

    return run_it


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_script_is_run_here_or_has_a_test_of_its_own_and_stands_in_the_list():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    assert scripts == set(OF_ONE_RUN) | OTHERS
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"]({name}.py)" in listed for name in scripts)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "fixture", "spec"), [(name, *each) for name, each in OF_ONE_RUN.items()], ids=[*OF_ONE_RUN])
def test_a_script_says_what_was_found_and_leaves_a_picture(name, fixture, spec, call, request):
    run = request.getfixturevalue(fixture)
    printed = call(name, run)
    if spec is not None:
        assert load("analysis", spec).analyse(run).finding in printed


def test_the_script_about_eviction_says_what_it_saves(call, written_run):
    texts = written_run.transcripts()
    saved = [1 - text.peak_tokens / (text.n_prompt + text.n_written) for text in texts.values()]
    printed = call("what_eviction_costs", written_run)
    assert f"{sum(saved) / len(saved):.0%} fewer tokens than without evictions (mean of {len(texts)} texts)" in printed
    assert all(text.policy in printed for text in texts.values())


def test_the_script_about_eviction_needs_texts_that_were_written_under_a_policy(call, full_run):
    with pytest.raises(SystemExit, match="holds no chain that was sampled under a policy"):
        call("what_eviction_costs", full_run)


def test_the_script_about_one_chain_follows_it(call, analysed_run):
    chain_id = analysed_run.measured[0]
    path = analysed_run.path(chain_id, "greedy")
    half = analysed_run.encoded(chain_id).n_reasoning // 2
    printed = call("one_chain", analysed_run)
    assert analysed_run.chains[chain_id].question in printed
    assert f"from {path.nll_answer[0]:.2f} to {path.nll_answer[half]:.2f} nats per token" in printed


def test_the_script_about_two_runs_says_how_they_differ(call, full_run, sparse_run):
    assert RunComparison().compare([full_run, sparse_run]).finding in call("compare_two_runs", full_run, sparse_run)
