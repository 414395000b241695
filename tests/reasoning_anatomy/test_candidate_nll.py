"""The scorer candidate_nll: every possible next deletion at the stages of a path, and the attention that is paid there."""

import dataclasses
from shutil import copytree

import numpy as np
import pytest
import torch

from reasoning_anatomy.errors import MeasurementError, PluginError, RunError
from reasoning_anatomy.importance import FollowsPath, RecordsAttention
from reasoning_anatomy.importance.candidate_nll import CandidateNll
from reasoning_anatomy.models.loading import load_model
from reasoning_anatomy.pipeline import forecast
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.plugins import label, load
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning import ForeseesCost
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.run.folder import open_run

RATIOS = (1.0, 0.8, 0.5)
NLL = 1e-5  # float32 rounding of a mean nll
SPEC = "candidate_nll:keep_ratios=1.0 0.8 0.5"


@torch.inference_mode()
def answer_nll(loaded, chain, kept):
    """Mean nll of the answer by one plain pass over the tokens that are kept."""
    ids = np.concatenate([chain.prompt_ids, chain.reasoning_ids[kept], chain.answer_ids])
    logp = loaded.model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0].double().log_softmax(-1).numpy()
    m = len(chain.answer_ids)
    return -logp[np.arange(len(ids) - m - 1, len(ids) - 1), chain.answer_ids].mean()


@torch.inference_mode()
def eager_attention(loaded, chain, kept):
    """(layers, heads, kept) mean row of the answer in the model's own eager weights over the tokens that are kept."""
    ids = np.concatenate([chain.prompt_ids, chain.reasoning_ids[kept], chain.answer_ids])
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        weights = loaded.model(input_ids=torch.from_numpy(ids)[None], use_cache=False, output_attentions=True).attentions
    finally:
        loaded.model.set_attn_implementation(before)
    start, m = len(chain.prompt_ids), len(chain.answer_ids)
    return np.stack([layer[0, :, -m:, start : start + len(kept)].mean(dim=1).numpy() for layer in weights])


@pytest.fixture(scope="module")
def measured(make_random_model):
    """Model, chain, greedy path and scores by family, each made once."""
    made = {}

    def make(family, make_chain):
        if family not in made:
            loaded, chain = make_random_model(family), make_chain(6, 15, 4)
            path = Greedy(checkpoint_every=1).prune(chain, loaded=loaded)
            made[family] = loaded, chain, path, CandidateNll(keep_ratios=RATIOS).score(chain, loaded=loaded, path=path)
        return made[family]

    return make


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_every_candidate_is_a_whole_pass_without_it(measured, make_random_chain, deviation, family):
    loaded, chain, path, scores = measured(family, make_random_chain)
    stages = scores.stages
    np.testing.assert_array_equal(scores.score, stages.nll[0])
    assert stages.achieved.tolist() == [1.0, 12 / 15, 7 / 15]
    for nll, n_deleted in zip(stages.nll, (0, 3, 8), strict=True):
        kept = np.setdiff1d(np.arange(15), path.deleted[:n_deleted])
        assert np.flatnonzero(~np.isnan(nll)).tolist() == kept.tolist()
        expected = [answer_nll(loaded, chain, kept[kept != position]) for position in kept]
        assert deviation("candidate_nll", nll[kept], expected) < NLL * max(1, np.max(expected))


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_attention_is_that_of_the_answer_in_the_models_own_pass_over_what_is_left(
    measured, make_random_chain, deviation, family
):
    loaded, chain, path, scores = measured(family, make_random_chain)
    for received, n_deleted in zip(scores.stages.received, (0, 3, 8), strict=True):
        kept = np.setdiff1d(np.arange(15), path.deleted[:n_deleted])
        assert deviation("candidate_nll (attention)", received[..., kept], eager_attention(loaded, chain, kept)) < 1e-6
        assert np.isnan(np.delete(received, kept, axis=2)).all()


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_the_lowest_candidate_of_a_stage_is_the_next_deletion_of_greedy(measured, make_random_chain, family):
    _, _, path, scores = measured(family, make_random_chain)
    for nll, n_deleted in zip(scores.stages.nll, (0, 3, 8), strict=True):
        assert path.margin[n_deleted] > Greedy().tie_tolerance  # so that there is one lowest
        assert np.nanargmin(nll) == path.deleted[n_deleted]
        np.testing.assert_allclose(np.nanmin(nll), path.nll_answer[n_deleted + 1], atol=1e-4)


