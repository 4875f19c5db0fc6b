"""History through the core: files of events in, verdicts and controls out, without a broker and without a clock."""

from collections import Counter as Counters
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

from interlock.errors import UserError
from interlock.policies.model import Policy
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.records import Control, Verdict
from interlock.streams import reference as references
from interlock.streams.batch import AbuseReports, DeadLetter, Outcomes, Predictions, Wanted
from interlock.streams.decode import Decoder, abuse_decoder, outcome_decoder, prediction_decoder
from interlock.streams.files import Kind, Reader
from interlock.streams.mapping import Mapping as FieldMap
from interlock.streams.outputs import Outputs
from interlock.streams.pipeline import Batch, Pipeline, Yield
from interlock.streams.reference import Reference
from interlock.streams.sorting import in_order

TOPICS: tuple[Kind, ...] = ("predictions", "outcomes", "abuse")

Feed = Iterator[tuple[Batch, list[DeadLetter]]]
"""What one topic brings, decoded, a chunk at a time."""

B = TypeVar("B", Predictions, Outcomes, AbuseReports)

UNKNOWN = ("insufficient", "unidentified", "no_data")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What to replay: files per topic, a field mapping, the run's start (ms) for events that carry no append time.

    `sort`: each topic's events in the order of their `ts`, in memory, instead of that of its files. `changes`: policies that
    follow in mid-stream, each from a time (ms) on.
    """

    files: Mapping[str, Sequence[Path]]
    run_start: int
    mapping: FieldMap | None = None
    secret: bytes = b""
    sort: bool = False
    changes: Sequence[tuple[Policy, int]] = ()
    refed: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    """Files of events in our own names that come after those of their topic."""


@dataclass(slots=True)
class Summary:
    """What a replay found: the last verdict of every scope and since when it stands, the controls, the counts."""

    latest: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)
    since: dict[tuple[str, str, str], int] = field(default_factory=dict)
    controls: list[Control] = field(default_factory=list)
    counters: Counters[str] = field(default_factory=Counters)
    breached: bool = False

    def hear(self, made: Yield) -> None:
        """Take in what the pipeline yielded."""
        for verdict in made.verdicts:
            key = (verdict.model, verdict.slo, repr(sorted(verdict.scope.items())))
            before = self.latest.get(key)
            if before is None or before.state != verdict.state:
                self.since[key] = verdict.ts
            self.latest[key] = verdict
            self.breached |= verdict.state == "breached"
        self.controls += made.controls

    def exit_code(self) -> int:
        """Return 1 if anything breached, 4 if nothing did and something is unknown at the end, else 0."""
        if self.breached:
            return 1
        return 4 if not self.latest or any(v.state in UNKNOWN for v in self.latest.values()) else 0


def load_reference(policy: Policy, folder: Path) -> Reference | None:
    """Read the reference that a policy names, relative to the policy's folder.

    Raises:
        UserError: it is missing or damaged, or has another digest than the policy says.
    """
    if policy.reference is None:
        return None
    path = folder / policy.reference.file
    reference = references.load(path)
    asked = policy.reference.digest
    if asked and not reference.id.startswith(asked):
        raise UserError(f"{path}: its digest is {reference.id}; the policy expects {asked}")
    if policy.model is not None and reference.model != policy.model:
        raise UserError(f"{path}: fitted for model {reference.model}; the policy is for {policy.model}")
    if policy.ood.logits is not None and not reference.classes:
        asked = f"the policy counts them by {policy.ood.logits} (ood.logits)"
        raise UserError(f"{path}: knows no logits; {asked}: fit it again on predictions with `logits`")
    return reference


def replay(
    policy: Policy, reference: Reference | None, inputs: Inputs, outputs: Outputs, progress: Callable[[int], None]
) -> Summary:
    """Run files through the core; `progress` is told the number of events read so far.

    Chunks are taken from the topic whose watermark lags, so that little waits in memory; results do not depend on it.
    """
    pipeline = Pipeline(make_plan(policy, inputs.changes), reference, inputs.secret)
    feeds = _feeds(pipeline.plan, reference, inputs)
    summary, events = Summary(), 0
    while feeds:
        topic = min(feeds, key=lambda name: (pipeline.watermark(name), TOPICS.index(name)))
        read = next(feeds[topic], None)
        if read is None:
            del feeds[topic]
            made = pipeline.end(topic)
        else:
            batch, dead = read
            outputs.write_dead(dead, inputs.run_start)
            summary.counters.update(letter.reason for letter in dead)
            summary.counters["dead_letters"] += len(dead)
            made = pipeline.read(batch)
            events += batch.rows() + len(dead)
        _pass_on(made, summary, outputs)
        progress(events)
    _pass_on(pipeline.finish(), summary, outputs)
    summary.counters.update(pipeline.counters)
    outputs.write_run(
        {
            "policy": policy.digest,
            "policy_changes": [{"policy": changed.digest, "from": ts} for changed, ts in inputs.changes],
            "reference": reference.id if reference else None,
            "files": {topic: [str(path) for path in paths] for topic, paths in inputs.files.items()},
            **(
                {"refed": {topic: [str(path) for path in paths] for topic, paths in inputs.refed.items()}}
                if inputs.refed
                else {}
            ),
            "run_start": inputs.run_start,
            "closed_by_end_from": pipeline.closed_from,
            "counters": dict(sorted(summary.counters.items())),
        }
    )
    return summary


def _pass_on(made: Yield, summary: Summary, outputs: Outputs) -> None:
    outputs.write(made)
    summary.hear(made)


def _feeds(plan: Plan, reference: Reference | None, inputs: Inputs) -> dict[str, Feed]:
    paths = plan.paths
    wanted = reference.wanted(paths, plan.policy.ood.logits) if reference else Wanted(paths=paths)
    skew, embedded = plan.policy.max_skew, wanted if plan.policy.labels.joined_at_source else None
    return {
        "predictions": _feed("predictions", inputs, prediction_decoder(wanted, inputs.secret).timely(skew)),
        "outcomes": _feed("outcomes", inputs, outcome_decoder(inputs.secret, embedded=embedded).timely(skew)),
        "abuse": _feed("abuse", inputs, abuse_decoder(Wanted(paths=paths), inputs.secret).timely(skew)),
    }


def _feed(topic: Kind, inputs: Inputs, decode: Decoder[B]) -> Feed:
    given = Reader(topic, inputs.run_start, inputs.mapping)(inputs.files.get(topic, ()))
    chunks = chain(given, Reader(topic, inputs.run_start)(inputs.refed.get(topic, ())))
    return in_order(chunks, decode) if inputs.sort else map(decode, chunks)
