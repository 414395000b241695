"""What stands before everything else: what was run, what was found, and what is missing.

Findings are the analyses' own sentences. Which stand first is a rule: one of each subject, in the order of
`reasoning_anatomy.plugin_files.SUBJECTS`, those that have an interval before those that have none, five at most. The others
follow when asked for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.unusable import counted
from reasoning_anatomy.verdicts import UNDECIDED, VERDICTS
from reports._data import CATEGORY_PREFIX, has_answers, names
from reports._figures import analyses_not_about
from reports._sections import FigureView, Section, Tables, place_of, plain
from reports._words import Glossary

MOST_FINDINGS: Final = 5
_MOST_NAMED: Final = 3
_SEVERAL: Final = 2
_WHAT_THE_DATA_ALLOW: Final = "what the data allow is run, and of the rest it is said why not:"
_SHARED_BY: Final = 3
"""Findings whose common caveat stands once above all of them."""


@dataclass(frozen=True)
class Finding:
    """What an analysis found, with the warnings that it does not share with the others, and the words first used in it."""

    section: Section
    caveats: Sequence[str]
    words: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Findings:
    """All findings: those that stand first, the others, and the caveats that several of them share."""

    first: Sequence[Finding]
    others: Sequence[Finding]
    shared: Sequence[str]

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Verdicts that stand on the page, and what they mean."""
        analyses = [each.section.analysis for each in (*self.first, *self.others)]
        leads = [lead for view in analyses if view is not None for lead in (view.lead, *view.further)]
        return [(name, meaning) for name, meaning in VERDICTS.items() if name in {lead.verdict for lead in leads}]

    @property
    def in_short(self) -> str:
        """One sentence: which questions have a clear answer, and how many stay open; empty if fewer than two have a verdict."""
        analyses = [each.section.analysis for each in (*self.first, *self.others)]
        leads = [view.lead for view in analyses if view is not None and view.lead.verdict]
        if len(leads) < _SEVERAL:
            return ""
        clear = [f"{lead.claim[:1].lower()}{lead.claim[1:]}" for lead in leads if lead.verdict != UNDECIDED]
        if not clear:
            return f"none of {len(leads)} questions has a clear answer"
        rest = "" if len(clear) == len(leads) else f"; {len(leads) - len(clear)} stay open"
        have = "has" if len(clear) == 1 else "have"
        return f"{len(clear)} of {len(leads)} questions {have} a clear answer: {', '.join(clear)}{rest}"

    @property
    def older(self) -> list[str]:
        """Names of the analyses that are older than the run."""
        analyses = [each.section.analysis for each in (*self.first, *self.others)]
        return [analysis.name for analysis in analyses if analysis is not None and analysis.is_older]


@dataclass(frozen=True)
class Missing:
    """Something that the page could show: why it does not, or the command that makes it."""

    what: str
    reason: str = ""
    command: str = ""


def findings(sections: Sequence[Section], glossary: Glossary | None = None) -> Findings:
    """Choose and order the findings.

    Parameters
    ----------
    sections
        In the order of the page.
    glossary
        Explains the words that the findings use; None = the page does so elsewhere.
    """
    found = [section for section in sections if section.analysis and section.analysis.finding]
    warned = {section.key: list(_sentences(section)) for section in found}
    counts = Counter(sentence for sentences in warned.values() for sentence in dict.fromkeys(sentences))
    shared = [sentence for sentence, count in counts.items() if count >= min(_SHARED_BY, max(2, len(found)))]
    every = [Finding(section, [sentence for sentence in warned[section.key] if sentence not in shared]) for section in found]
    first: dict[str, Finding] = {}
    for each in every:
        first.setdefault(_subject(each.section), each)
    chosen = list(first.values())[:MOST_FINDINGS]
    others = [each for each in every if each not in chosen]
    return Findings(_explained(chosen, glossary), _explained(others, glossary), shared)


def _explained(found: Sequence[Finding], glossary: Glossary | None) -> list[Finding]:
    if glossary is None:
        return list(found)
    texts = [each.section.analysis.finding if each.section.analysis else "" for each in found]
    return [replace(each, words=glossary.first_used_in(text)) for each, text in zip(found, texts, strict=True)]


