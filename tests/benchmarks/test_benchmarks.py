"""What the benchmarks count, against hand-worked numbers."""

import pytest

from benchmarks import eviction
from benchmarks._models import chain_of, tiny_model
from benchmarks.annotation_speed import Text, joined, tokens_per_second
from benchmarks.attention_memory import Options, compare, does_fit, way_to
from benchmarks.greedy_fidelity import InOtherDtype, fidelity
from benchmarks.greedy_speed import reference_tokens
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import PruningPath

pytestmark = pytest.mark.slow


def path(deleted: list[int], nll: list[float], token_forwards: int) -> PruningPath:
    n = len(deleted)
    return PruningPath("S()", n, deleted, [0.1] * n, 0, nll, nll, nll, token_forwards=token_forwards)


@pytest.mark.parametrize(("p", "n", "m", "tokens"), [(150, 200, 20, 6_083_600), (3, 1, 2, 5), (3, 2, 2, 5 + 2 * 6)])
def test_tokens_of_the_published_algorithm(p, n, m, tokens):
    assert reference_tokens(p, n, m).sum() == tokens


def test_published_count_is_what_whole_passes_run():
    loaded = tiny_model()
    chain = chain_of(loaded, p=6, n=5, m=2)
    likelihood = FullLikelihood(loaded, chain, token_budget=64)
    counts = []
    for position in range(5):
        before = likelihood.token_forwards
        likelihood.score_deletions(reasoning=False)
        counts.append(likelihood.token_forwards - before)
        likelihood.delete(position)
    assert counts == reference_tokens(6, 5, 2).tolist()


def test_path_agrees_with_itself():
    exact = path([2, 0, 3, 1], [1.0, 1.0, 2.0, 3.0, 4.0], 100)
    found = fidelity(exact, exact)
    assert found == pytest.approx({
        "kendall": 1, "jaccard_0.7": 1, "jaccard_0.5": 1, "jaccard_0.3": 1, "curve_gap": 0, "curve_bias": 0, "times_fewer": 1,
    })  # fmt: skip


def test_fidelity_of_another_path():
    exact = path([2, 0, 3, 1], [1.0, 1.0, 2.0, 3.0, 3.0], 100)
    other = path([0, 2, 1, 3], [1.0, 1.5, 2.0, 2.5, 3.0], 20)
    found = fidelity(other, exact)
    assert found["kendall"] == pytest.approx(2 / 6)  # two of six pairs of tokens are the other way round
    assert found["jaccard_0.5"] == 1  # both keep 1 and 3
    assert found["jaccard_0.3"] == 0  # one token is left of four: 1 or 3
    assert found["curve_gap"] == pytest.approx(0.2 / 2)
    assert found["curve_bias"] == 0
    assert found["times_fewer"] == 5


def test_order_of_the_same_model_is_the_exact_one_with_its_curve():
    loaded = tiny_model()
    chain = chain_of(loaded, p=6, n=8, m=3)
    exact = Greedy().prune(chain, loaded=loaded)
    followed = InOtherDtype(loaded).prune(chain, loaded=loaded)
    assert followed.deleted.tolist() == exact.deleted.tolist()
    assert followed.token_forwards == exact.token_forwards
    assert followed.nll_answer == pytest.approx(exact.nll_answer, abs=1e-5)  # float32 rounding of a mean nll


def test_exact_pruning_runs_less_than_the_published_algorithm():
    loaded = tiny_model()
    tokens = Greedy().prune(chain_of(loaded, p=30, n=40, m=5), loaded=loaded).token_forwards
    assert tokens <= 0.31 * reference_tokens(30, 40, 5).sum()


def test_each_way_of_attention_is_measured_in_its_own_process():
    table = compare(Options(tokens=(256,), ways=("plain", "all"), runs=1, tiny=True, device="cpu"))
    assert table[["tokens", "way"]].to_numpy().tolist() == [[256, "plain"], [256, "all"]]
    assert table.loc[0, ["megabytes_ratio", "seconds_ratio"]].tolist() == [1, 1]
    assert (table["megabytes"] > 50).all()  # of the whole process


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokens": (256, 120)}, "--tokens 120: prompt and answer alone have 120 tokens"),
        ({"runs": 0}, "--runs 0: give 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, words):
    with pytest.raises(SystemExit, match=words):
        compare(Options(**options, tiny=True))


def test_a_way_that_fails_is_left_out_and_named(capsys):
    assert compare(Options(tokens=(256,), ways=("plain",), runs=1, device="nowhere")).empty
    assert "plain at 256 tokens is left out: " in capsys.readouterr().err


@pytest.mark.parametrize("way", ["plain", "answer", "accumulated", "all", "eager", "key_norm"])
def test_every_way_of_attention_runs(way):
    loaded = tiny_model()
    assert way_to(way, loaded)(chain_of(loaded, p=3, n=5, m=2))


def test_an_unknown_way_is_refused_before_anything_runs():
    with pytest.raises(PluginError, match="nothing"):
        compare(Options(ways=("plain", "nothing"), tiny=True))


def test_matrices_that_do_not_fit_are_left_out():
    options = Options(device="cpu")
    assert does_fit("eager", 64, options)
    assert not does_fit("eager", 2**20, options)
    assert does_fit("all", 2**20, options)


def test_joined_texts_keep_their_tokens():
    texts = [Text("So 5.", [(0, 2), (2, 4), (4, 5)], "q"), Text("8 = 8", [(0, 1), (1, 3), (3, 5)], "r")]
    whole = joined(texts)
    assert whole.question == "q r"
    assert [whole.text[start:end] for start, end in whole.spans] == ["So", " 5", ".", "8", " =", " 8"]
    assert tokens_per_second([*texts, whole], "rules:model=blank", repeats=1) > 0


def test_writing_under_a_policy_stands_beside_plain_writing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = ["none", "random:budget=0.5,every=16,newest=4"]
    monkeypatch.setattr("sys.argv", ["eviction", "--tokens", "64", "--prompt", "8", "--device", "cpu", "--policies", *policies])
    eviction.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["plain", *policies]
    assert [row[1] for row in rows] == ["64"] * 3
    plain, none, half = ([float(row[place].rstrip("%")) for place in (3, 5, 6, 7)] for row in rows)
    assert plain == [1, 1, 0, 0]
    assert none[1] == 1
    assert half[1] == pytest.approx((8 + 16 + 16) / 71, abs=0.15)  # the prompt, half of 32, and what is written since
    assert half[3] == 3
