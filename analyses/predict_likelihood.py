"""Whether attention foretells the likelihood after a deletion, by a model that learns it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from analyses._predict_likelihood.evidence import Candidates, Features, gather, label_of
from analyses._predict_likelihood.prediction import Split, predict
from analyses._predict_likelihood.tables import MAIN, Resamples, all_tables
from analyses._predict_likelihood.words import finding, warnings
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import AnalysisResult

_LEAST_QUESTIONS: Final = 5
_LEAST_FOLDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class PredictLikelihood:
    """Prediction of the answer's likelihood after a deletion, from the attention of one pass.

    Ridge, gradient boosting and a two-layer perceptron learn the nll after each candidate deletion from the attention that the
    answer pays to the token in all layers and heads, from its place and from the share of tokens that is left. Every question
    is predicted by models that were fitted, and whose settings were chosen, on other questions, which are not predicted from
    it. How well they do is said over all candidates, as published, and within one stage of one chain, where only the choice of
    the token is left to predict; beside baselines that know stage and place alone, or are told the level.
    ``docs/analyses/predict_likelihood.md`` says why, and how well intervals and tests do.

    Attributes
    ----------
    scorer
        Label of the scorer ``candidate_nll`` that is read; None takes the first of its labels.
    train
        Folder of another run whose chains the models are fitted on; None fits and predicts within the run. Questions that both
        runs have are predicted without them.
    features
        Attention by ``heads``, the mean of the heads of every layer (``layers``), or the mean of all (``mean``), which
        transfers to a model of any shape.
    target
        What models learn: the ``nll``, as published, or what sets it apart from the mean of its stage (``within_stage``), so
        that levels, which differ much between chains, do not distract them.
    folds
        Parts into which the questions are dealt, each predicted from the half of the others that is not predicted from it; at
        least 5.
    rows
        Candidates that take part at most, as far as 20 of every stage allow; drawn evenly if there are more.
    training_rows
        Candidates that gradient boosting and perceptron are fitted on, and their settings chosen by, at most, at a time.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1; 1 - confidence is the level of the tests.
    seed
        Of folds, models, drawn candidates and resamples; the same run and seed give the same result.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Singh & Hakkani-Tür (2026), Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv 2601.03066.
    """

    title: ClassVar[str] = "Can the likelihood after a deletion be learned from attention?"
    subject: ClassVar[str] = "prediction"
    terms: ClassVar[Mapping[str, str]] = {
        "pearson": "Pearson's r over all candidates of all chains, as published; level counts",
        "pearson_within_stage": "Pearson's r without the mean of each stage of each chain",
        "spearman_within_stage": "Spearman's rho within a stage of a chain",
        "spearman_within_stage_given_position": "The same, position held constant",
        "spearman_within_stage - position": "Spearman's rho within a stage, less that of position alone",
    }

    scorer: str | None = None
    train: str | None = None
    features: Features = "heads"
    target: Literal["nll", "within_stage"] = "nll"
    folds: int = 5
    rows: int = 100_000
    training_rows: int = 10_000
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        for name, least in (("folds", _LEAST_FOLDS), ("rows", 1), ("training_rows", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: expected {least} or more")

    def analyse(self, run: Run) -> AnalysisResult:
        """Fit, predict and judge.

        Parameters
        ----------
        run
            With the scorer ``candidate_nll`` measured.

        Returns
        -------
        Table: one row per term and predictor, with a first column ``predictor``: the baselines ``stage`` (share kept),
        ``position`` (share kept and place) and ``level, told`` (the mean of the stage itself, which no model can know), then
        the models; ``p_adjusted`` by Holm over the models of a term. Details: ``per_layer`` (how much the rank correlation
        within a stage drops if a layer's attention is shuffled there, Holm over the layers of a model), ``predictions`` (of up
        to 5,000 candidates), ``settings``, ``between_questions``, ``per_chain``, ``left_out``.

        Raises
        ------
        MissingError
            The run has no such scorer.
        AnalysisError
            No chain can be used, there are too few questions to learn from, or the runs have models of different shape.
        """
        label = label_of(run, self.scorer)
        evidence = gather(run, label, features=self.features, rows=self.rows, seed=self.seed)
        other = None if self.train is None else open_run(self.train)
        train = evidence.candidates if other is None else self._training(other)
        _expect_questions(train, other or run)
        _expect_the_same_shape(train, evidence.candidates, self.features)
        split = Split.of(
            train.within_stages() if self.target == "within_stage" else train,
            evidence.candidates,
            n_folds=self.folds,
            seed=self.seed,
        )
        predictions = predict(split, training_rows=self.training_rows, seed=self.seed)
        options = Resamples(draws=self.draws, confidence=self.confidence, seed=self.seed)
        tables = all_tables(split, predictions, evidence, options, target=self.target)
        table = tables.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=tables,
            exclusions=evidence.exclusions,
            warnings=(*question_warnings(run), *warnings(evidence, tables, table, split, transfers=other is not None)),
            config=repr(dataclasses.replace(self, scorer=label)),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy", "scikit-learn"),
                scorer=run.manifest.configuration.scorers[label],
                train=None if other is None else provenance(other, packages=()),
            ),
            finding=finding(table, confidence=self.confidence),
        )

    def _training(self, other: Run) -> Candidates:
        """Read the run to fit on: the same label, or the first of its own."""
        labels = other.manifest.configuration.scorers
        label = label_of(other, self.scorer if self.scorer in labels else None)
        return gather(other, label, features=self.features, rows=self.rows, seed=self.seed).candidates


def _expect_questions(train: Candidates, run: Run) -> None:
    if train.n_questions < _LEAST_QUESTIONS:
        raise AnalysisError(
            f"{run.folder}: has candidates on {train.n_questions} questions, but models are fitted on some, choose their "
            f"settings on others and are judged on others still; measure {_LEAST_QUESTIONS} questions or more"
        )


def _expect_the_same_shape(train: Candidates, test: Candidates, features: Features) -> None:
    if features != "mean" and len(train.layer) != len(test.layer):
        remedy = "--features mean has one column, whatever the shape"
        if features == "heads" and train.shape[0] == test.shape[0]:
            remedy = "--features layers has one column for each layer"
        raise AnalysisError(
            f"the models that were measured have different shapes: {train.shape[0]} layers of {train.shape[1]} heads in the "
            f"run to fit on, {test.shape[0]} of {test.shape[1]} in the run to predict; {remedy}"
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
