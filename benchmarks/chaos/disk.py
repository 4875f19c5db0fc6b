"""The disk that workers keep pending events on, in their `--state-dir`: a fault fills it for a while.

Where the nursery may mount it (as root, or in a user namespace of its own) it is a small file system in memory, and a file fills
it: RocksDB meets ENOSPC. Elsewhere no file of a worker may grow beyond some KiB meanwhile (RLIMIT_FSIZE): RocksDB meets EFBIG.
"""

import resource
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SIZE = 64 << 20
GROWN = 64 << 10
"""Bytes beyond which no file grows while there is no room; logs stay below it."""

MOUNT = 'mount -t tmpfs -o size="$1" chaos "$2" && shift 2 && exec "$@"'
"""In namespaces of its own: the mount is gone with the last process, however that ends."""


def mounting(folder: Path) -> Sequence[str]:
    """Return what starts a command for which the folder is a small disk; nothing where none may be mounted."""
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh", str(SIZE), str(folder))
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return prefix if tried.returncode == 0 else ()


@dataclass
class Disk:
    """A folder as workers name it; `mounted_by` is the process in whose namespace it is a disk of its own, if it is."""

    folder: Path
    mounted_by: int | None
    full_until: float | None = None
    """When there is room again, by the monotonic clock."""

    def home(self, number: int) -> Path:
        """Return the `--state-dir` of a worker: the next one in its place makes it anew."""
        return self.folder / f"worker{number}"

    def fill(self, until: float) -> None:
        """Let there be no room."""
        self.full_until = until

    def keep_full(self, pids: Iterable[int]) -> None:
        """Take what has become free meanwhile, from these workers."""
        if self.mounted_by is None:
            self._limit(pids, GROWN)
            return
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(GROWN))

    def free(self, pids: Iterable[int]) -> None:
        """Let there be room again."""
        self.full_until = None
        if self.mounted_by is None:
            self._limit(pids, resource.RLIM_INFINITY)
        else:
            self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return Path(f"/proc/{self.mounted_by}/root{self.folder}/ballast")

    @staticmethod
    def _limit(pids: Iterable[int], size: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