def experiment(run: Run, tables: Tables) -> tuple[str, str]:
    """Say in two sentences what the experiment was."""
    configuration, tokens = run.manifest.configuration, tables.tokens
    n_chains = tokens["chain_id"].nunique() if len(tokens) else run.status().n_done
    given = count_of(n_chains, "chain")
    if len(tokens):
        given += f" on {count_of(tokens['question_id'].nunique(), 'question')}"
    reader = configuration.model.id.rpartition("/")[2] if configuration.model else "Nobody"
    what = "each a question, its reasoning and its answer"
    first = f"{reader} was given {given}, {what}."
    if configuration.model is None:
        first = f"{given[0].upper()}{given[1:]} are here, {what}; no model read them."
    deleted = _names(list(configuration.strategies))
    scored = count_of(len(configuration.scorers), "scorer")
    if deleted and configuration.scorers:
        second = f"{deleted} deleted the reasoning tokens one after another, and {scored} said how much each of them matters"
    elif deleted:
        second = f"{deleted} deleted the reasoning tokens one after another"
    else:
        second = f"{scored} said how much each reasoning token matters" if configuration.scorers else ""
    said = [part for part in (second, *_answered(run)) if part]
    return first, f"{'; '.join(said)}." if said else "Nothing was measured yet."


def _answered(run: Run) -> Iterator[str]:
    """Say what a sweep did to the chains, and to texts that were written anew."""
    conditions = list(run.manifest.configuration.conditions.values()) if has_answers(run) else []
    for is_live in (False, True):
        own = [each for each in conditions if each.is_live == is_live and not each.reference]
        if not own:
            continue
        beside = _names(list(dict.fromkeys(each.strategy for each in conditions if each.is_live == is_live and each.reference)))
        at = f"at {count_of(len({each.threshold for each in own}), 'threshold')}, {count_of(own[0].samples, 'time')} each"
        who = _names(list(dict.fromkeys(each.strategy for each in own)))
        baselines = f" beside {beside} of the same {'budget' if is_live else 'length'}" if beside else ""
        yield (
            f"the model wrote the reasoning anew while {who} evicted tokens from its cache {at}{baselines}"
            if is_live
            else f"{who} kept a part of each chain{baselines}, and the model answered again from that {at}"
        )


def _names(labels: Sequence[str]) -> str:
    """Join labels; many are counted."""
    if len(labels) > _MOST_NAMED:
        return count_of(len(labels), "strategy", "strategies")
    *most, last = labels or [""]
    return f"{', '.join(most)} and {last}" if most else last


def left_out(run: Run) -> list[str]:
    """Say what the findings do not speak of: unusable chains, those without a result, and answers that nothing could decide."""
    status, unusable = run.status(), run.unusable
    said: list[str] = []
    if unusable:
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in islice(counted(unusable).items(), _MOST_NAMED))
        n_given = len(unusable) + status.n_chains
        said.append(f"{len(unusable):,} of {count_of(n_given, 'chain')} that were given could not be used: {reasons}")
    if status.failed or status.n_left:
        said.append(
            f"{status.n_chains - status.n_done:,} of {count_of(status.n_chains, 'chain')} are not in it: "
            f"{len(status.failed):,} could not be measured, {status.n_left:,} are left to do"
        )
    if has_answers(run):
        table = run.evaluations()
        n_out = len(run.chains) - table.loc[table["chain_id"].isin(list(run.chains)), "chain_id"].nunique()
        if n_out:
            said.append(f"{n_out:,} of {count_of(len(run.chains), 'chain')} have no answers at thresholds and are left out")
        if n_undecided := int((table["verdict"] == "undecided").sum()):
            said.append(f"{n_undecided:,} of {count_of(len(table), 'answer')} could not be judged and count as not correct")
    return said