def test_whole_passes_and_shared_prefixes_say_the_same(measured, make_random_chain):
    loaded, chain, path, scores = measured("llama", make_random_chain)
    whole = CandidateNll(keep_ratios=RATIOS, token_budget=40).score(
        chain, loaded=dataclasses.replace(loaded, may_share=False), path=path
    )
    np.testing.assert_allclose(whole.stages.nll, scores.stages.nll, atol=1e-4)
    np.testing.assert_allclose(whole.stages.received, scores.stages.received, atol=1e-6)


def test_the_unpruned_chain_alone_needs_no_path(measured, make_random_chain):
    loaded, chain, _, scores = measured("llama", make_random_chain)
    alone = CandidateNll(keep_ratios=(1.0,))
    assert alone.reference is None
    np.testing.assert_array_equal(alone.score(chain, loaded=loaded).score, scores.score)


def test_one_token_is_left_at_least(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 3, 2)
    path = Greedy().prune(chain, loaded=loaded)
    stages = CandidateNll(keep_ratios=(1.0, 0.1)).score(chain, loaded=loaded, path=path).stages
    assert stages.is_left.sum(axis=1).tolist() == [3, 1]
    np.testing.assert_allclose(stages.nll[1, path.deleted[2]], answer_nll(loaded, chain, np.array([], dtype=int)), atol=1e-4)


def test_a_path_that_is_missing_or_too_short_is_named(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 10, 2)
    scorer = CandidateNll(keep_ratios=(1.0, 0.9, 0.5), strategy="greedy:keep_ratio=0.8")
    with pytest.raises(MeasurementError, match=r"has no path of greedy:keep_ratio=0\.8, which candidate_nll follows"):
        scorer.score(chain, loaded=loaded)
    path = Greedy(keep_ratio=0.8).prune(chain, loaded=loaded)
    with pytest.raises(MeasurementError, match=r"ends where 0\.8 of the tokens are left, before the keep ratio 0\.5"):
        scorer.score(chain, loaded=loaded, path=path)


@pytest.mark.parametrize("ratios", [(), (0.9, 0.5), (1.0, 1.0), (1.0, 0.5, 0.7), (1.0, 0.0), (1.0, float("nan"))])
def test_keep_ratios_that_do_not_descend_from_1_are_refused(ratios):
    with pytest.raises(ValueError, match=r"expected shares that descend from 1\.0, such as 1\.0 0\.9 0\.5"):
        CandidateNll(keep_ratios=ratios)


def test_it_says_what_it_follows_records_and_costs(make_random_chain):
    scorer = load("scorer", SPEC)
    assert (scorer, label(scorer), scorer.reference) == (CandidateNll(keep_ratios=RATIOS), SPEC, "greedy")
    assert isinstance(scorer, FollowsPath)
    assert isinstance(scorer, RecordsAttention)
    assert isinstance(scorer, ForeseesCost)
    chain = make_random_chain(6, 4, 3)
    # Four candidates run 3 + 2 + 1 + 0 reasoning tokens and the answer each, two 1 + 0; both stages are run twice as they are.
    two = CandidateNll(keep_ratios=(1.0, 0.5))
    assert two.token_forwards(chain, shares_prefixes=True) == 6 + 4 * 3 + 1 + 2 * 3 + 2 * (13 + 11)
    assert two.token_forwards(chain, shares_prefixes=False) == 4 * 12 + 2 * 10 + 2 * (13 + 11)


