"""The candidate deletions of a run: what attention and place say of each, and the likelihood after it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from analyses._exclusions import MIN_TOKENS
from analyses._statistics.questions import question_index
from analyses._statistics.within_groups import centred
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import Float32Array, FloatArray, IntArray, PathStages

SCORER: Final = "candidate_nll"
"""Key of the scorer whose labels are read, whatever their options."""

BoolArray = npt.NDArray[np.bool_]
Features = Literal["heads", "layers", "mean"]

_FLOOR: Final = 1e-6
"""Weights below it are the same to every model: their logarithm would run away."""
_MOST_DEGREE: Final = 5


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate deletions, one a row; those of one stage of a chain stand together, and so do the stages of a chain.

    Attributes
    ----------
    chain_ids, question_ids
        Of every chain, sorted by question and chain, so that the order of the input does not matter.
    chain_of_stage
        (stages,) number of every stage's chain, ascending.
    stage
        (rows,) number of every row's stage, ascending.
    place
        (rows,) where the token stands in the unpruned reasoning, 0..1.
    kept
        (rows,) share of the tokens that are left at the stage.
    nll
        (rows,) mean nll of the answer if the token is deleted next.
    attention
        (rows, columns) natural logarithm of the attention that the token receives from the answer.
    layer
        (columns,) layer of every column; -1 = all.
    shape
        Layers that attend and their heads.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    chain_of_stage: IntArray
    stage: IntArray
    place: FloatArray
    kept: FloatArray
    nll: FloatArray
    attention: Float32Array
    layer: IntArray
    shape: tuple[int, int]

    @property
    def chain(self) -> IntArray:
        """(rows,) number of every row's chain."""
        return self.chain_of_stage[self.stage]

    @property
    def question_of_chain(self) -> IntArray:
        """(chains,) number of every chain's question, from 0."""
        return question_index(self.question_ids)

    @property
    def question(self) -> IntArray:
        """(rows,) number of every row's question."""
        return self.question_of_chain[self.chain]

    @property
    def n_questions(self) -> int:
        """How many questions there are."""
        return len(set(self.question_ids))

    def of(self, chosen: BoolArray) -> "Candidates":
        """Take the chains for which ``chosen`` (chains,) is True."""
        stages, rows = chosen[self.chain_of_stage], chosen[self.chain]
        places = np.flatnonzero(chosen)
        return replace(
            self,
            chain_ids=tuple(self.chain_ids[place] for place in places),
            question_ids=tuple(self.question_ids[place] for place in places),
            chain_of_stage=np.searchsorted(places, self.chain_of_stage[stages]),
            stage=np.searchsorted(np.flatnonzero(stages), self.stage[rows]),
            place=self.place[rows],
            kept=self.kept[rows],
            nll=self.nll[rows],
            attention=self.attention[rows],
        )

    def within_stages(self) -> "Candidates":
        """Take the mean of its stage from every nll."""
        return replace(self, nll=centred(self.nll[:, None], self.stage)[:, 0])

    def design(self) -> Float32Array:
        """(rows, columns) what a model is told: attention, then `place_columns`."""
        return np.concatenate([self.attention, place_columns(self.place, self.kept).astype(np.float32)], axis=1)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The candidates of a run, by which label of the scorer, and what was left out."""

    candidates: Candidates
    label: str
    exclusions: Mapping[str, int]


def place_columns(place: FloatArray, kept: FloatArray) -> FloatArray:
    """(rows, 12) what place and stage alone say: polynomials of the place, of the share kept, and their products."""
    of_place = np.polynomial.legendre.legvander(2 * place - 1, _MOST_DEGREE)[:, 1:]
    return np.column_stack([of_place, kept, kept**2, kept[:, None] * of_place])


def label_of(run: Run, wanted: str | None) -> str:
    """Label of the scorer in a run: the one that is wanted, or the first.

    Raises
    ------
    MissingError
        There is none; the message has the command that measures it.
    """
    labels = [label for label in run.manifest.configuration.scorers if label.partition(":")[0] == SCORER]
    if not labels:
        raise MissingError(
            f"{run.folder}: the likelihoods after candidate deletions have not been measured; add them with: "
            f"reasoning-anatomy run CHAINS.jsonl --out {run.folder} --strategies greedy --scorers {SCORER}"
        )
    if wanted is not None and wanted not in labels:
        raise MissingError(f"{run.folder}: has no {SCORER} with the label {wanted!r}; it has {', '.join(sorted(labels))}")
    return wanted or labels[0]


def gather(run: Run, label: str, *, features: Features, rows: int, seed: int) -> Evidence:
    """Read the candidates of every chain that can be used.

    Parameters
    ----------
    run, label
        What to read.
    features
        Columns of attention: every head, the mean of the heads of every layer, or the mean of all.
    rows
        Candidates that are taken at most, as far as `LEAST_OF_STAGE` of every stage allow; drawn evenly from all stages.
    seed
        Of that draw.

    Raises
    ------
    AnalysisError
        No chain can be used.
    """
    measured = run.measured
    exclusions: Counter[str] = Counter({"not_measured": len(run.chains) - len(measured)})
    found: dict[str, _Chain] = {}
    for chain_id in sorted(measured, key=lambda chain_id: (run.chains[chain_id].question_id, chain_id)):
        scores = run.token_scores(chain_id, label)
        if scores is None:
            exclusions["scorer_not_measured" if run.missing_score(chain_id, label) is None else "no_score"] += 1
        elif scores.stages is not None:
            most = max(LEAST_OF_STAGE, rows // (len(measured) * len(scores.stages.nll)))
            chain = _Chain.of(scores.stages, features, most, chain_generator("predict_likelihood", seed, chain_id), exclusions)
            if len(chain.nll):
                found[chain_id] = chain
            else:
                exclusions["no_stage_can_be_used"] += 1
    exclusions = Counter({reason: count for reason, count in sorted(exclusions.items()) if count})
    if not found:
        reasons = ", ".join(f"{count} {reason}" for reason, count in exclusions.items())
        raise AnalysisError(f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); measure other chains")
    return Evidence(_together(run, found), label, exclusions)


LEAST_OF_STAGE: Final = 20
"""Candidates that are drawn of every stage, however many stages there are: rank correlations of fewer are too small."""


@dataclass(frozen=True, eq=False)
class _Chain:
    """The candidates of one chain, one a row; ``stage`` counts from 0."""

    stage: IntArray
    place: FloatArray
    kept: FloatArray
    nll: FloatArray
    attention: Float32Array
    layer: IntArray
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, stages: PathStages, features: Features, most: int, rng: np.random.Generator, exclusions: Counter[str]
    ) -> "_Chain":
        """Take what can be used of the stages of a chain, at most so many candidates of each."""
        layers = stages.attending_layers
        received = stages.received[:, layers]
        drawn = list(_drawn(stages, most, rng, exclusions))
        n = stages.nll.shape[1]
        attention = [_columns(received[number][..., positions], features) for number, positions in drawn]
        n_columns = {"heads": received.shape[1] * received.shape[2], "layers": received.shape[1], "mean": 1}[features]
        repeated = np.repeat(layers, received.shape[2]) if features == "heads" else layers
        return cls(
            stage=np.repeat(np.arange(len(drawn)), [len(positions) for _, positions in drawn]),
            place=np.concatenate([np.empty(0), *((positions + 0.5) / n for _, positions in drawn)]),
            kept=np.repeat([stages.achieved[number] for number, _ in drawn], [len(positions) for _, positions in drawn]).astype(
                np.float64
            ),
            nll=np.concatenate([np.empty(0), *(stages.nll[number, positions] for number, positions in drawn)]),
            attention=np.concatenate([np.empty((0, n_columns), dtype=np.float32), *attention]),
            layer=np.array([-1]) if features == "mean" else repeated,
            shape=(received.shape[1], received.shape[2]),
        )


def _drawn(stages: PathStages, most: int, rng: np.random.Generator, exclusions: Counter[str]) -> Iterator[tuple[int, IntArray]]:
    """Go through the stages that can be used: number and candidate positions. Why others cannot is counted."""
    before = np.inf
    for number, is_left in enumerate(stages.is_left):
        positions = np.flatnonzero(is_left)
        is_the_same, before = len(positions) == before, len(positions)
        if is_the_same:
            exclusions["stage_is_the_one_before"] += 1
        elif len(positions) < MIN_TOKENS:
            exclusions[f"stage_of_fewer_than_{MIN_TOKENS}_tokens"] += 1
        elif np.ptp(stages.nll[number, positions]) == 0:
            exclusions["stage_of_equal_candidates"] += 1
        else:
            yield number, positions if len(positions) <= most else np.sort(rng.choice(positions, most, replace=False))


def _columns(received: Float32Array, features: Features) -> Float32Array:
    """(rows, columns) of attention (layers, heads, rows)."""
    by_feature = {"heads": received.reshape(-1, received.shape[-1]), "layers": received.mean(axis=1)}
    chosen = received.mean(axis=(0, 1))[None] if features == "mean" else by_feature[features]
    logarithm: Float32Array = np.log(np.maximum(chosen.T, np.float32(_FLOOR)))
    return logarithm


def _together(run: Run, found: Mapping[str, _Chain]) -> Candidates:
    chains = list(found.values())
    shapes = {chain.shape for chain in chains}
    if len(shapes) > 1:
        raise AnalysisError(f"{run.folder}: its chains have attention of {sorted(shapes)} layers and heads; measure them anew")
    n_stages = np.array([chain.stage[-1] + 1 for chain in chains])
    first = np.cumsum(n_stages) - n_stages
    return Candidates(
        chain_ids=tuple(found),
        question_ids=tuple(run.chains[chain_id].question_id for chain_id in found),
        chain_of_stage=np.repeat(np.arange(len(chains)), n_stages),
        stage=np.concatenate([chain.stage + start for chain, start in zip(chains, first, strict=True)]),
        place=np.concatenate([chain.place for chain in chains]),
        kept=np.concatenate([chain.kept for chain in chains]),
        nll=np.concatenate([chain.nll for chain in chains]),
        attention=np.concatenate([chain.attention for chain in chains]),
        layer=chains[0].layer,
        shape=shapes.pop(),
    )
