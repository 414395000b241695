"""The next token: the likeliest, or drawn by random numbers that belong to its sample alone."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import TopPLogitsWarper

from reasoning_anatomy.generation.choosing import choose, gumbel
from reasoning_anatomy.generation.completion import Sampling, sample_seed

N_DRAWS = 20_000


def seeds_of(n: int) -> np.ndarray:
    return np.array([sample_seed(0, "q", number) for number in range(n)])


def drawn(logits: torch.Tensor, sampling: Sampling, *, n: int = N_DRAWS) -> np.ndarray:
    """Draw from the same logits with the seeds of n samples."""
    return choose(logits.expand(n, -1), seeds=seeds_of(n), steps=np.zeros(n, dtype=np.int64), sampling=sampling)


def random_logits(vocabulary: int, *, scale: float = 2.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(seed))


def test_greedy_takes_the_largest_logit_and_the_lowest_id_of_a_tie() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, 1.0], [5.0, -1.0, 5.0, 5.0], [-math.inf, -math.inf, -2.0, -3.0]])
    chosen = choose(logits, seeds=seeds_of(3), steps=np.zeros(3, dtype=np.int64), sampling=Sampling(temperature=0))
    assert chosen.tolist() == [1, 0, 2]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("top_p", [0.6, 0.95, 1.0])
def test_frequencies_are_those_of_the_softmax_within_the_nucleus(temperature: float, top_p: float) -> None:
    logits = random_logits(12)
    expected = torch.softmax(TopPLogitsWarper(top_p)(None, logits / temperature).double(), dim=1)[0].numpy()
    found = np.bincount(drawn(logits, Sampling(temperature=temperature, top_p=top_p)), minlength=12) / N_DRAWS
    standard_error = np.sqrt(expected * (1 - expected) / N_DRAWS)
    assert (found[expected == 0] == 0).all()
    assert (np.abs(found - expected) <= 4.5 * standard_error + 1e-9).all()


@pytest.mark.parametrize("vocabulary", [5, 256, 257, 3000])
@pytest.mark.parametrize(("top_p", "scale"), [(0.05, 3.0), (0.5, 3.0), (0.95, 0.3), (0.999, 0.3), (1.0, 3.0)])
def test_what_can_be_drawn_is_the_nucleus_of_transformers(vocabulary: int, top_p: float, scale: float) -> None:
    logits = random_logits(vocabulary, scale=scale, seed=vocabulary)
    warped = TopPLogitsWarper(top_p)(None, logits)[0]
    nucleus = set(torch.nonzero(warped.isfinite())[:, 0].tolist())
    found = set(drawn(logits, Sampling(temperature=1, top_p=top_p), n=4000).tolist())
    assert found <= nucleus
    likely = {token for token in nucleus if float(torch.softmax(warped, dim=0)[token]) > 0.01}
    assert likely <= found


def test_a_nucleus_that_is_larger_than_the_first_look_is_drawn_from_as_a_whole() -> None:
    logits = random_logits(3000, scale=0.3)
    rank = torch.argsort(torch.argsort(logits[0], descending=True)).numpy()
    of_drawn = rank[drawn(logits, Sampling(temperature=1, top_p=0.999), n=4000)]
    expected = float(torch.softmax(logits[0], dim=0)[rank >= 256].sum())
    assert (of_drawn >= 256).mean() == pytest.approx(expected, abs=0.03)
    assert expected > 0.5


def test_a_token_that_cannot_be_is_never_drawn() -> None:
    logits = torch.tensor([[0.0, -math.inf, 0.0, -math.inf]])
    assert set(drawn(logits, Sampling(temperature=1, top_p=1), n=200).tolist()) == {0, 2}
    assert set(drawn(logits, Sampling(temperature=1, top_p=0.9), n=200).tolist()) == {0, 2}


def test_a_sample_is_the_same_in_any_batch_and_order() -> None:
    logits = random_logits(400, seed=1).expand(6, -1) + random_logits(6, seed=2).T @ random_logits(400, seed=3)
    seeds, steps = seeds_of(6), np.array([0, 3, 3, 7, 100, 0])
    sampling = Sampling(temperature=0.8, top_p=0.9)
    together = choose(logits, seeds=seeds, steps=steps, sampling=sampling)
    order = np.array([4, 0, 5, 2])
    assert choose(logits[order], seeds=seeds[order], steps=steps[order], sampling=sampling).tolist() == together[order].tolist()
    alone = [choose(logits[[row]], seeds=seeds[[row]], steps=steps[[row]], sampling=sampling)[0] for row in range(6)]
    assert alone == together.tolist()


def test_the_look_beyond_the_most_likely_tokens_changes_no_other_row() -> None:
    """A flat row makes the batch look at more tokens; the sharp row beside it draws what it draws alone."""
    sharp, flat = random_logits(2000, scale=4, seed=1), random_logits(2000, scale=0.01, seed=2)
    sampling = Sampling(temperature=1, top_p=0.99)
    for number in range(50):
        seeds, steps = seeds_of(number + 1)[-1:], np.array([number])
        both = choose(torch.cat([sharp, flat]), seeds=np.repeat(seeds, 2), steps=np.repeat(steps, 2), sampling=sampling)
        assert both[0] == choose(sharp, seeds=seeds, steps=steps, sampling=sampling)[0]


@pytest.mark.parametrize("along", ["seeds", "steps", "tokens"])
def test_gumbel_numbers_follow_their_distribution_and_neighbours_are_independent(along: str) -> None:
    n = 40_000
    numbers = np.arange(n + 1)
    fixed = np.zeros(n + 1, dtype=np.int64)
    parts = {"seeds": fixed, "steps": fixed, "tokens": fixed} | {along: numbers}
    values = gumbel(parts["seeds"], parts["steps"], parts["tokens"][:, None])[:, 0]
    assert stats.kstest(values, stats.gumbel_r.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4.5 / math.sqrt(n)


def test_two_samples_draw_independently_of_one_another() -> None:
    """A table of pairs of tokens that two seeds draw at the same steps."""
    logits = random_logits(5, scale=0.5).expand(N_DRAWS, -1)
    steps = np.arange(N_DRAWS)
    first, second = (
        choose(logits, seeds=np.full(N_DRAWS, seed), steps=steps, sampling=Sampling(temperature=1, top_p=1)) for seed in (0, 1)
    )
    table = np.zeros((5, 5))
    np.add.at(table, (first, second), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_two_contexts_with_the_same_probabilities_go_on_alike() -> None:
    """Common random numbers: a small change of the logits changes few draws, independent numbers would change most."""
    logits = random_logits(50, scale=1)
    near = logits + 0.01 * random_logits(50, seed=5)
    sampling = Sampling(temperature=1, top_p=1)
    assert (drawn(logits, sampling, n=2000) == drawn(near, sampling, n=2000)).mean() > 0.97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1, expected 0 or more"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0, expected more than 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"max_tokens": 0}, "max_tokens is 0, expected 1 or more"),
        ({"stop": "\n"}, r"stop is '\\n', expected texts"),
        ({"stop": ("a", "")}, "expected texts that are not empty"),
    ],
)
def test_an_option_out_of_its_range_is_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_seeds_of_samples_are_fixed_numbers_of_63_bits() -> None:
    """The number is that of ``printf '[0, "word-000", 0]' | b2sum -l 64``, without its last bit."""
    assert sample_seed(0, "word-000", 0) == 0xF610A45580919C8A >> 1
    named = [(seed, f"q{question}", sample) for seed in range(3) for question in range(9) for sample in range(9)]
    assert len({sample_seed(*each) for each in named}) == len(named)
    assert all(0 <= sample_seed(0, "q", sample) < 2**63 for sample in range(99))
