"""The run folder as a reader sees it: tidy tables, arrays per chain, annotations and analyses."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from reasoning_anatomy import notebook
from reasoning_anatomy.chains import read_chain_file
from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.run.encoded import read_encoded
from reasoning_anatomy.run.fit import read_fit
from reasoning_anatomy.run.labels import (
    TOKEN,
    annotators_in,
    expect_annotator_name,
    write_labels,
    write_roles,
)
from reasoning_anatomy.run.layout import (
    CHAINS_NAME,
    EVALUATIONS_NAME,
    EVICTIONS_NAME,
    PATHS_NAME,
    TOKEN_ROLES_NAME,
    TOKENS_NAME,
    UNUSABLE_NAME,
    Layout,
)
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Condition, Manifest, read_manifest
from reasoning_anatomy.run.measurement import Measurement
from reasoning_anatomy.run.origin import origin_of
from reasoning_anatomy.run.paths import read_path
from reasoning_anatomy.run.results import data_of_result, read_result, write_result
from reasoning_anatomy.run.scores import read_scores
from reasoning_anatomy.run.status import Inventory, Status, read_reason
from reasoning_anatomy.run.table_file import TableFile, read_parquet
from reasoning_anatomy.run.transcripts import read_transcript_of
from reasoning_anatomy.steps import aggregate
from reasoning_anatomy.transcripts import EvictionTranscript
from reasoning_anatomy.types import AnalysisResult, Annotation, EncodedChain, Fit, PruningPath, ReasoningChain, TokenScores
from reasoning_anatomy.unusable import Unusable, read_unusable

_AGGREGATES: Final[tuple[Literal["mean", "sum"], ...]] = ("mean", "sum")

_MEASURE_AGAIN: Final = "delete the file and run the same command again"
_ADDING: Final = "reasoning-anatomy run CHAINS.jsonl --out"


@dataclass(frozen=True)
class Run:
    """A run folder, opened for reading and for adding annotations, analyses and reports.

    Attributes
    ----------
    folder
        Where it is.
    only
        Labels of scorers, strategies and segmenters and names of annotators to show. If none of a kind is named, all of that
        kind are shown. The strategies that were swept are a kind, and so are their baselines, which go with the strategy whose
        length they have.
    """

    folder: Path
    only: tuple[str, ...] = ()

    @cached_property
    def manifest(self) -> Manifest:
        """What was run on what, with the scorers, strategies and segmenters that are shown."""
        manifest = read_manifest(self.folder)
        configuration = manifest.configuration
        shown = {
            "scorers": {label: configuration.scorers[label] for label in self._shown(configuration.scorers)},
            "strategies": {label: configuration.strategies[label] for label in self._shown(configuration.strategies)},
            "segmenters": {label: configuration.segmenters[label] for label in self._shown(configuration.segmenters)},
            "conditions": self._shown_conditions(configuration.conditions),
        }
        return manifest.model_copy(update={"configuration": configuration.model_copy(update=shown)})

    def _shown(self, names: Iterable[str]) -> list[str]:
        """Names of one kind that are shown."""
        every = list(names)
        return [name for name in every if name in self.only] or every

    def _shown_conditions(self, conditions: Mapping[str, Condition]) -> dict[str, Condition]:
        shown = self._shown_in_sweeps((condition.strategy, condition.reference) for condition in conditions.values())
        return {label: each for label, each in conditions.items() if (each.strategy, each.reference) in shown}

    def _shown_in_sweeps(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Pairs of a strategy and the one whose length it has, or none (empty), that are shown."""
        every = set(pairs)
        swept = self._shown({strategy for strategy, reference in every if not reference})
        baselines = self._shown({strategy for strategy, reference in every if reference})
        return {
            (strategy, reference)
            for strategy, reference in every
            if (strategy in baselines and reference in swept if reference else strategy in swept)
        }

    @cached_property
    def chains(self) -> Mapping[str, ReasoningChain]:
        """Every chain of the run by chain_id, in the order of the input."""
        file = read_chain_file(self.folder / CHAINS_NAME, may_hold_tags=True)
        file.expect_usable()
        return {chain.chain_id: chain for chain in file.chains}

    def _repr_html_(self) -> str:
        configuration, status = self.manifest.configuration, self.status()
        about = {
            "run": str(self.folder),
            "model": configuration.encoding if configuration.model is None else configuration.model.id,
            "chains": f"{status.n_done:,} measured of {status.n_chains:,}, {len(status.failed):,} failed",
            "scorers": ", ".join(configuration.scorers) or "none",
            "strategies": ", ".join(configuration.strategies) or "none",
            "annotators": ", ".join(self.annotators) or "none",
        }
        findings = [f"{name}: {self.analysis(name).finding}" for name in self.analyses if self.is_current(name)]
        rows = [(chain.chain_id, chain.question_id, chain.question, chain.is_correct) for chain in self.chains.values()]
        chains = pd.DataFrame(rows, columns=["chain_id", "question_id", "question", "is_correct"])
        return notebook.facts(about) + notebook.listed(findings) + notebook.table(chains)

    @property
    def unusable(self) -> list[Unusable]:
        """Rows and chains that were left out on request, with the reason of each."""
        return read_unusable(self.folder / UNUSABLE_NAME)

    @property
    def layout(self) -> Layout:
        """Paths of the files of the run."""
        return Layout(self.folder)

    def inventory(self) -> Inventory:
        """List which artefacts of which chains exist now."""
        return Inventory.of(self.layout, self.chains)

    def status(self) -> Status:
        """Count what is measured, what failed and what is left, from the files that exist now."""
        return self.inventory().status(self.manifest.configuration)

    @property
    def measured(self) -> list[str]:
        """chain_id of every chain on which something has been measured, in the order of the run."""
        return self.inventory().measured(self.manifest.configuration)

    def encoded(self, chain_id: str) -> EncodedChain:
        """Ids and spans of a chain; nothing else is read."""
        chain, path = self._chain(chain_id), self.layout.encoded(chain_id)
        if not path.exists():
            raise RunError(f"{self.folder}: nothing has been measured on chain {chain_id!r} yet; run the same command again")
        return read_encoded(path, chain, origin=origin_of(self.manifest.configuration, chain), run_folder=self.folder)

    def token_scores(self, chain_id: str, scorer: str, *, with_profile: bool = True) -> TokenScores | None:
        """Scores of a chain by one scorer, and its profile if asked for; None if the scorer has not scored the chain."""
        plugin = self.manifest.configuration.scorers[self.scorer_named(scorer)]
        chain, path = self._chain(chain_id), self.layout.artefact(chain_id, "score", scorer)
        if not path.exists():
            return None
        origin = origin_of(self.manifest.configuration, chain, plugin)
        return read_scores(path, origin=origin, run_folder=self.folder, with_profile=with_profile)

    def missing_score(self, chain_id: str, scorer: str) -> str | None:
        """Why a scorer has no value for a chain; None if it has one or has not scored the chain."""
        path = self.layout.missing_score(chain_id, scorer)
        return read_reason(path) if path.exists() else None

    def fit(self, scorer: str) -> Fit | None:
        """Return what a scorer found in all chains before it scored one; None if it does not look at all chains."""
        path = self.layout.fit(self.scorer_named(scorer))
        return read_fit(path, origin={}, run_folder=self.folder) if path.exists() else None

    def path(self, chain_id: str, strategy: str) -> PruningPath | None:
        """Path of a chain by one strategy; None if there is none."""
        plugin = self.manifest.configuration.strategies[self.strategy_named(strategy)]
        chain, path = self._chain(chain_id), self.layout.artefact(chain_id, "path", strategy)
        if not path.exists():
            return None
        origin = origin_of(self.manifest.configuration, chain, plugin)
        return read_path(path, origin=origin, run_folder=self.folder)

    def transcripts(self) -> dict[str, EvictionTranscript]:
        """Read what was evicted while the chains were written, by chain_id; chains without a transcript are missing."""
        paths = {chain_id: self.layout.transcript(chain_id) for chain_id in self.chains}
        return {
            chain_id: read_transcript_of(path, self.chains[chain_id], run_folder=self.folder)
            for chain_id, path in paths.items()
            if path.exists()
        }

    def measurement(self, chain_id: str) -> Measurement:
        """Ids, spans, scores, attention profiles and pruning paths of one chain: everything, which may be large."""
        configuration = self.manifest.configuration
        encoded = self.encoded(chain_id)
        by_label = {label: self.token_scores(chain_id, label) for label in configuration.scorers}
        missing = {label: self.missing_score(chain_id, label) for label in configuration.scorers}
        unknown = np.full(encoded.n_reasoning, np.nan)
        return Measurement(
            encoded=encoded,
            scores={
                label: unknown if scores is None else scores.score
                for label, scores in by_label.items()
                if scores is not None or missing[label] is not None
            },
            profiles={
                label: scores.profile for label, scores in by_label.items() if scores is not None and scores.profile is not None
            },
            paths={label: path for label in configuration.strategies if (path := self.path(chain_id, label)) is not None},
            missing_scores={label: reason for label, reason in missing.items() if reason is not None},
        )

    def _chain(self, chain_id: str) -> ReasoningChain:
        if chain_id not in self.chains:
            raise RunError(f"{self.folder}: has no chain {chain_id!r}")
        return self.chains[chain_id]

    def tokens(self, *, columns: Iterable[str] | None = None, chains: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per reasoning token of every measured chain.

        Parameters
        ----------
        columns
            Names of columns, in the order that is wanted; all if None. Nothing else is read, so that a few columns of many
            scorers cost a fraction of the memory.
        chains
            chain_id of chains; all if None. Those on which nothing has been measured have no rows.

        Returns
        -------
        Columns ``chain_id, question_id, position, token_id, text, start, end``; ``step_<segmenter>`` (Int64, the step of the
        token, missing = the segmenter has no steps for the chain); ``score_<scorer>`` (higher = more important);
        ``deletion_step_<strategy>`` (Int64, 1 = first deleted, missing = never deleted); ``role_<role>`` (boolean) if the run
        is annotated; and per annotator ``category_<annotator>`` and ``confidence_<annotator>``, with
        ``justification_<annotator>`` and ``votes_<annotator>`` if it gives them.

        Raises
        ------
        MissingError
            The run has no such column, see `token_columns`.
        RunError
            It has no such chain, its tables are not written yet, or a file is damaged.
        """
        files = self._token_files()
        known = [name for file in files for name in file.names]
        wanted = known if columns is None else list(columns)
        if unknown := [name for name in wanted if name not in known]:
            raise MissingError(f"{self.folder}: its tokens have no column {unknown[0]!r}; they have {', '.join(known)}")
        chain_ids = None if chains is None else [self._chain(chain_id).chain_id for chain_id in chains]
        joined = [file for file in files[1:] if not file.names.keys().isdisjoint(wanted)]
        tokens = files[0].read(wanted, chain_ids, also=TOKEN if joined else ())
        for file in joined:
            tokens = tokens.merge(file.read(wanted, chain_ids, also=TOKEN), on=TOKEN, how="left", validate="one_to_one")
        return tokens[wanted]

    @property
    def token_columns(self) -> list[str]:
        """Names of the columns that `tokens` has now; only the heads of files are read."""
        return [name for file in self._token_files() for name in file.names]

    def _token_files(self) -> list[TableFile]:
        """List the files that the table of tokens is joined from, that of the tokens first."""
        tokens, configuration = TableFile.of(self._table_path(TOKENS_NAME), _MEASURE_AGAIN), self.manifest.configuration
        shown = {f"score_{label}" for label in configuration.scorers}
        shown |= {f"deletion_step_{label}" for label in configuration.strategies}
        shown |= {f"step_{label}" for label in configuration.segmenters}
        measured = [name for name in tokens.names if name.startswith(("score_", "deletion_step_", "step_"))]
        files, roles = [tokens.without(set(measured) - shown)], self.folder / TOKEN_ROLES_NAME
        if roles.exists():
            remedy = f"make it again with: reasoning-anatomy annotate {self.folder}"
            files.append(TableFile.of(roles, remedy).without(TOKEN))
        for annotator in self.annotators:
            labels = TableFile.of(self._annotation_path(annotator), f"make it again with: {self._annotating(annotator)}")
            files.append(labels.without(TOKEN).named(f"_{annotator}"))
        return files

    def steps(self, segmenter: str | None = None) -> pd.DataFrame:
        """One row per step of the reasoning of every measured chain, with the scores of its tokens combined.

        Parameters
        ----------
        segmenter
            Label of the segmenter that cut the steps; the first of the run if None.

        Returns
        -------
        Columns ``chain_id, question_id, step, start, end, text, n_tokens``, and for every scorer ``score_<scorer>_mean`` and
        ``score_<scorer>_sum`` over the tokens of the step (higher = more important). ``start`` and ``end`` are those of its
        first and last token, in characters of the chain's reasoning. A chain for which the segmenter has no steps has no rows.

        Raises
        ------
        MissingError
            The run has no such segmenter, or its tables are older than the segmenter.
        """
        label, columns = self.segmenter_named(segmenter), self.token_columns
        column, scores = f"step_{label}", [name for name in columns if name.startswith("score_")]
        if column not in columns:
            raise MissingError(f"{self.folder}: its tables have no steps by {label!r} yet; run the same command again")
        tokens = self.tokens(columns=["chain_id", "question_id", "position", "start", "end", column, *scores])
        tokens = tokens.dropna(subset=[column]).astype({column: "int64"}).rename(columns={column: "step"})
        rows = tokens.groupby(["chain_id", "question_id", "step"], sort=False)
        steps = rows.agg(start=("start", "min"), end=("end", "max"), n_tokens=("position", "size")).reset_index()
        texts = [
            self.chains[chain_id].reasoning[start:end]
            for chain_id, start, end in zip(steps["chain_id"], steps["start"], steps["end"], strict=True)
        ]
        steps.insert(5, "text", texts)
        number = np.asarray(rows.ngroup(), dtype=np.int64)
        for name in scores:
            for how in _AGGREGATES:
                steps[f"{name}_{how}"] = aggregate(tokens[name].to_numpy(), number, how=how)
        return steps

    def paths(self) -> pd.DataFrame:
        """One row per deletion, and one at ``deletion_step`` 0 for the unpruned chain.

        Returns
        -------
        Columns ``chain_id, question_id, strategy, deletion_step, position, margin, nll_answer, nll_joint,
        nll_reasoning``; the nll are in nats per token, after the deletion.
        """
        paths = self._table(PATHS_NAME)
        return paths[paths["strategy"].isin(list(self.manifest.configuration.strategies))].reset_index(drop=True)

    def evaluations(self) -> pd.DataFrame:
        """One row per answer of a sweep.

        Returns
        -------
        Columns ``chain_id, question_id``; ``strategy``, ``threshold`` (0 = nothing is deleted), ``reference`` (the strategy
        whose achieved length, or budget, this baseline has; missing if the threshold is its own), ``reading`` (closed_up,
        evicted, live), ``restatements`` (kept, stripped); ``sample`` and ``seed``; ``requested_ratio`` (nominal: 1 - threshold,
        whatever a threshold means to the strategy) and ``achieved_ratio`` of tokens kept; ``steps_before, steps_after`` (as the
        strategy cuts steps, or by the segmenter of the sweep; a step counts as left if one of its tokens is) and
        ``tokens_before, tokens_after`` of the reasoning; ``tokens_generated``, ``finish_reason`` (eos, stop_string, length,
        loop); ``response``, ``extracted``, ``verdict`` (correct, wrong, undecided; missing without a gold answer) with its
        ``rule``, and ``same_as_chain``, the verdict if the chain's own answer is taken for the right one; ``states_answer``,
        whether what is kept states the gold answer; ``nll_gold``, mean nats per token of the gold answer. Rows at threshold 0
        are there for every strategy.

        If the reading is live, the strategy is an eviction policy, and a row is a text that was written anew on the question;
        ``chain_id`` is the first chain of that question. ``tokens_before`` counts the tokens of its thinking, ``tokens_after``
        those that were in the cache, in one head, when it ended; ``response`` is all of the text and ``tokens_generated`` its
        length. Only these rows have ``peak_cache_tokens``, ``peak_cache_bytes``, ``n_evictions`` and ``n_rewritten`` (as in
        `reasoning_anatomy.transcripts.EvictionTranscript`), and they have no ``nll_gold``.

        Raises
        ------
        MissingError
            There was no sweep, or the table of one is not written yet.
        """
        if not (self.folder / EVALUATIONS_NAME).exists():
            if self.manifest.configuration.conditions:
                raise MissingError(
                    f"{self.folder}: a sweep was begun, but its table {EVALUATIONS_NAME} is not written yet; run the same "
                    "sweep again: what is answered is kept, and the table is written at its end, or if Ctrl-C interrupts it"
                )
            raise MissingError(
                f"{self.folder}: has no answers at thresholds; make them with: reasoning-anatomy sweep {self.folder} "
                "--strategies step_percentile"
            )
        rows = self._table(EVALUATIONS_NAME)
        pairs = list(zip(rows["strategy"], rows["reference"].astype(object).where(rows["reference"].notna(), ""), strict=True))
        shown = self._shown_in_sweeps(pairs)
        return rows[[pair in shown for pair in pairs]].reset_index(drop=True)

    def evictions(self) -> pd.DataFrame:
        """List what left the cache while the texts of a sweep were written under eviction policies.

        Returns
        -------
        Columns ``question_id, chain_id, strategy, threshold, sample``, which say whose rows they are, and those of
        `reasoning_anatomy.transcripts.EVICTION_COLUMNS`: one row for every step at every eviction. Texts from which nothing was
        evicted have none.

        Raises
        ------
        MissingError
            No text was written under a policy, or the table is not written yet.
        """
        conditions = self.manifest.configuration.conditions.values()
        policies = {condition.strategy for condition in conditions if condition.is_live}
        if not (self.folder / EVICTIONS_NAME).exists():
            if policies:
                raise MissingError(f"{self.folder}: its table {EVICTIONS_NAME} is not written yet; run the same sweep again")
            raise MissingError(
                f"{self.folder}: has no texts that were written under a policy; make them with: "
                f"reasoning-anatomy sweep {self.folder} --evict think_clearly"
            )
        rows = self._table(EVICTIONS_NAME)
        return rows[rows["strategy"].isin(policies)].reset_index(drop=True)

    @property
    def annotators(self) -> list[str]:
        """Names of the annotators that have labelled this run."""
        return self._shown(annotators_in(self.folder / "annotations"))

    def annotator(self, name: str) -> str:
        """Provenance of the labels of one annotator."""
        path, command = self._annotation_path(name), self._annotating(name)
        if not path.exists():
            raise RunError(f"{self.folder}: has no labels of annotator {name!r}; make them with: {command}")
        return str(read_parquet(path, f"make it again with: {command}", columns=[]).attrs["annotator"])

    def scorer_named(self, wanted: str | None) -> str:
        """Return ``wanted`` if it is the label of a scorer, or the first label if it is None; else `MissingError`."""
        labels = list(self.manifest.configuration.scorers)
        return self._chosen("scorer", wanted, labels, f"add one: {_ADDING} {self.folder} --scorers KEY")

    def strategy_named(self, wanted: str | None) -> str:
        """Return ``wanted`` if it is the label of a strategy, or the first label if it is None; else `MissingError`."""
        labels = list(self.manifest.configuration.strategies)
        return self._chosen("strategy", wanted, labels, f"add one: {_ADDING} {self.folder} --strategies KEY")

    def segmenter_named(self, wanted: str | None) -> str:
        """Return ``wanted`` if it is the label of a segmenter, or the first label if it is None; else `MissingError`."""
        labels = list(self.manifest.configuration.segmenters)
        return self._chosen("segmenter", wanted, labels, f"add one: {_ADDING} {self.folder} --segmenters KEY")

    def annotator_named(self, wanted: str | None) -> str:
        """Return ``wanted`` if it is the name of an annotator, or the first name if it is None; else `MissingError`."""
        return self._chosen("annotator", wanted, self.annotators, f"add one: reasoning-anatomy annotate {self.folder}")

    def _chosen(self, kind: str, wanted: str | None, names: Sequence[str], remedy: str) -> str:
        if not names:
            raise MissingError(f"{self.folder}: has no {kind}; {remedy}")
        if wanted is not None and wanted not in names:
            raise MissingError(f"{self.folder}: has no {kind} {wanted!r}; it has {', '.join(sorted(names))}")
        return names[0] if wanted is None else wanted

    def write_annotations(self, annotator: str, annotations: Mapping[str, Annotation]) -> Path:
        """Write the labels of one annotator, by chain_id, and return the file.

        Raises
        ------
        RunError
            The name cannot be that of a file, or there are no labels.
        """
        expect_annotator_name(annotator)
        if not annotations:
            raise RunError(f"{self.folder}: there are no labels of {annotator!r} to write; label at least one chain")
        path = self._annotation_path(annotator)
        write_labels(path, annotations)
        return path

    def write_token_roles(self, roles: Mapping[str, pd.DataFrame]) -> Path:
        """Write the roles of every token, a table of boolean columns ``role_<role>`` by chain_id, and return the file."""
        path = self.folder / TOKEN_ROLES_NAME
        write_roles(path, roles)
        return path

    @property
    def analyses(self) -> list[str]:
        """Names of the analyses whose results are in the folder."""
        return sorted(path.parent.name for path in (self.folder / "analyses").glob("*/result.json"))

    def write_analysis(self, result: AnalysisResult) -> Path:
        """Write ``analyses/<name>/table.csv``, one CSV per detail table and ``result.json``; return the folder."""
        folder = self.folder / "analyses" / result.name
        write_result(folder, result, data=self.data_digest())
        return folder

    def is_current(self, analysis: str) -> bool:
        """Whether the result of an analysis is here and was computed from what the run holds, and shows, now."""
        return data_of_result(self.folder / "analyses" / analysis) == self.data_digest()

    def data_digest(self) -> str:
        """Digest of the tables and labels that analyses read, and of what is to be seen of them."""
        digest = hashlib.sha256(repr(self.only).encode())
        names = [TOKENS_NAME, PATHS_NAME, EVALUATIONS_NAME, *(f"annotations/{name}.parquet" for name in self.annotators)]
        for path in (self.folder / name for name in names):
            if path.exists():
                digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def analysis(self, name: str) -> AnalysisResult:
        """Read the result of one analysis; `RunError` says how to make it if it is not there."""
        folder, command = self.folder / "analyses" / name, f"python -m analyses.{name} {self.folder}"
        try:
            return read_result(folder)
        except FileNotFoundError:
            raise RunError(f"{self.folder}: has no analysis {name!r}; make it with: {command}") from None
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{folder}: cannot be read ({error}); make it again with: {command}") from error

    def _annotation_path(self, annotator: str) -> Path:
        return self.folder / "annotations" / f"{annotator}.parquet"

    def _annotating(self, annotator: str) -> str:
        """Command that makes labels."""
        return f"reasoning-anatomy annotate {self.folder} --annotator {annotator}"

    def _table(self, name: str) -> pd.DataFrame:
        return read_parquet(self._table_path(name), _MEASURE_AGAIN)

    def _table_path(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise RunError(f"{path}: does not exist, so the run is not finished; run the same command again")
        return path


def open_run(path: str | Path, *, only: Sequence[str] = ()) -> Run:
    """Open a run folder.

    Parameters
    ----------
    path
        The folder.
    only
        Labels of scorers, strategies and segmenters and names of annotators to show. If none of a kind is named, all of that
        kind are shown. The strategies that were swept are a kind, and so are their baselines, which go with the strategy whose
        length they have.

    Raises
    ------
    RunError
        The folder is not a run, or a name in ``only`` is unknown.
    """
    run, whole = Run(Path(path), tuple(only)), Run(Path(path))
    configuration = whole.manifest.configuration
    swept = dict.fromkeys(condition.strategy for condition in configuration.conditions.values())
    strategies = [*configuration.strategies, *(label for label in swept if label not in configuration.strategies)]
    names = [*configuration.scorers, *strategies, *configuration.segmenters, *whole.annotators]
    if unknown := [name for name in only if name not in names]:
        raise RunError(
            f"{whole.folder}: has no scorer, strategy, segmenter or annotator {unknown[0]!r}; it has {', '.join(names)}"
        )
    return run


def newest_run(folder: str | Path = "runs") -> Run:
    """Open the run below ``folder`` that was begun or finished last; `RunError` if there is none."""
    manifests = list(Path(folder).glob(f"*/{MANIFEST_NAME}"))
    if not manifests:
        raise RunError(f"{folder}: holds no run; name one, or make one with: reasoning-anatomy demo --out {folder}/demo")
    return open_run(max(manifests, key=lambda path: (path.stat().st_mtime_ns, path)).parent)