# --- runs


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def run_of_two(tiny, example_chains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "stages"
    options = {"strategies": ["greedy:keep_ratio=0.8"], "workers": 2}
    return measure(
        example_chains[:2],
        out=folder,
        model=tiny,
        scorers=["surprisal", SPEC_OF_RUN, "candidate_nll:keep_ratios=1.0"],
        **options,
    )


SPEC_OF_RUN = "candidate_nll:keep_ratios=1.0 0.9,strategy=greedy:keep_ratio=0.8"


def test_a_run_measures_the_path_first_and_keeps_the_stages(run_of_two, tiny):
    assert run_of_two.status().failed == {}
    for chain_id in run_of_two.chains:
        encoded, path = run_of_two.encoded(chain_id), run_of_two.path(chain_id, "greedy:keep_ratio=0.8")
        alone = load("scorer", SPEC_OF_RUN).score(encoded, loaded=tiny, path=path)
        kept = run_of_two.token_scores(chain_id, SPEC_OF_RUN)
        for name in ("keep_ratios", "achieved"):
            np.testing.assert_array_equal(getattr(kept.stages, name), getattr(alone.stages, name))
        np.testing.assert_allclose(kept.stages.nll, alone.stages.nll, atol=1e-4)
        np.testing.assert_allclose(kept.stages.received, alone.stages.received, rtol=2**-10, atol=1e-6)
        assert run_of_two.token_scores(chain_id, SPEC_OF_RUN, with_profile=False).stages is None
        assert run_of_two.token_scores(chain_id, "surprisal").stages is None
    tokens = run_of_two.tokens()
    np.testing.assert_allclose(tokens[f"score_{SPEC_OF_RUN}"], tokens["score_candidate_nll:keep_ratios=1.0"], atol=1e-4)


def test_a_run_grows_by_it_from_the_path_that_is_there(tiny, example_chains, tmp_path):
    chains, folder = example_chains[:2], tmp_path / "run"
    measure(chains, out=folder, model=tiny, scorers=[], strategies=["greedy:keep_ratio=0.8"])
    paths = {path: path.read_bytes() for path in folder.rglob("path-*")}
    run = measure(chains, out=folder, model=tiny, scorers=[SPEC_OF_RUN], strategies=[])
    assert (run.status().n_done, run.status().failed) == (2, {})
    assert {path: path.read_bytes() for path in folder.rglob("path-*")} == paths
    with pytest.raises(PluginError, match=r"follows the path of 'greedy', which is not measured; add it: .* greedy"):
        measure(chains, out=folder, model=tiny, scorers=["candidate_nll"], strategies=[])


def test_a_path_that_ends_too_early_fails_the_scorer_alone(tiny, example_chains, tmp_path):
    scorers = ["surprisal", "candidate_nll:keep_ratios=1.0 0.5,strategy=greedy:keep_ratio=0.9"]
    run = measure(example_chains[:1], out=tmp_path / "run", model=tiny, scorers=scorers, strategies=["greedy:keep_ratio=0.9"])
    (reasons,) = run.status().failed.values()
    (name, reason), = reasons.items()  # fmt: skip
    assert name == f"scorer {scorers[1]}"
    assert "of the tokens are left, before the keep ratio 0.5 of candidate_nll" in reason
    assert set(run.measurement(example_chains[0].chain_id).scores) == {"surprisal"}


def test_scores_of_another_path_are_not_read(run_of_two, tiny, example_chains, tmp_path):
    copy = open_run(copytree(run_of_two.folder, tmp_path / "copy"))
    chain_id = example_chains[0].chain_id
    copy.layout.artefact(chain_id, "path", "greedy:keep_ratio=0.8").unlink()
    with pytest.raises(RunError, match=r"was made from .*path-greedy.*, which is gone"):
        copy.token_scores(chain_id, SPEC_OF_RUN)


def test_what_it_costs_is_foreseen(tiny, example_chains, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(forecast, "_LONG", 0.0)
    monkeypatch.setattr(forecast, "_FEW_TOKENS", 0)
    with Stages(show=True) as stages:
        measure(
            example_chains[:1], out=tmp_path / "run", model=tiny, scorers=["candidate_nll:keep_ratios=1.0"], strategies=[],
            stages=stages,
        )  # fmt: skip
    assert "The candidate deletions of 1 chains take up to" in " ".join(capsys.readouterr().err.split())


def test_a_plan_knows_the_paths_that_a_run_has():
    assert Plan.of([SPEC], [], measured=["greedy"]).scorers == {SPEC: CandidateNll(keep_ratios=RATIOS)}
    assert Plan.of([SPEC], ["random_tokens", "greedy"]).strategies.keys() == {"random_tokens", "greedy"}
    with pytest.raises(PluginError, match=r"--scorers 'candidate_nll:keep_ratios=1\.0 0\.8 0\.5' --strategies greedy"):
        Plan.of([SPEC], ["random_tokens"])
