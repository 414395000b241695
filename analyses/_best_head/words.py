"""The finding of best_head in words, and what a reader must know before believing the table."""

from collections.abc import Mapping

import pandas as pd

from analyses._best_head.evidence import Evidence
from analyses._best_head.tables import FLATTERY, OTHER, SAME
from analyses._rank_correlation.words import ANSWER_ATTENTION
from analyses._sentences import (
    Row,
    briefly,
    judged_by,
    left_free,
    missing_intervals,
    number,
    small_sample,
    verdict,
    with_interval,
)
from analyses._statistics.halves import FEWEST
from reasoning_anatomy.verdicts import AGAINST, CLEAR, UNDECIDED

_GIVEN = "_given_position"
_NOTHING = "no head has a value in every question, position held constant if the name says so; there is nothing to choose from"


def finding(table: pd.DataFrame, heads: pd.DataFrame, *, strategy: str, confidence: float) -> str:
    """Say what was found, from the main table and the table ``heads``.

    Of one scorer in full. Of several, what the attention of the answer does, or else the first of them, and on a second line
    which is the strongest and how many survive.
    """
    by_scorer = {
        str(scorer): {str(row["term"]): row for row in rows.to_dict("records")}
        for scorer, rows in table.groupby("scorer", sort=False)
    }
    judged = {scorer: rows for scorer, rows in by_scorer.items() if rows[OTHER]["n_questions"]}
    if not judged:
        return ""
    first = ANSWER_ATTENTION if ANSWER_ATTENTION in judged else next(iter(judged))
    said = [_of_scorer(first, judged[first], heads[heads["scorer"] == first], strategy, confidence)]
    if len(judged) > 1:
        said.append(_of_several({scorer: rows[OTHER] for scorer, rows in judged.items()}, confidence))
    return "\n".join(said)


def warnings(evidence: Mapping[str, Evidence], table: pd.DataFrame, spread: pd.DataFrame) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the main table and the table ``between_questions``."""
    said = [
        f"{scorer}: fewer than 2 questions can be used, and a head is judged on other questions than those that chose it"
        for scorer, found in evidence.items()
        if found.n_questions < 2
    ]
    chosen = table[table["term"].isin([OTHER, OTHER + _GIVEN])]
    names = (chosen["term"] + " of " + chosen["scorer"] if len(set(chosen["scorer"])) > 1 else chosen["term"]).tolist()
    few = chosen["n_questions"].between(2, FEWEST - 1)
    if few.any():
        n_questions = int(chosen.loc[few, "n_questions"].iloc[0])
        said.append(f"{n_questions} questions cannot be halved into parts that have a spread; no interval and no p-value")
    rest = chosen[~few]
    kept = [name for name, is_few in zip(names, few, strict=True) if not is_few]
    said += missing_intervals(rest, kept, widest=[2] * len(rest), nothing=_NOTHING)
    if (spread["n_questions"] >= FEWEST).any():
        said += small_sample(spread)
    if missing := max(found.exclusions.get("head_missing_in_a_question", 0) for found in evidence.values()):
        said.append(f"heads that have no value in some question, and cannot be chosen: {missing}")
    if unmeasured := max(found.exclusions.get("not_measured", 0) for found in evidence.values()):
        said.append(f"{unmeasured} chains of the run are not measured; the table does not speak for them")
    return said


def head_name(row: Row) -> str:
    """Name a head by its layer and its place in it, both from 0: ``12.3``."""
    return f"{int(row['layer'])}.{int(row['head'])}"


def _of_scorer(scorer: str, rows: Mapping[str, Row], heads: pd.DataFrame, strategy: str, confidence: float) -> str:
    raw, given = (heads[heads["control"] == control] for control in ("raw", "given_position"))
    n_known = int((raw["n_questions"] == raw["n_questions"].max()).sum())
    other, same, position = rows[OTHER], rows[SAME], rows[OTHER + _GIVEN]
    judged, held = judged_by(other, position)
    word = verdict(judged) if judged["n_questions"] >= FEWEST else UNDECIDED
    claims = {
        CLEAR: f"the best of {n_known} heads of {scorer} go with the deletion order of {strategy}",
        AGAINST: f"the best of {n_known} heads of {scorer} go against the deletion order of {strategy}",
        UNDECIDED: f"it is open whether any of {n_known} heads of {scorer} goes with the deletion order of {strategy}",
    }
    said = [
        f"{word}: {claims[word]}: Spearman's rho {_judged(judged, confidence)}{held}, on other questions than those that chose "
        f"the heads. {left_free(other, position).removesuffix('.')}",
        f"Choosing on the same questions adds {briefly(rows[FLATTERY])}",
        f"{_favourite(raw)} halves of the questions{f', {_again(raw, given)} with position held constant' if held else ''}",
    ]
    tested = f"That any head goes with the order at all: p {_p_value(same['p_value'])} against circular shifts"
    if held:
        tested += f", {_p_value(rows[SAME + _GIVEN]['p_value']).removeprefix('= ')} with position held constant"
    return ". ".join([*said, tested]) + "."


def _of_several(judged: Mapping[str, Row], confidence: float) -> str:
    """Count the scorers whose chosen heads survive on other questions, and name the one that is furthest from zero."""
    largest = max(judged, key=lambda scorer: abs(judged[scorer]["estimate"]))
    n_survivors = sum(row["p_adjusted"] <= 1 - confidence + 1e-12 for row in judged.values())
    return (
        f"{CLEAR if n_survivors else UNDECIDED}: of {len(judged)} scorers, the best heads of {n_survivors or 'none'} are shown "
        "to be related to the order on other questions than those that chose them, corrected for their number; those of "
        f"{largest} are the strongest: rho {_judged(judged[largest], confidence)}, position not held constant."
    )


def _favourite(heads: pd.DataFrame) -> str:
    """Name the head that was chosen most often."""
    first = heads.iloc[0].to_dict()
    where = f"layer {int(first['layer'])}, head {int(first['head'])}, both from 0"
    return f"Head {head_name(first)} ({where}) is the choice of {_share(first)}"


def _again(raw: pd.DataFrame, given: pd.DataFrame) -> str:
    """Name the head that was chosen most often with position held constant, if it is another one."""
    first, other = raw.iloc[0].to_dict(), given.iloc[0].to_dict()
    return _share(other) if head_name(first) == head_name(other) else f"head {head_name(other)} of {_share(other)}"


def _share(row: Row) -> str:
    return f"{int(row['n_chosen'])} of {round(row['n_chosen'] / row['share_chosen'])}"


def _judged(row: Row, confidence: float) -> str:
    if row["n_questions"] < FEWEST:
        return f"{number(row['estimate'])} ({row['n_questions']} questions, too few for an interval)"
    return with_interval(row, confidence=confidence)


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
