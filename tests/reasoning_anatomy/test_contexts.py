"""What a model has read: contexts that begin alike, and keys that are evicted, against whole forward passes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.generation.contexts import Context, ContextReader
from reasoning_anatomy.models.loading import LoadedModel

FULL_ATTENTION = ("llama", "qwen2", "qwen3", "gpt2", "opt", "gpt_neox")
OTHERS = (
    "mistral", "phi3", "gemma2", "gemma3_text", "gemma4_text", "gemma3n_text", "llama4_text", "qwen3_next", "granitemoehybrid",
    "falcon_h1", "jamba", "lfm2", "mamba", "bloom",
)  # fmt: skip
TOLERANCE = 1e-5

Make = Callable[[str], LoadedModel]


def whole_pass(loaded: LoadedModel, ids: np.ndarray, *, hidden: np.ndarray | None = None, behind: int = 0) -> Tensor:
    """Logits (T, vocabulary) of one forward pass; from index ``behind`` on, no token sees those at the indices ``hidden``."""
    options = {}
    if hidden is not None:
        seen = torch.ones(len(ids), len(ids)).tril().bool()
        seen[behind:, hidden] = False
        mask = torch.zeros(len(ids), len(ids)).masked_fill(~seen, torch.finfo(torch.float32).min)
        options = {"attention_mask": mask[None, None], "position_ids": torch.arange(len(ids))[None]}
    with torch.inference_mode():
        return loaded.model(input_ids=torch.tensor(ids)[None], **options).logits[0].float()


def log_likelihood(logits: Tensor, ids: np.ndarray, n: int) -> np.ndarray:
    """Log-likelihood (n,) of the last ids under the logits (T, vocabulary) of the whole sequence."""
    logp = torch.log_softmax(logits[-n - 1 : -1].double(), dim=1)
    return logp.gather(1, torch.tensor(ids[-n:])[:, None])[:, 0].numpy()


def draw(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 97, n)


def family_of_contexts() -> list[Context]:
    """Contexts of which one is the beginning of another, two part at once, two late, and two are the same."""
    stem = draw(20)
    return [
        Context(stem[:12]), Context(stem), Context(np.concatenate([stem[:8], draw(9, 1)])),
        Context(np.concatenate([stem[:18], draw(5, 2)])), Context(draw(6, 3)), Context(stem), Context(stem[:1]),
    ]  # fmt: skip


@pytest.mark.parametrize("token_budget", [None, 3])
@pytest.mark.parametrize("family", [*FULL_ATTENTION, *OTHERS])
def test_logits_are_those_of_a_whole_pass_whatever_was_read_before(
    make_random_model: Make, family: str, token_budget: int | None
) -> None:
    loaded, contexts = make_random_model(family), family_of_contexts()
    read = list(ContextReader(loaded, token_budget=token_budget).read(contexts))
    assert sorted(index for index, _ in read) == list(range(len(contexts)))
    for index, opened in read:
        expected = whole_pass(loaded, contexts[index].ids)[-1]
        assert float((opened.logits - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())
        assert opened.n_positions == len(contexts[index].ids)


@pytest.mark.parametrize("family", [*FULL_ATTENTION, "mistral", "jamba"])
def test_a_context_can_be_opened_in_any_order(make_random_model: Make, family: str) -> None:
    loaded, contexts = make_random_model(family), family_of_contexts()
    reader = ContextReader(loaded, token_budget=5)
    for index in np.random.default_rng(0).permutation(np.repeat(np.arange(len(contexts)), 2)):
        expected = whole_pass(loaded, contexts[index].ids)[-1]
        assert float((reader.open(contexts[index]).logits - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize("token_budget", [None, 4])
@pytest.mark.parametrize("family", FULL_ATTENTION)
def test_evicting_keys_is_a_whole_pass_in_which_what_follows_does_not_see_them(
    make_random_model: Make, family: str, token_budget: int | None
) -> None:
    loaded, ids, tail = make_random_model(family), draw(24), draw(6, 1)
    whole = np.concatenate([ids, tail])
    contexts = [
        Context(ids, evicted=np.array(evicted), tail=tail, n_scored=n_scored)
        for evicted in ([5], [4, 5, 9, 10, 13], list(range(3, 24)), [22, 23])
        for n_scored in (0, 3, len(tail))
    ]
    for index, opened in ContextReader(loaded, token_budget=token_budget).read(contexts):
        context = contexts[index]
        expected = whole_pass(loaded, whole, hidden=context.evicted, behind=len(ids))
        assert float((opened.logits - expected[-1]).abs().max()) <= TOLERANCE * float(expected.abs().max())
        assert opened.n_positions == len(whole)
        closed_up = whole_pass(loaded, np.delete(whole, context.evicted))
        assert float((opened.logits - closed_up[-1]).abs().max()) > 0.01
        if context.n_scored:
            behind = expected.clone()
            behind[len(ids) - 1] = whole_pass(loaded, ids)[-1]  # the first of the tail is predicted before the eviction
            np.testing.assert_allclose(opened.logp, log_likelihood(behind, whole, context.n_scored), atol=1e-5)


@pytest.mark.parametrize("family", OTHERS)
def test_a_model_from_which_single_tokens_cannot_be_evicted_is_refused_by_name(make_random_model: Make, family: str) -> None:
    context = Context(draw(12), evicted=np.array([4]), tail=draw(2, 1))
    with pytest.raises(ModelError, match=f"^{family}: keys and values can be evicted only from .*; use the reading closed_up$"):
        ContextReader(make_random_model(family)).open(context)


@pytest.mark.parametrize("token_budget", [None, 4])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "jamba"])
def test_likelihoods_are_those_of_a_whole_pass(make_random_model: Make, family: str, token_budget: int | None) -> None:
    """The contexts differ in their scored part alone, so that all but the first are read from its last tokens on."""
    loaded, stem = make_random_model(family), draw(15)
    contexts = [Context(np.concatenate([stem, draw(6, seed)]), n_scored=n) for seed in range(3) for n in (1, 6, 20)]
    for index, opened in ContextReader(loaded, token_budget=token_budget).read(contexts):
        ids, n = contexts[index].ids, contexts[index].n_scored
        np.testing.assert_allclose(opened.logp, log_likelihood(whole_pass(loaded, ids), ids, n), atol=2e-5)


@pytest.mark.parametrize("token_budget", [None, 50, 4])
@pytest.mark.parametrize("family", [*FULL_ATTENTION, *OTHERS])
def test_likelihoods_of_contexts_that_are_scored_together_are_those_of_whole_passes(
    make_random_model: Make, family: str, token_budget: int | None
) -> None:
    loaded = make_random_model(family)
    contexts = [Context(draw(length, length), n_scored=n) for length, n in ((9, 2), (24, 5), (21, 1), (15, 14), (24, 3))]
    found = dict(ContextReader(loaded, token_budget=token_budget).score(contexts))
    assert sorted(found) == list(range(len(contexts)))
    for index, logp in found.items():
        ids, n = contexts[index].ids, contexts[index].n_scored
        np.testing.assert_allclose(logp, log_likelihood(whole_pass(loaded, ids), ids, n), atol=2e-5)


def test_contexts_are_scored_in_as_few_passes_as_the_budget_allows(make_random_model: Make) -> None:
    """Rows of 10 tokens at most, 30 tokens a pass: three rows, then two, each as long as the longest beside it."""
    reader = ContextReader(make_random_model("llama"), token_budget=30)
    assert len(list(reader.score([Context(draw(length), n_scored=2) for length in (10, 6, 9, 8, 5)]))) == 5
    assert reader.token_forwards == 3 * 10 + 2 * 6


def test_contexts_that_do_not_fit_into_memory_together_are_scored_apart(make_random_model: Make) -> None:
    contexts = [Context(draw(length, length), n_scored=2) for length in (10, 9, 8, 7)]
    loaded = make_random_model("llama")
    expected = dict(ContextReader(loaded).score(contexts))
    found = dict(ContextReader(LoadedModel(_TooSmall(loaded.model, 25), None, "llama")).score(contexts))  # type: ignore[arg-type]
    assert sorted(found) == list(range(4))
    for index, logp in found.items():
        np.testing.assert_allclose(logp, expected[index], atol=1e-5)


def test_what_contexts_begin_with_is_run_once(make_random_model: Make) -> None:
    """Counted by hand, along the tree of the prefixes.

    aaaa | bbb | c       4 + 3 + 1 = 8
    aaaa | bbb | dd                2   the last ids of a context are always run
    aaaa | ee            2
    aaaa                           1   comes first, and is run whole: the 4 are counted above
    """
    a, b, c, d, e = draw(4), draw(3, 1), np.array([5]), np.array([6, 7]), np.array([8, 9])
    assert b[0] != e[0]
    contexts = [Context(np.concatenate(parts)) for parts in ([a, b, c], [a, b, d], [a, e], [a])]
    reader = ContextReader(make_random_model("llama"))
    assert len(list(reader.read(contexts))) == 4
    assert reader.token_forwards == 4 + 3 + 1 + 2 + 2


def test_at_k_thresholds_the_prompt_and_the_kept_beginning_are_run_once(make_random_model: Make) -> None:
    """Truncations of 30 tokens behind a prompt of 10, each with a stem of 2 that no token of the reasoning is like."""
    prompt, reasoning, stem = draw(10), draw(30, 1), np.array([1, 2])
    reader = ContextReader(make_random_model("llama"))
    list(reader.read([Context(np.concatenate([prompt, reasoning[:n], stem])) for n in (30, 24, 18, 12)]))
    assert reader.token_forwards == 10 + 30 + 4 * 2


def test_evictions_from_one_chain_read_it_once(make_random_model: Make) -> None:
    """20 ids, then 3 of the tail for each; the last of the 20, which predicts the tail, is run again for all but the first."""
    ids, tail = draw(20), draw(3, 1)
    reader = ContextReader(make_random_model("llama"))
    list(reader.read([Context(ids, evicted=np.array([position]), tail=tail) for position in range(5, 10)]))
    assert reader.token_forwards == 20 + 5 * 3 + 4


def test_a_context_that_was_handed_out_is_not_changed_by_what_is_read_later(make_random_model: Make) -> None:
    loaded = make_random_model("llama")
    reader = ContextReader(loaded)
    first = reader.open(Context(draw(12)))
    keys = [layer.keys.clone() for layer in first.cache.layers]
    reader.open(Context(np.concatenate([draw(12), draw(7, 1)])))
    reader.open(Context(draw(5, 2)))
    assert all(torch.equal(layer.keys, before) for layer, before in zip(first.cache.layers, keys, strict=True))


class _TooSmall:
    """A model whose memory runs out beyond some tokens in one pass."""

    def __init__(self, model: torch.nn.Module, most: int) -> None:
        self.model, self.most, self.lengths = model, most, []

    def __call__(self, input_ids: Tensor, **options: object) -> object:
        self.lengths.append(input_ids.numel())
        if input_ids.numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.model(input_ids=input_ids, **options)

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_if_memory_runs_out_smaller_chunks_are_read_from_then_on(make_random_model: Make, family: str) -> None:
    loaded, ids, others = make_random_model(family), draw(40), draw(40, 1)
    small = _TooSmall(loaded.model, 10)
    reader = ContextReader(LoadedModel(small, None, family))
    for each in (ids, others):
        expected = whole_pass(loaded, each)[-1]
        assert float((reader.open(Context(each)).logits - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())
    assert small.lengths == [40, 20, 10, 10, 10, 10, 10, 10, 10, 10]
    assert reader.token_forwards == 80


def test_if_there_is_no_memory_for_one_token_the_error_is_that_of_the_device(make_random_model: Make) -> None:
    reader = ContextReader(LoadedModel(_TooSmall(make_random_model("llama").model, 0), None, "llama"))
    with pytest.raises(torch.OutOfMemoryError):
        reader.open(Context(draw(8)))
