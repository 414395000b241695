"""What analyses by category say about the language of their chains."""

from collections.abc import Collection

from reasoning_anatomy.language import language_caveat
from reasoning_anatomy.run.folder import Run


def caveats_of_language(run: Run, chain_ids: Collection[str]) -> list[str]:
    """Say, as a warning of the result, how many of the chains that were used are not in English."""
    caveat = language_caveat([run.chains[chain_id].reasoning for chain_id in chain_ids])
    return [caveat] if caveat else []
