"""Files that commands read: policies and field mappings, each problem as one clear line."""

from pathlib import Path

from interlock.errors import UserError
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.policies.positions import MAX_BYTES
from interlock.streams.mapping import Mapping, load


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        UserError: it cannot be read.
        PolicyErrors: it is invalid; all errors at once.
    """
    try:
        with path.open("rb") as file:
            return load_policy(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def read_mapping(path: Path | None) -> Mapping | None:
    """Read a field mapping, if one is given.

    Raises:
        UserError: it cannot be read, or is invalid.
    """
    if path is None:
        return None
    try:
        return load(path.read_text("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
