"""The chains of a run with their verdicts and how focused their attention is: which can be compared, and why others cannot."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analyses._exclusions import most_left_out
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray

SCORER: Final = "attention_sparsity"
"""Key of the scorer whose labels are read, whatever their options."""

RECOMMENDED: Final = (
    SCORER,
    f"{SCORER}:exclude_sink=1",
    f"{SCORER}:measure=effective_tokens",
    f"{SCORER}:exclude_sink=1,measure=effective_tokens",
    f"{SCORER}:measure=gini",
    f"{SCORER}:exclude_sink=1,measure=gini",
    f"{SCORER}:measure=top_decile",
    f"{SCORER}:exclude_sink=1,measure=top_decile",
)
"""All measures, with the first token of the sequence and without it."""


@dataclass(frozen=True, eq=False)
class Chains:
    """Chains whose verdict is known, with what one label of the scorer says of them.

    Attributes
    ----------
    chain_ids, question_ids
        Of every chain.
    is_wrong
        (chains,) the verdict.
    n_tokens
        (chains,) reasoning tokens.
    overall
        (chains,) mean score over the reasoning tokens: over all layers that attend and their heads.
    heads
        (chains, layers, heads) mean over the reasoning tokens; NaN in layers that do not attend.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    is_wrong: npt.NDArray[np.bool_]
    n_tokens: IntArray
    overall: FloatArray
    heads: FloatArray

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Chains":
        """Take the chains for which ``chosen`` (chains,) is True."""
        places = np.flatnonzero(chosen)
        return Chains(
            chain_ids=tuple(self.chain_ids[place] for place in places),
            question_ids=tuple(self.question_ids[place] for place in places),
            is_wrong=self.is_wrong[places],
            n_tokens=self.n_tokens[places],
            overall=self.overall[places],
            heads=self.heads[places],
        )

    @property
    def have_both_kinds(self) -> npt.NDArray[np.bool_]:
        """(chains,) whether there are a correct and a wrong chain on the chain's question."""
        pairs = set(zip(self.question_ids, self.is_wrong.tolist(), strict=True))
        return np.array([{(question, True), (question, False)} <= pairs for question in self.question_ids], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The chains that one label has scored, and why others say nothing; those on questions of one kind are counted, too."""

    chains: Chains
    exclusions: Mapping[str, int]

    @property
    def paired(self) -> Chains:
        """Chains on questions that have both kinds."""
        return self.chains.of(self.chains.have_both_kinds)


def labels_of(run: Run, wanted: str | None) -> list[str]:
    """Labels of the scorer in a run, or the one that is wanted.

    Raises
    ------
    MissingError
        There is none; the message has the command that measures all.
    """
    labels = [label for label in run.manifest.configuration.scorers if label.partition(":")[0] == SCORER]
    if wanted is not None and wanted in labels:
        return [wanted]
    if wanted is not None and labels:
        raise MissingError(f"{run.folder}: has no {SCORER} with the label {wanted!r}; it has {', '.join(sorted(labels))}")
    if not labels:
        every = " ".join(RECOMMENDED)
        raise MissingError(
            f"{run.folder}: how focused attention is has not been measured; add it with: "
            f"reasoning-anatomy run CHAINS.jsonl --out {run.folder} --strategies none --scorers {every}"
        )
    return labels


def gather(run: Run, labels: Sequence[str]) -> dict[str, Evidence]:
    """Read what each label says of the chains whose verdict is known.

    Raises
    ------
    AnalysisError
        No chain can be used, or all that can are of one kind.
    """
    evidence = {label: _read(run, label) for label in labels}
    used = [found for found in evidence.values() if len(found.chains.chain_ids)]
    most = most_left_out([found.exclusions for found in evidence.values()])
    reasons = ", ".join(f"{count} {reason}" for reason, count in most.items())
    if not used:
        raise AnalysisError(
            f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); chains need is_correct, and the scorer"
        )
    verdicts = {bool(verdict) for found in used for verdict in found.chains.is_wrong}
    if len(verdicts) == 1:
        kind, other = ("wrong", "correct") if verdicts == {True} else ("correct", "wrong")
        raise AnalysisError(f"{run.folder}: all chains that can be used are {kind}; add chains that are {other}")
    return evidence


def _read(run: Run, label: str) -> Evidence:
    measured = run.measured
    exclusions: Counter[str] = Counter({"not_measured": len(run.chains) - len(measured)})
    rows: list[tuple[str, float, int, FloatArray]] = []
    for chain_id in measured:
        found = _read_chain(run, chain_id, label)
        if isinstance(found, str):
            exclusions[found] += 1
        else:
            rows.append((chain_id, *found))
    chains = _chains(run, rows)
    lonely = chains.is_wrong[~chains.have_both_kinds]
    exclusions["no_correct_chain_on_the_question"] = int(lonely.sum())
    exclusions["no_wrong_chain_on_the_question"] = int((~lonely).sum())
    return Evidence(chains, {reason: count for reason, count in sorted(exclusions.items()) if count})


def _read_chain(run: Run, chain_id: str, label: str) -> tuple[float, int, FloatArray] | str:
    """Overall mean, number of tokens and means by layer and head of a chain; or why it says nothing."""
    if run.chains[chain_id].is_correct is None:
        return "no_verdict"
    scores = run.token_scores(chain_id, label)
    if scores is None:
        return "scorer_not_measured" if run.missing_score(chain_id, label) is None else "no_score"
    if scores.profile is None or not scores.profile.is_finite or not np.isfinite(scores.score).all():
        return "score_not_finite"
    return float(scores.score.mean()), len(scores.score), scores.profile.received.mean(axis=2, dtype=np.float64)


def _chains(run: Run, rows: Sequence[tuple[str, float, int, FloatArray]]) -> Chains:
    ids, overall, n_tokens, heads = zip(*rows, strict=True) if rows else ((), (), (), [np.empty((0, 0))])
    return Chains(
        chain_ids=tuple(ids),
        question_ids=tuple(run.chains[chain_id].question_id for chain_id in ids),
        is_wrong=np.array([not run.chains[chain_id].is_correct for chain_id in ids], dtype=np.bool_),
        n_tokens=np.array(n_tokens, dtype=np.int64),
        overall=np.array(overall, dtype=np.float64),
        heads=np.stack(heads)[: len(ids)],
    )
