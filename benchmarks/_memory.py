"""Peak memory of this process."""

import re
from pathlib import Path


def peak_mib() -> float:
    """Largest resident memory that this process ever had, in MiB, Python and libraries included; Linux only."""
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    if peak is None:
        raise SystemExit("/proc/self/status states no VmHWM; peak memory is measured only on Linux")
    return int(peak[1]) / 1024
