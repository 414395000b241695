"""Math-Verify in a process of its own: it hangs on some formulas, so it can be killed, and is started again when needed."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_WORKER: Final = Path(__file__).with_name("formula_worker.py")
_SECONDS_TO_START: Final = 120.0

TIMED_OUT: Final = "math-verify timed out"
FAILED: Final = "math-verify failed"
MISSING: Final = "math-verify is not installed"


class FormulaProcess:
    """Sends pairs of formulas to a worker process, one at a time, from any thread.

    Parameters
    ----------
    seconds
        How long a pair may take before the worker is killed.
    """

    def __init__(self, *, seconds: float) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self._missing = False

    def ask(self, gold: str, answer: str) -> dict[str, Any]:
        """Return what the worker says about two formulas; only ``{"rule": ...}`` if it does not say anything."""
        with self._lock:
            if self._missing:
                return {"rule": MISSING}
            for _ in range(2):  # a worker that has died in the meantime is replaced once
                if not self._is_alive() and (problem := self._start()):
                    return {"rule": problem}
                reply = self._exchange(json.dumps({"gold": gold, "answer": answer, "seconds": self.seconds}), self.seconds)
                if reply is not None:
                    return reply
            return {"rule": FAILED}

    def close(self) -> None:
        """End the worker; the next question starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the worker; None if there is none."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self._end()

    def _is_alive(self) -> bool:
        if self._owner != os.getpid():  # forked: the worker belongs to the other process
            self._owner, self._process = os.getpid(), None
        return self._process is not None and self._process.poll() is None

    def _start(self) -> str | None:
        """Start a worker; return why there is none."""
        self._end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        greeting = self._exchange("", _SECONDS_TO_START)
        if greeting is None or "missing" not in greeting:
            return FAILED
        self._missing = bool(greeting["missing"])
        return MISSING if self._missing else None

    def _exchange(self, line: str, seconds: float) -> dict[str, Any] | None:
        """Send a line and wait for the reply; None if the worker has died, a reply without a verdict if it was killed."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        expired = threading.Event()

        def kill() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except OSError:
            reply = ""
        finally:
            timer.cancel()
        if expired.is_set() and not reply:
            self._end()
            return {"rule": TIMED_OUT}
        try:
            parsed = json.loads(reply)
        except ValueError:
            self._end()
            return None
        return parsed if isinstance(parsed, dict) else None

    def _end(self) -> None:
        process = getattr(self, "_process", None)
        if process is None or self._owner != os.getpid():
            return
        self._process = None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was written to it last can no longer be sent
                    continue
