"""The repr and the label of a plugin pin it in run folders: those of version 0.1 stay what they were."""

import pytest

from reasoning_anatomy.plugins import label, load

LLMLINGUA2 = "microsoft/llmlingua-2-xlm-roberta-large-meetingbank"
PROBE = "\n\nTime is up. I stop thinking here and sum up all the key steps that lead to the answer.\n"
REPRS = {
    "scorer": [
        ("accumulated_attention", "AccumulatedAttention(exclude_sink=0, token_budget=None, queries='both')"),
        ("answer_attention", "AnswerAttention(exclude_sink=0, token_budget=None)"),
        ("conditional_surprisal", "ConditionalSurprisal(token_budget=None)"),
        ("contribution", "Contribution(exclude_sink=0, token_budget=None, queries='answer')"),
        (
            "end_of_thinking",
            f"EndOfThinking(probe={PROBE!r}, question=True, layers='all', exclude_sink=0, token_budget=None)",
        ),
        ("expected_attention", "ExpectedAttention(n_future=512, n_sink=4)"),
        ("exposure_normalised_attention", "ExposureNormalisedAttention(exclude_sink=0, token_budget=None, queries='both')"),
        ("gradient_x_input", "GradientXInput(reading='absolute')"),
        ("key_diff", "KeyDiff()"),
        ("key_norm", "KeyNorm()"),
        ("last_token_attention", "LastTokenAttention(exclude_sink=0, token_budget=None, last_of='chain')"),
        ("llmlingua2", f"Llmlingua2(model='{LLMLINGUA2}', revision=None)"),
        ("random", "Random(seed=0)"),
        (
            "receiver_heads",
            "ReceiverHeads(exclude_sink=0, token_budget=None, proximity=4, n_heads=20, heads='', steps='sentences')",
        ),
        ("recency", "Recency()"),
        ("sink_recency", "SinkRecency(n_sink=4)"),
        ("surprisal", "Surprisal(token_budget=None)"),
        ("token_entropy", "TokenEntropy(top_k=None, as_confidence=False, token_budget=None)"),
    ],
    "strategy": [
        ("ascending_score", "AscendingScore(scorer='surprisal', keep_ratio=0.0, curve_points=0, token_budget=None)"),
        (
            "category_matched",
            "CategoryMatched(reference='greedy', annotator='rules', seed=0, curve_points=0, token_budget=None)",
        ),
        (
            "greedy",
            "Greedy(objective='answer', most_important_first=False, keep_ratio=0.0, tie_tolerance=1e-05, token_budget=None, "
            "store_gib=None, checkpoint_every=32)",
        ),
        (
            "greedy_rounds",
            "GreedyRounds(objective='answer', round_share=None, n_candidates=2, keep_ratio=0.0, tie_tolerance=1e-05, "
            "token_budget=None, store_gib=None, checkpoint_every=64)",
        ),
        ("random_block", "RandomBlock(seed=0, keep_ratio=0.0, curve_points=0, token_budget=None)"),
        ("random_tokens", "RandomTokens(seed=0, keep_ratio=0.0, curve_points=0, token_budget=None)"),
        ("truncation", "Truncation(end='tail', keep_ratio=0.0, curve_points=0, token_budget=None)"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "key", "expected"), [(kind, key, expected) for kind, plugins in REPRS.items() for key, expected in plugins]
)
def test_the_repr_of_a_plugin_stays_what_it_was(kind: str, key: str, expected: str) -> None:
    assert repr(load(kind, key)) == expected


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("scorer", "contribution:queries=both,exclude_sink=1", "contribution:exclude_sink=1,queries=both"),
        ("scorer", "receiver_heads:heads=0.1,token_budget=64", "receiver_heads:token_budget=64,heads=0.1"),
        ("scorer", "end_of_thinking:exclude_sink=1,layers=last", "end_of_thinking:layers=last,exclude_sink=1"),
        ("strategy", "truncation:keep_ratio=0.5,end=head", "truncation:end=head,keep_ratio=0.5"),
        ("strategy", "random_block:curve_points=4,seed=1", "random_block:seed=1,curve_points=4"),
        ("strategy", "ascending_score:keep_ratio=0.5,scorer=random", "ascending_score:scorer=random,keep_ratio=0.5"),
        ("strategy", "category_matched:curve_points=4,seed=1", "category_matched:seed=1,curve_points=4"),
        (
            "strategy",
            "greedy:checkpoint_every=8,keep_ratio=0.5,most_important_first=true,objective=joint",
            "greedy:objective=joint,most_important_first=True,keep_ratio=0.5,checkpoint_every=8",
        ),
        (
            "strategy",
            "greedy_rounds:keep_ratio=0.5,n_candidates=3,objective=joint",
            "greedy_rounds:objective=joint,n_candidates=3,keep_ratio=0.5",
        ),
    ],
)
def test_the_label_of_a_plugin_names_its_options_in_the_order_that_it_always_did(
    kind: str, options: str, expected: str
) -> None:
    assert label(load(kind, options)) == expected
