"""Run a command that never outlives the process which holds the other end of our standard input.

Run as a program of its own, by its path. It prints the command's process id, then waits: when the holder lets go, even
by SIGKILL, the command is killed; when the leash itself is killed, the kernel kills the command. A death signal set by
the holder would do less: it fires when the *thread* ends that started the process.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run the command of our arguments; return its exit code, as a shell has it."""
    libc = ctypes.CDLL(None)
    child = subprocess.Popen(  # noqa: S603 - the command is our caller's
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - we have one thread
    )
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    ended = os.pidfd_open(child.pid)
    if ended not in select.select([sys.stdin.fileno(), ended], [], [])[0]:
        child.kill()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
