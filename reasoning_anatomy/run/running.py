"""What is being worked on in a run now: the claims that processes hold."""

from pathlib import Path

from reasoning_anatomy.claims import is_held
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import file_stem
from reasoning_anatomy.run.status import names_in


def running(run: Run) -> dict[str, list[str]]:
    """chain_ids by what is done with them now, such as ``"strategy greedy"``.

    Whoever looks at all chains before it scores them has a claim that is not a chain's: ``"scorer LABEL, all chains"``.
    """
    configuration = run.manifest.configuration
    policies = {condition.plugins[0] for condition in configuration.conditions.values() if condition.is_live}
    works = {
        **{f"path {label}": f"strategy {label}" for label in configuration.strategies},
        **{f"written {policy}": f"texts under {policy}" for policy in policies},
        "scores": "scores",
        "sweep": "answers",
    }
    in_words = {file_stem(work): words for work, words in works.items()}
    of_all = {run.layout.fit(label).stem: f"scorer {label}" for label in configuration.scorers}
    chain_ids = {file_stem(chain_id): chain_id for chain_id in run.chains}
    found: dict[str, list[str]] = {}
    for name in held_in(run.layout.claims):
        chain, _, work = name.partition(".")
        if chain in chain_ids and work in in_words:
            found.setdefault(in_words[work], []).append(chain_ids[chain])
        elif name in of_all:
            found.setdefault(of_all[name], []).append("all chains")
    return found


def held_in(folder: Path) -> list[str]:
    """Names of the claims in a folder that are held now, without their ending."""
    claims = sorted(name for name in names_in(folder) if name.endswith(".lease"))
    return [name.removesuffix(".lease") for name in claims if is_held(folder / name)]
