"""The folder of things fetched once: ~/.cache/interlock, or $INTERLOCK_CACHE; processes may fill it at the same time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from interlock.errors import UserError

VARIABLE = "INTERLOCK_CACHE"


def cache_folder() -> Path:
    """Return the cache's folder, which need not exist yet."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "interlock").absolute()


def kept(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return a folder that `fill` has filled, once and whole, however many processes ask for it at the same time.

    Raises:
        UserError: The cache cannot be written. What `fill` raises passes through, and leaves nothing behind.
    """
    if not folder.is_dir():
        try:
            _fill_alone(folder, fill)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be filled: {error.strerror or error}; set {VARIABLE} elsewhere"
            ) from error
    return folder


def _fill_alone(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder under its lock, then give it its name; what an earlier process left half done goes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        unfinished = f".{folder.name}.new-"
        for left in folder.parent.glob(f"{unfinished}*"):
            shutil.rmtree(left)
        new = Path(tempfile.mkdtemp(prefix=unfinished, dir=folder.parent))
        try:
            fill(new)
            new.chmod(0o755)
            new.rename(folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
