"""A process that has loaded what workers load, and makes workers of itself by fork: they start in a moment, not in seconds.

Run as `python -m benchmarks.chaos.nursery`. It reads a line of JSON for each: `[program, arguments, folder, name]`, and answers
with the process's id; or `[pid]`, and answers with its exit code once it has ended. When its input ends, all of them are killed.
A worker is the command `interlock worker` in a process of its own; only its imports were done before.
"""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def programs() -> Mapping[str, Callable[[Sequence[str]], None]]:
    """Return what can be run, loaded."""
    import interlock.commands.worker_run  # noqa: PLC0415 - the worker's own command loads it late
    from benchmarks.chaos import stock  # noqa: PLC0415 - it loads Faust
    from interlock.commands.command_line import main as run  # noqa: PLC0415

    def interlock(arguments: Sequence[str]) -> None:
        sys.argv = ["interlock", *arguments]
        run()

    return {"interlock": interlock, "stock": stock.main}


def bear(work: Callable[[], None], folder: Path, name: str) -> int:
    """Fork a process that does some work, its output in files of a folder; return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        for number, kind in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / f"{name}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - it is the last that this process does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serve until the input ends."""
    known, living = programs(), set[int]()
    try:
        for line in sys.stdin:
            answer = _answer(json.loads(line), known, living)
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()
    finally:
        for pid in living:
            os.kill(pid, signal.SIGKILL)


def _answer(asked: Sequence[Any], known: Mapping[str, Callable[[Sequence[str]], None]], living: set[int]) -> int:
    if len(asked) == 1:
        _, status = os.waitpid(asked[0], 0)
        living.discard(asked[0])
        return os.waitstatus_to_exitcode(status)
    program, arguments, folder, name = asked
    pid = bear(lambda: known[program](arguments), Path(folder), name)
    living.add(pid)
    return pid


if __name__ == "__main__":
    main()