def run_in_two_lines(run: Run, tables: Tables) -> tuple[str, str]:
    """Say what was run on what."""
    configuration, status, tokens = run.manifest.configuration, run.status(), tables.tokens
    model = configuration.model
    if model is None:
        first = f"No model was loaded: {configuration.encoding}"
    else:
        shape = f"{count_of(model.n_layers, 'layer')} with {count_of(model.n_heads, 'head')} each"
        first = f"{model.architecture}, {shape}, {model.quantization or model.dtype}"
    if len(tokens):
        of_tokens = {name: int(tokens[name].nunique()) for name in ("chain_id", "question_id")}
        measured = f"{count_of(of_tokens['chain_id'], 'chain')} on {count_of(of_tokens['question_id'], 'question')}"
        measured += f", {count_of(len(tokens), 'reasoning token')}"
    else:
        measured = count_of(status.n_done, "chain")
    if status.failed or status.n_left:
        measured += f" ({len(status.failed):,} failed, {status.n_left:,} not finished)"
    kinds = (
        (len(configuration.scorers), "scorer", "scorers"),
        (len(configuration.strategies), "strategy", "strategies"),
        (len(names(tokens, CATEGORY_PREFIX)), "annotator", "annotators"),
    )
    plugins = [count_of(*kind) for kind in kinds if kind[0]]
    if has_answers(run) and configuration.conditions:
        swept = {condition.strategy for condition in configuration.conditions.values()}
        thresholds = {condition.threshold for condition in configuration.conditions.values()}
        of_sweep = count_of(len(swept), "strategy and baseline", "strategies and baselines")
        plugins.append(f"answers at {count_of(len(thresholds), 'threshold')} of {of_sweep}")
    return first, "; ".join(filter(None, [measured, ", ".join(plugins)]))


def missing(
    run: Run,
    sections: Sequence[Section],
    own_figures: Mapping[str, Sequence[FigureView]],
    tables: Tables,
    skipped: Mapping[str, str],
) -> list[Missing]:
    """List what the page could show and does not.

    Parameters
    ----------
    run
        The run.
    sections
        Of the page, with those that have nothing to show.
    own_figures
        Of the parts that every page has.
    tables
        Of the run.
    skipped
        Why analyses could not be run, by name.
    """
    found = [Missing("The tables of the run", tables.missing)] if tables.missing else []
    if not tables.missing and not names(tables.tokens, CATEGORY_PREFIX):
        found.append(Missing("Categories of the tokens", command="reasoning-anatomy annotate RUN"))
    for section in sections:
        analysis = section.analysis
        if analysis is not None and analysis.missing:
            found.append(missing_analysis(run, section.title, section.key, analysis.missing, skipped))
        else:
            found += [Missing(view.title, view.missing) for view in section.figures if view.missing]
    found += [Missing(view.title, view.missing) for views in own_figures.values() for view in views if view.missing]
    known = {section.key for section in sections} | analyses_not_about(run)
    others = {name: info for name, info in available("analysis").items() if name not in known and info.opens == "run"}
    found += [Missing(info.title or name, plain(run, skipped[name])) for name, info in others.items() if name in skipped]
    open_questions = [info.title or name for name, info in others.items() if name not in skipped]
    return found + (
        [Missing(" ".join(open_questions), _WHAT_THE_DATA_ALLOW, "python -m analyses RUN")] if open_questions else []
    )


def missing_analysis(run: Run | Students, title: str, name: str, reason: str, skipped: Mapping[str, str]) -> Missing:
    """Say why a part of the page has no result: why it was skipped, or the command that makes it."""
    if name in skipped:
        return Missing(title, plain(run, skipped[name]))
    command = f"python -m analyses.{name} {place_of(run)}"
    return Missing(title, "" if reason.endswith(f"make it with: {command}") else reason, command)


def _subject(section: Section) -> str:
    """Subject of an analysis; one that does not say is a subject of its own."""
    return (section.analysis.subject if section.analysis else "") or section.key


def _sentences(section: Section) -> Iterator[str]:
    """Sentences of the warnings of an analysis."""
    for warning in section.analysis.warnings if section.analysis else ():
        yield from (sentence.rstrip(".") for sentence in warning.split(". "))


def count_of(number: int, one: str, several: str = "") -> str:
    """Write a number and its noun: ``1 chain``, ``12 chains``."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
