"""The finding of a comparison of runs, and what a reader must know before believing the table."""

from collections.abc import Mapping

import pandas as pd

from analyses._sentences import FEW_QUESTIONS, differ, few_questions, with_interval
from reasoning_anatomy.run.folder import Run


def finding(table: pd.DataFrame, *, confidence: float) -> str:
    """Say for every run how many quantities differ from the first run, and which most clearly."""
    said = []
    for (run, first), rows in table.groupby(["run", "less"], sort=False):
        tested = rows.dropna(subset="p_adjusted")
        if (rows["estimate"] == 0).all():
            said.append(f"{run} and {first} are the same in all {len(rows)} quantities.")
            continue
        if tested.empty:
            said.append(f"Whether {run} differs from {first} cannot be tested: there are too few questions.")
            continue
        n_differing = int((tested["p_adjusted"] < 1 - confidence).sum())
        clearest = tested.sort_values(["p_adjusted", "p_value"], kind="stable").to_dict("records")[0]
        claim = f"{n_differing} of {len(tested)} quantities {differ(n_differing)} between {run} and {first}"
        how = "the clearest" if n_differing else "the least unclear"
        said.append(
            f"{claim}, corrected for their number; {how} is {clearest['term']}, {run} less {first}: "
            f"{with_interval(clearest, confidence=confidence)}."
        )
    return "\n".join(said)


def warnings(table: pd.DataFrame, runs: Mapping[str, Run], exclusions: Mapping[str, Mapping[str, int]]) -> tuple[str, ...]:
    """Sentences for ``AnalysisResult.warnings``.

    Parameters
    ----------
    table
        The main table.
    runs
        By name.
    exclusions
        Chains that a run and the first one do not share, by reason, by the name of the run.
    """
    said = []
    for name, counts in exclusions.items():
        reasons = [f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items()]
        said += [f"{name}: of its chains and those of the first run, {', '.join(reasons)}"] if reasons else []
    configs = {
        name: run.analysis("rank_correlation").config for name, run in runs.items() if "rank_correlation" in run.analyses
    }
    if len(set(configs.values())) > 1:
        said.append("rank_correlation was computed with other options: " + _listing(configs))
    n_questions = int(table["n_questions"].max())
    return (*said, *([few_questions(n_questions)] if 2 <= n_questions < FEW_QUESTIONS else ()))


def _listing(configs: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {config}" for name, config in configs.items())
