"""The shipped figure script, as a reader of the docs would run it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import ReasoningChain

SCRIPT = Path(__file__).parents[2] / "examples" / "figure_rank_correlation.py"


def test_figure_script_draws_a_pdf(
    tmp_path: Path, make_planted_run: Callable[..., Run], make_chains: Callable[..., list[ReasoningChain]]
) -> None:
    run = make_planted_run(tmp_path / "run", make_chains(8, 2), strength=0.3, keep=0.2)
    command = [sys.executable, "-W", "error", str(SCRIPT), str(run.folder), str(tmp_path / "figure.pdf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    content = (tmp_path / "figure.pdf").read_bytes()
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    start = int(content.rsplit(b"startxref", 1)[1].split()[0])
    assert content[start : start + 4] == b"xref"
    assert content.count(b"/Type /Page ") == 1
