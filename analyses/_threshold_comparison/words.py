"""The finding of threshold_comparison in words."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._sentences import briefly, number, with_interval
from analyses._threshold_comparison.answers import LIVE, WORLD
from analyses._threshold_comparison.verdicts import NOT_COMPARED, NOT_WORSE, UNDECIDED, VERDICTS

MOST_NAMED: Final = 3
"""Most strategies, or strategies and baselines, that a sentence names with their thresholds; more are counted."""


def finding(tables: Mapping[str, pd.DataFrame], *, margin: float | None, confidence: float, command: str) -> str:
    """Say what was found, of every strategy in the first reading and form of restatements that it was swept in.

    A sentence on threshold 0, one on baselines, one on restatements and one on the length of texts that were written anew, as
    far as they are there; however many strategies and baselines there are.

    Parameters
    ----------
    tables
        Detail tables of the result.
    margin
        Loss that would not matter, if it is stated.
    confidence
        Of the intervals.
    command
        What adds thresholds.
    """
    strategies = tables["thresholds"][tables["thresholds"]["reference"].isna()]
    is_live = strategies["reading"] == LIVE
    first = strategies[~strategies.assign(is_live=is_live).duplicated(["strategy", "is_live"])][["strategy", *WORLD]]
    rows = strategies.merge(first, on=["strategy", *WORLD])
    judged = rows[rows["verdict"].notna()]
    if judged.empty:
        level = _level(rows[rows["threshold"] == 0], confidence)
        return (
            f"{_who(first)}: accuracy {level} at threshold 0; there is no other threshold to compare, add some with: {command}."
        )
    groups = [own for _, own in rows.groupby(["strategy", *WORLD], sort=False) if own["verdict"].notna().any()]
    if len(groups) <= MOST_NAMED:
        said = "\n".join(_of_one(own, margin, confidence) for own in groups)
    else:
        level = _level(rows[rows["threshold"] == 0], confidence)
        said = (
            f"{_capital(_counts(judged, ['strategy'], margin))}, of {len(judged)} comparisons with threshold 0 by "
            f"{_who(first)}. Accuracy at threshold 0 is {level}."
        )
    versus = tables["baselines"].merge(first, on=["strategy", *WORLD])
    return said + _against(versus) + _without_restatements(tables, first) + _length(tables, first, confidence=confidence)


def _of_one(rows: pd.DataFrame, margin: float | None, confidence: float) -> str:
    """Say of one strategy: the verdict at every threshold, with what it kept there, and the change of accuracy at the last."""
    judged = rows[rows["verdict"].notna()]
    verdicts = _by_verdict(judged)
    said = ", ".join(f"{_spoken(verdict, margin)} at {_kept(found)}" for verdict, found in verdicts)
    if len(verdicts) == 1 < len(judged):
        shares = [percent(share) for share in (judged["share_of_tokens_kept"].max(), judged["share_of_tokens_kept"].min())]
        said = f"{_spoken(verdicts[0][0], margin)} at all {len(judged)} thresholds ({' to '.join(shares)} of the chain kept)"
    compared = judged[judged["verdict"] != NOT_COMPARED]
    who = _who(rows[["strategy", *WORLD]].head(1))
    if compared.empty:
        change = f"accuracy at threshold 0 is {_level(rows[rows['threshold'] == 0], confidence)}"
    else:
        last, before = compared.iloc[-1], rows.loc[rows["threshold"] == 0, "accuracy"].iloc[0]
        gap = {"estimate": "difference", "ci_low": "difference_low", "ci_high": "difference_high", "n_questions": "n_questions"}
        difference = with_interval({name: last[column] for name, column in gap.items()}, confidence=confidence)
        verb = "falls" if last["difference"] < 0 else "rises" if last["difference"] > 0 else "goes"
        change = (
            f"accuracy {verb} from {number(before)} to {number(last['accuracy'])} at {last['threshold']:g}, a difference of "
            f"{difference}{_peak(rows, last)}"
        )
    return f"{_capital(said)}: by {who}, {change}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _peak(rows: pd.DataFrame, last: "pd.Series[Any]") -> str:
    """Say how small the cache stays, if the text was written anew."""
    if last["reading"] != LIVE:
        return ""
    before, after = rows["peak_cache_tokens"].iloc[0], last["peak_cache_tokens"]
    return f", with {after:.0f} tokens in the cache at most, instead of {before:.0f}"


def _kept(rows: pd.DataFrame) -> str:
    """List the thresholds of rows, which say nothing until it is known what they kept: ``0.2 (81 % kept) and 0.4 (62 %)``."""
    shares = [percent(share) for share in rows["share_of_tokens_kept"]]
    return listing(
        f"{threshold:g} ({share}{' of the chain kept' if place == 0 else ''})"
        for place, (threshold, share) in enumerate(zip(rows["threshold"], shares, strict=True))
    )


def _who(first: pd.DataFrame) -> str:
    who = _few_names(list(dict.fromkeys(first["strategy"])), "strategies")
    worlds = first[WORLD].drop_duplicates()
    if len(worlds) > 1:
        return f"{who}, each in the first reading that it was swept in"
    return "{} ({}, restatements {})".format(who, *worlds.iloc[0])


def _level(zero: pd.DataFrame, confidence: float) -> str:
    """Accuracy at threshold 0, which is that of all strategies if all have the same answers."""
    low, high = number(zero["accuracy"].min()), number(zero["accuracy"].max())
    if low != high:
        return f"from {low} to {high} by strategy"
    interval = {"estimate": "accuracy", "ci_low": "accuracy_low", "ci_high": "accuracy_high", "n_questions": "n_questions"}
    return with_interval({name: zero[column].iloc[0] for name, column in interval.items()}, confidence=confidence)


def _length(tables: Mapping[str, pd.DataFrame], first: pd.DataFrame, *, confidence: float) -> str:
    """Say whether texts that are written anew get longer or shorter when more is evicted."""
    if "written_length" not in tables:
        return ""
    lengths = tables["written_length"]
    rows = lengths[lengths["reference"].isna()].merge(first, on=["strategy", *WORLD])
    tested = rows[rows["threshold"] > 0]
    if tested.empty:
        return ""
    is_shown = tested["p_adjusted"] <= 1 - confidence + 1e-12
    parts = (
        ("longer", tested[is_shown & (tested["difference"] > 0)]),
        ("shorter", tested[is_shown & (tested["difference"] < 0)]),
        ("not shown to be longer or shorter", tested[~is_shown]),
    )
    if len(set(tested["strategy"])) == 1:
        said = ", ".join(f"{word} at {places(part)}" for word, part in parts if len(part))
        last, zero = tested.iloc[-1], rows[rows["threshold"] == 0].iloc[0]
        return (
            f" Texts, {zero['estimate']:.0f} tokens long at threshold 0, are {said}; at {last['threshold']:g} they differ by "
            f"{_gap(last)} tokens."
        )
    named = [f"{word} in {len(part)}{_named(part, ['strategy'])}" for word, part in parts[:2] if len(part)]
    others = [f"{word} in {len(part)}" for word, part in parts[2:] if len(part)]
    return f" Of {len(tested)} comparisons of texts with those at threshold 0, they are {', '.join([*named, *others])}."


def _against(versus: pd.DataFrame) -> str:
    if versus.empty:
        return ""
    is_live = versus["reading"] == LIVE
    same = "budget" if is_live.all() else "length or budget" if is_live.any() else "length"
    baselines = list(dict.fromkeys(versus["baseline"]))
    if len(versus[["strategy", "baseline"]].drop_duplicates()) == 1:
        return f" Against {baselines[0]} of the same {same}: {_verdicts(versus, ['baseline'], None)}."
    named = [name for name in ("strategy", "baseline") if len(set(versus[name])) > 1]
    return f" Against {_few_names(baselines, 'baselines')} of the same {same}: {_verdicts(versus, named, None)}."


def _without_restatements(tables: Mapping[str, pd.DataFrame], first: pd.DataFrame) -> str:
    """Say how much accuracy is lost at threshold 0, where all strategies keep the same, if nothing states the answer."""
    if "restatements" not in tables:
        return ""
    found = tables["restatements"].merge(first[["strategy", "reading"]], on=["strategy", "reading"])
    if found.empty:
        return ""
    row = found.iloc[0]
    shown = _spoken(row["verdict"], None)
    if np.isfinite(row["p_adjusted"]):
        shown = f"a difference of {_gap(row)} from that with restatements, p {row['p_adjusted']:.2g} by Holm: {shown}"
    return (
        f" Without restatements of the answer and the last sentence, accuracy at threshold {row['threshold']:g} is "
        f"{number(row['accuracy'])}, {shown}."
    )


def _verdicts(rows: pd.DataFrame, named: Sequence[str], margin: float | None) -> str:
    """Say where every verdict is: at which thresholds of one strategy, or in how many cells, a few of which are named."""
    if len(rows.drop_duplicates(list(named))) == 1:
        return ", ".join(f"{_spoken(verdict, margin)} at {places(found)}" for verdict, found in _by_verdict(rows))
    if len(set(rows["verdict"])) == 1:
        return f"{_spoken(rows['verdict'].iloc[0], margin)} in all {len(rows)} comparisons"
    return f"of {len(rows)} comparisons {_counts(rows, named, margin)}"


def _counts(rows: pd.DataFrame, named: Sequence[str], margin: float | None) -> str:
    """Count the cells of every verdict, and name a few of them."""
    return ", ".join(
        f"{_spoken(verdict, margin)} in {len(found)}{_named(found, named) if verdict != UNDECIDED else ''}"
        for verdict, found in _by_verdict(rows)
    )


def _by_verdict(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    found = [(verdict, rows[rows["verdict"] == verdict]) for verdict in VERDICTS]
    return [(verdict, part) for verdict, part in found if len(part)]


def _spoken(verdict: str, margin: float | None) -> str:
    if verdict == NOT_WORSE and margin is not None:
        return f"{verdict} of {margin:g}"
    return "not compared (truncation differs)" if verdict == NOT_COMPARED else verdict


def _named(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """Name the thresholds of a few strategies: `` (a at 0.2 and 0.4, b at 0.4)``."""
    groups = list(rows.groupby(list(names), sort=False))
    if len(groups) > MOST_NAMED:
        return ""
    return " ({})".format(", ".join(f"{' against '.join(map(str, name))} at {places(found)}" for name, found in groups))


def _few_names(names: Sequence[str], what: str) -> str:
    return listing(names) if len(names) <= MOST_NAMED else f"{len(names)} {what}"


def _gap(row: "pd.Series[Any]") -> str:
    return briefly({"estimate": row["difference"], "ci_low": row["difference_low"], "ci_high": row["difference_high"]})


def places(rows: pd.DataFrame) -> str:
    """List the thresholds of rows: ``0.1, 0.2 and 0.5``."""
    return listing(f"{place:g}" for place in rows["threshold"])


def listing(names: Iterable[str]) -> str:
    """Join names: ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
