"""The table of model families: what the page lists is what the command finds."""

import re
from pathlib import Path

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.model_families import FAMILIES, about, page

PAGE = Path(__file__).parents[2] / "docs" / "models.md"

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.* can be recorded:UserWarning")]


def rows() -> dict[str, list[str]]:
    cells = [re.split(r" \| ", line.strip("| ")) for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {first: rest for first, *rest in cells[2:]}


def test_the_page_lists_the_families_that_the_command_builds() -> None:
    assert tuple(rows()) == FAMILIES
    assert len(FAMILIES) == len(set(FAMILIES)) >= 40
    assert set(FAMILIES) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize("family", ["qwen3", "gemma4_text", "qwen3_5_text", "bloom"])
def test_the_page_says_what_the_command_finds(family: str) -> None:
    found, written = about(family), rows()[family]
    layers, equal, pruned = written[:3]
    assert (found["layers recorded"], found["pruned by"]) == (layers.strip(), pruned.strip())
    assert found["scorers that refuse"].replace("|", "\\|") == (written[3:] or [""])[0].strip()
    if equal.strip():  # rounding differs by machine
        assert float(found["eager within"]) < 1e-4 > float(equal)


@pytest.mark.parametrize(
    ("family", "layers", "pruned"),
    [
        ("llama", "all", "shared prefixes"),
        ("jamba", "1, 3 of 4", "whole passes"),
        ("gpt2", "all", "shared prefixes"),
        ("mamba", "no", "whole passes"),
    ],
)
def test_a_family_is_told_by_its_code(family: str, layers: str, pruned: str) -> None:
    # by the configurations in the benchmark: every second layer of this Jamba attends, none of Mamba
    found = about(family)
    assert (found["layers recorded"], found["pruned by"]) == (layers, pruned)


def test_a_reason_cannot_break_the_table() -> None:
    import pandas as pd

    assert page(pd.DataFrame([{"family": "a|b", "layers recorded": "all"}])).endswith("| a\\|b | all |\n")
