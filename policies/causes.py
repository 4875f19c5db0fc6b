"""A causing event by name, as shards keep a few per pane for verdicts to show."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Exemplar:
    """A causing event: keyed hashes choose which are kept, so that partitions and order do not matter."""

    pane: int
    series: int
    slice: str
    key: int
    event_id: str
    reason: str
    ts: int
    version: tuple[str, str]
