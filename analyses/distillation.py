"""Whether pruned reasoning teaches: students of every arm beside each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

from analyses._distillation.evidence import gather
from analyses._distillation.tables import MAIN, all_tables
from analyses._distillation.words import finding, printed_table, warnings
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Accuracy of students taught pruned chains, compared with controls, at the same keep ratio and at the same answer length.

    The unit is the question, the training its second level: differences are taken within the question and the seed, and their
    interval is that for other questions and other trainings. How far trainings differ is pooled over arms, so that two or three
    of each say something. One training of each: score test over questions, which speaks of these students only. Holm over the
    arms beside a control. Arms that are cut off more or less often than a control are not compared with it.
    ``docs/analyses/distillation.md`` says why, and how well tests and intervals do.

    Attributes
    ----------
    margin
        Loss of accuracy that would not matter, such as 0.02; there is none unless you state it, and without it no arm can be
        called not worse.
    confidence
        Of the intervals, above 0.5; 1 - confidence is the level of the tests.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Satterthwaite (1946), Biometrics Bulletin 2:110; Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1:386.
    """

    title: ClassVar[str] = "Does pruned reasoning teach?"
    subject: ClassVar[str] = "answers"
    opens: ClassVar[str] = "students"
    terms: ClassVar[Mapping[str, str]] = {
        "accuracy": "Accuracy, undecided answers counted as not correct",
        "tokens generated": "Tokens that a student really generates for an answer",
        "answers cut off": "Share of the answers that end at the limit, or repeat themselves",
        "nll of the gold answer": "Nats per token of the gold answer behind what a student reasons",
        "difference from full": "Accuracy less that of students taught whole chains, by question and training",
    }

    margin: float | None = None
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence}: expected a share above 0.5 and below 1, such as 0.95")
        if self.margin is not None and not 0 < self.margin < 1:
            raise ValueError(f"margin={self.margin}: expected a loss of accuracy between 0 and 1, such as 0.02 for two points")

    def analyse(self, run: Run | Students) -> AnalysisResult:
        """Compare the arms.

        Parameters
        ----------
        run
            A folder of students that have answered.

        Returns
        -------
        Table with first columns ``strategy, keep_ratio, matching, equal``: the terms of `terms`, ``difference from <control>``
        and, for pairs of strategies, ``difference from <strategy> at the same generated length`` (without a keep ratio);
        ``p_adjusted`` by Holm. Details, unrounded: ``arms``, ``comparisons`` (with the verdict and the reason for it),
        ``curves``, ``same_length``, ``power`` and ``students``.

        Raises
        ------
        MissingError
            It is a run, not a folder of students.
        AnalysisError
            No student has answered, or they share no question or seed.
        """
        if isinstance(run, Run):
            raise MissingError(
                f"{run.folder}: is a run, and this is about students that were taught its chains; make some with: "
                f"reasoning-anatomy distill {run.folder} --student ID --strategies greedy random_tokens --out STUDENTS"
            )
        evidence = gather(run)
        tables = all_tables(evidence, margin=self.margin, confidence=self.confidence)
        return AnalysisResult(
            name=key_of(self),
            table=tables[MAIN],
            details={name: table for name, table in tables.items() if name != MAIN},
            exclusions=evidence.exclusions,
            warnings=tuple(warnings(evidence, tables, margin=self.margin)),
            config=repr(self),
            provenance=_provenance(run),
            finding=finding(evidence, tables, margin=self.margin, confidence=self.confidence),
            printed=printed_table(tables),
        )


def _provenance(students: Students) -> dict[str, Any]:
    manifest = students.manifest
    model = manifest.student
    return {
        "students": students.folder.resolve().name,
        "run": manifest.run,
        "model": model.id,
        **{fact: getattr(model, fact) for fact in ("revision", "dtype", "quantization")},
        "recipe": manifest.recipe,
        "examination": manifest.examination,
        "form": manifest.form,
        "strategies": dict(manifest.strategies),
        "versions": {package: version(package) for package in ("reasoning-anatomy", "numpy", "pandas", "scipy")},
    }


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
