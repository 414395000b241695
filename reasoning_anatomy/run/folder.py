"""The run folder as a reader sees it: tidy tables, arrays per chain, annotations and analyses."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import MissingError, RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, atomic_path, write_atomic
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Manifest, read_manifest
from reasoning_anatomy.run.measurement import Measurement, file_name, read_measurement
from reasoning_anatomy.steps import aggregate
from reasoning_anatomy.types import AnalysisResult, Annotation, ReasoningChain

CHAINS_NAME = "chains.jsonl"
TOKENS_NAME = "tokens.parquet"
PATHS_NAME = "paths.parquet"
TOKEN_ROLES_NAME = "token_roles.parquet"
REPORT_NAME = "report.html"
_AGGREGATES: Final[tuple[Literal["mean", "sum"], ...]] = ("mean", "sum")

_TOKEN: Final = ["chain_id", "position"]
_ADDING: Final = "reasoning-anatomy run CHAINS.jsonl --out"
_ANNOTATOR_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Run:
    """A run folder, opened for reading and for adding annotations, analyses and reports.

    Attributes
    ----------
    folder
        Where it is.
    """

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """What was run on what."""
        return read_manifest(self.folder)

    @cached_property
    def chains(self) -> Mapping[str, ReasoningChain]:
        """Every chain of the run by chain_id, in the order of the input."""
        return {chain.chain_id: chain for chain in read_chains(self.folder / CHAINS_NAME)}

    @property
    def measured(self) -> list[str]:
        """chain_id of every measured chain, in the order of the input."""
        return [chain_id for chain_id in self.chains if self.measurement_path(chain_id).exists()]

    def measurement_path(self, chain_id: str) -> Path:
        """File of one chain's arrays."""
        return self.folder / "chains" / file_name(chain_id)

    @property
    def fits(self) -> Path:
        """Folder of what scorers found in all chains before they scored any."""
        return self.folder / "fits"

    def fit_path(self, label: str) -> Path:
        """File of what one scorer found."""
        return self.fits / file_name(label)

    @property
    def checkpoints(self) -> Path:
        """Folder of what is measured so far of chains that are not finished."""
        return self.folder / "checkpoints"

    def checkpoint_path(self, chain_id: str) -> Path:
        """File of what is measured so far of one chain."""
        return self.checkpoints / file_name(chain_id)

    def measurement(self, chain_id: str) -> Measurement:
        """Ids, spans, scores, attention profiles and pruning paths of one chain."""
        if chain_id not in self.chains:
            raise RunError(f"{self.folder}: has no chain {chain_id!r}")
        path = self.measurement_path(chain_id)
        if not path.exists():
            raise RunError(
                f"{self.folder}: chain {chain_id!r} is not measured; run the same command again, or see 'failed' in run.json"
            )
        return read_measurement(path, self.chains[chain_id])

    def tokens(self) -> pd.DataFrame:
        """One row per reasoning token of every measured chain.

        Returns
        -------
        Columns ``chain_id, question_id, position, token_id, text, start, end, step``; ``score_<scorer>`` (higher =
        more important); ``deletion_step_<strategy>`` (Int64, 1 = first deleted, missing = never deleted);
        ``role_<role>`` (boolean) where the run is annotated; and per annotator ``category_<annotator>`` and
        ``confidence_<annotator>``, with ``justification_<annotator>`` and ``votes_<annotator>`` where it has them.
        """
        tokens = self._table(TOKENS_NAME)
        roles = self.folder / TOKEN_ROLES_NAME
        if roles.exists():
            table = _read_parquet(roles, f"make it again with: reasoning-anatomy annotate {self.folder}")
            tokens = tokens.merge(table, on=_TOKEN, how="left", validate="one_to_one")
        for annotator in self.annotators:
            labels = self._annotation_table(annotator)
            labels = labels.rename(columns={name: f"{name}_{annotator}" for name in labels.columns if name not in _TOKEN})
            tokens = tokens.merge(labels, on=_TOKEN, how="left", validate="one_to_one")
        return tokens

    def steps(self) -> pd.DataFrame:
        """One row per step of the reasoning of every measured chain, with the scores of its tokens combined.

        Returns
        -------
        Columns ``chain_id, question_id, step, start, end, text, n_tokens``, and for every scorer ``score_<scorer>_mean`` and
        ``score_<scorer>_sum`` over the tokens of the step (higher = more important). ``start`` and ``end`` are those of its
        first and last token, in characters of the chain's reasoning.
        """
        tokens = self._table(TOKENS_NAME)
        scores = [name for name in tokens.columns if name.startswith("score_")]
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
        nll_reasoning``: the nats per token are those after the deletion.
        """
        return self._table(PATHS_NAME)

    @property
    def annotators(self) -> list[str]:
        """Names of the annotators that have labelled this run."""
        names = [path.stem for path in (self.folder / "annotations").glob("*.parquet")]
        return sorted(name for name in names if not name.startswith(TEMPORARY_PREFIX))

    def annotator(self, name: str) -> str:
        """Provenance of the labels that one annotator gave this run."""
        return str(self._annotation_table(name).attrs["annotator"])

    def scorer_named(self, wanted: str | None) -> str:
        """Return the wanted label of a scorer, or for None the first of the run; `MissingError` lists what there is."""
        known = list(self.manifest.configuration.scorers)
        return self._chosen("scorer", wanted, known, f"add one: {_ADDING} {self.folder} --scorers KEY")

    def strategy_named(self, wanted: str | None) -> str:
        """Return the wanted label of a strategy, or for None the first of the run; `MissingError` lists what there is."""
        known = list(self.manifest.configuration.strategies)
        return self._chosen("strategy", wanted, known, f"add one: {_ADDING} {self.folder} --strategies KEY")

    def annotator_named(self, wanted: str | None) -> str:
        """Return the wanted name of an annotator, or for None the first of the run; `MissingError` lists what there is."""
        return self._chosen("annotator", wanted, self.annotators, f"add one: reasoning-anatomy annotate {self.folder}")

    def _chosen(self, kind: str, wanted: str | None, known: Sequence[str], remedy: str) -> str:
        if not known:
            raise MissingError(f"{self.folder}: has no {kind}; {remedy}")
        if wanted is not None and wanted not in known:
            raise MissingError(f"{self.folder}: has no {kind} {wanted!r}; it has {', '.join(sorted(known))}")
        return known[0] if wanted is None else wanted

    def write_annotations(self, annotator: str, annotations: Mapping[str, Annotation]) -> Path:
        """Write the labels of one annotator, by chain_id, and return the file.

        Raises
        ------
        RunError
            The name is no file's, or there is no chain.
        """
        expect_annotator_name(annotator)
        if not annotations:
            raise RunError(f"{self.folder}: there are no labels of {annotator!r} to write; label one chain at least")
        table = pd.concat([_label_frame(*item) for item in annotations.items()], ignore_index=True)
        table.attrs["annotator"] = next(labels.annotator for labels in annotations.values())
        path = self._annotation_path(annotator)
        with atomic_path(path) as temporary:
            table.to_parquet(temporary, index=False)
        return path

    def write_token_roles(self, roles: Mapping[str, pd.DataFrame]) -> Path:
        """Write the roles of every token, a table of boolean columns ``role_<role>`` by chain_id, and return the file."""
        frames = [table.assign(chain_id=chain_id, position=range(len(table))) for chain_id, table in roles.items()]
        table = pd.concat(frames, ignore_index=True).astype({"chain_id": "str"})
        path = self.folder / TOKEN_ROLES_NAME
        with atomic_path(path) as temporary:
            table[[*_TOKEN, *table.columns.drop(_TOKEN)]].to_parquet(temporary, index=False)
        return path

    @property
    def analyses(self) -> list[str]:
        """Names of the analyses whose results are here."""
        return sorted(path.parent.name for path in (self.folder / "analyses").glob("*/result.json"))

    def write_analysis(self, result: AnalysisResult) -> Path:
        """Write ``analyses/<name>/table.csv``, one CSV per detail table and ``result.json``; return the folder."""
        folder = self.folder / "analyses" / result.name
        write_atomic(folder / "table.csv", result.table.to_csv(index=False))
        for name, detail in result.details.items():
            write_atomic(folder / f"{name}.csv", detail.to_csv(index=False))
        facts = {
            "name": result.name,
            "config": result.config,
            "details": list(result.details),
            "finding": result.finding,
            "exclusions": dict(result.exclusions),
            "warnings": list(result.warnings),
            "provenance": dict(result.provenance),
        }
        write_atomic(folder / "result.json", json.dumps(facts, indent=2) + "\n")
        return folder

    def analysis(self, name: str) -> AnalysisResult:
        """Read the result of one analysis; `RunError` says how to make it where there is none."""
        folder = self.folder / "analyses" / name
        try:
            facts = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            return AnalysisResult(
                name=name,
                table=_read_table(folder / "table.csv"),
                details={detail: _read_table(folder / f"{detail}.csv") for detail in facts["details"]},
                finding=facts.get("finding", ""),
                exclusions=facts["exclusions"],
                warnings=tuple(facts["warnings"]),
                config=facts["config"],
                provenance=facts["provenance"],
            )
        except FileNotFoundError:
            raise RunError(
                f"{self.folder}: has no analysis {name!r}; make it with: python -m analyses.{name} {self.folder}"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{folder}: cannot be read ({error}); make it again with: python -m analyses.{name} {self.folder}"
            ) from error

    def _annotation_path(self, annotator: str) -> Path:
        return self.folder / "annotations" / f"{annotator}.parquet"

    def _annotation_table(self, annotator: str) -> pd.DataFrame:
        path = self._annotation_path(annotator)
        command = f"reasoning-anatomy annotate {self.folder} --annotator {annotator}"
        if not path.exists():
            raise RunError(f"{self.folder}: has no labels of annotator {annotator!r}; make them with: {command}")
        return _read_parquet(path, f"make it again with: {command}")

    def _table(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        if not path.exists():
            raise RunError(f"{path}: is not there, so the run is not finished; run the same command again")
        return _read_parquet(path, "delete the file and run the same command again")


def open_run(path: str | Path) -> Run:
    """Open a run folder; `RunError` where it is none."""
    run = Run(Path(path))
    _ = run.manifest
    return run


def newest_run(folder: str | Path = "runs") -> Run:
    """Open the run below ``folder`` that was begun or finished last; `RunError` where there is none."""
    manifests = list(Path(folder).glob(f"*/{MANIFEST_NAME}"))
    if not manifests:
        raise RunError(f"{folder}: holds no run; name one, or make one with: reasoning-anatomy demo --out {folder}/demo")
    return open_run(max(manifests, key=lambda path: (path.stat().st_mtime_ns, path)).parent)


def expect_annotator_name(name: str) -> None:
    """Raise `RunError` where a name can name neither a file nor a column."""
    if not _ANNOTATOR_NAME.fullmatch(name):
        raise RunError(
            f"annotator name {name!r}: names a file and a column; use up to 100 letters, digits, '-', '_' and '.', and begin "
            "with a letter or digit"
        )


def _label_frame(chain_id: str, labels: Annotation) -> pd.DataFrame:
    """One row per token; the columns that only some annotators have are there where these do."""
    columns = {
        "chain_id": pd.Series(chain_id, index=range(len(labels.category)), dtype="str"),
        "position": range(len(labels.category)),
        "category": pd.Series(labels.category, dtype="str"),
        "confidence": pd.Series(labels.confidence, index=range(len(labels.category)), dtype="float64"),
    }
    if labels.justification is not None:
        columns["justification"] = pd.Series(labels.justification, dtype="str")
    if labels.votes is not None:
        columns["votes"] = pd.Series(labels.votes, dtype="int64")
    return pd.DataFrame(columns)


def _read_parquet(path: Path, remedy: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); {remedy}") from error


def _read_table(path: Path) -> pd.DataFrame:
    """Read a CSV of ours: an id stays text, and only an empty cell is missing."""
    return pd.read_csv(
        path, dtype={"chain_id": "str", "question_id": "str", "term": "str"}, keep_default_na=False, na_values=[""]
    )
