"""Runs of which little or nothing can be said: every analysis answers with what it left out, or with one clear error."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyses import Analysis
from benchmarks import statistics
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.types import AnalysisResult, AttentionProfile, PathStages, PruningPath, TokenScores

WITHOUT_DRAWS = ("threshold_comparison", "annotator_agreement", "distillation")
SCORES, PATH = statistics._scores, statistics._path


def constant(scorer: str, n_tokens: int, heads: tuple[int, int] | None, rng: np.random.Generator) -> TokenScores:
    scores = SCORES(scorer, n_tokens, heads, rng)
    profile, stages = scores.profile, scores.stages
    if profile is not None:
        profile = dataclasses.replace(profile, received=np.full(profile.received.shape, 0.5))
    if stages is not None:
        nll, received = (np.where(np.isnan(values), np.nan, 0.5) for values in (stages.nll, stages.received))
        stages = PathStages(stages.keep_ratios, stages.achieved, nll, received)
    return TokenScores(np.full(n_tokens, 0.5), profile, stages=stages)


def not_finite(scorer: str, n_tokens: int, heads: tuple[int, int] | None, rng: np.random.Generator) -> TokenScores:
    scores = SCORES(scorer, n_tokens, heads, rng)
    if scores.stages is not None:
        return scores
    profile = scores.profile and AttentionProfile(scorer, np.full((1, 1, n_tokens), np.nan), "answer tokens", "none")
    return TokenScores(np.where(np.arange(n_tokens) == 3, np.nan, scores.score), profile)


def no_deletion(n_tokens: int, rng: np.random.Generator) -> PruningPath:
    path = PATH(n_tokens, rng)
    first = slice(0, 1)
    return dataclasses.replace(
        path, deleted=path.deleted[:0], margin=path.margin[:0], nll_answer=path.nll_answer[first],
        nll_joint=path.nll_joint[first], nll_reasoning=path.nll_reasoning[first],
    )  # fmt: skip


def by_position(n_tokens: int, rng: np.random.Generator) -> PruningPath:
    return dataclasses.replace(PATH(n_tokens, rng), deleted=np.arange(n_tokens * 9 // 10))


def write(monkeypatch: pytest.MonkeyPatch, folder: Path, shape: tuple[int, int, int], **changed: Callable[..., object]) -> Run:
    monkeypatch.setattr(statistics, "_LAYERS_WITHOUT_HEADS", 4)
    for name, function in changed.items():
        monkeypatch.setattr(statistics, f"_{name}", function)
    statistics.plant(folder, *shape, None)
    return open_run(folder)


EDGES = {
    "one chain": ((1, 1, 30), {}),
    "one question": ((4, 4, 30), {}),
    "two questions": ((4, 2, 30), {}),
    "chains of four tokens": ((12, 2, 4), {}),
    "constant scores": ((12, 2, 30), {"scores": constant}),
    "scores that are not finite": ((12, 2, 30), {"scores": not_finite}),
    "nothing deleted": ((12, 2, 30), {"path": no_deletion}),
    "deleted by position": ((12, 2, 30), {"path": by_position}),
}


@pytest.fixture(scope="module", params=list(EDGES))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    shape, changed = EDGES[request.param]
    with pytest.MonkeyPatch.context() as monkeypatch:
        return write(monkeypatch, tmp_path_factory.mktemp("edge") / "run", shape, **changed)


@pytest.mark.parametrize("name", list(available("analysis")))
def test_an_answer_has_no_silent_nan_and_an_error_says_why(run: Run, name: str) -> None:
    found = found_by(load("analysis", name if name in WITHOUT_DRAWS else f"{name}:draws=99"), run)
    if isinstance(found, str):
        assert found.startswith(str(run.folder))
        return
    assert not re.search(r"\bnan\b", " ".join([found.finding, *found.warnings]), re.IGNORECASE)
    without = found.table[found.table["estimate"].isna()]
    assert without.empty or found.warnings or found.exclusions
    assert without["p_value"].isna().all()
    assert found.table["p_value"].dropna().between(0, 1).all()
    if found.printed is not None:
        assert "nan" not in set(found.printed.astype(str).to_numpy().ravel())


def found_by(analysis: Analysis, run: Run) -> AnalysisResult | str:
    """Return the result, or the message of the error that the command line shows."""
    try:
        return analysis.analyse(run)
    except (AnalysisError, MissingError) as error:
        return str(error)
