"""The live demo from its start to its end: run, stop in order, replay the same events, compare."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from interlock.commands.inputs import read_policy
from interlock.commands.replay import How, run_files
from interlock.commands.sink import ROUTING_KEY
from interlock.demo.answers import End, heading
from interlock.demo.compare import compare
from interlock.demo.events import Folder, slices
from interlock.demo.follow import Follower, keep
from interlock.demo.live import Live, Scenes
from interlock.demo.rig import PARTITIONS, Rig, Stream, rigged
from interlock.demo.screen import Screen, clock_text
from interlock.demo.story import Incident
from interlock.demo.told import soon
from interlock.demo.watch import Watch
from interlock.errors import FindingError, UserError
from interlock.policies.planning import make_plan
from interlock.sinks.console import when

MARK = ".interlock-demo"
"""A file that says that a folder was made by a demo, and may be begun anew by the next."""

SHOWN = 10
"""Differences that are shown."""

RATE = 5_600
"""Events per second: the month takes 75 s, so that a second is ten hours of event time."""


def run(screen: Console, folder: Folder, found: Sequence[Incident], secret: str) -> End:
    """Run the stream live, then as a replay.

    Raises:
        FindingError: they are not equal.
        UserError: something that must run has ended, or a package is missing.
    """
    stream = _stream(folder, secret)
    watch = Watch(stream.slices)
    heading(screen, "Live")
    with tempfile.TemporaryDirectory(prefix="interlock-demo-", ignore_cleanup_errors=True) as work:
        judged, exceptions = _live(screen, stream, Scenes(watch, found, folder.total()), Path(work))
    keep(watch, folder.live)
    heading(screen, "The same events, replayed from files")
    how = How(clickhouse=False, secret=secret.encode(), events=folder.total())
    summary = run_files(folder.policy, folder.files, folder.replay, how)
    _compare(screen, folder, watch, judged, exceptions)
    engaged = (sighting for (_, state), sighting in watch.sightings.items() if state == "engaged")
    obeyed = {sighting.control.control_id: soon(watch, sighting) for sighting in engaged}
    return End(folder.policy, stream.clickhouse, summary, found, obeyed)


def _stream(folder: Folder, secret: str) -> Stream:
    """Return what is to be sent; the folder of what comes of it is begun anew."""
    if folder.live.exists() and not (folder.live / MARK).exists():
        raise UserError(f"{folder.live} exists and is not from a demo; choose another --out")
    shutil.rmtree(folder.live, ignore_errors=True)
    logs = folder.live / "logs"
    logs.mkdir(parents=True)
    (folder.live / MARK).touch()
    model, asked = slices(folder.predictions)
    return Stream(
        policy=folder.policy,
        predictions=folder.predictions,
        outcomes=folder.outcomes,
        clickhouse=folder.live / "clickhouse",
        logs=logs,
        secret=secret,
        model=model,
        slices=asked,
        seconds=folder.total() / RATE,
    )


def _live(console: Console, stream: Stream, scenes: Scenes, work: Path) -> tuple[int, list[str]]:
    """Run it live; return what `Live.finish` does."""
    console.print("Apache Kafka, a worker, two sinks and a serving process start on this machine, on loopback alone …")
    with rigged(stream, work) as rig:
        _say_what_runs(console, rig)
        with Follower(rig, scenes.watch) as follower, Screen(console) as screen:
            live = Live(rig, screen, follower, scenes, make_plan(read_policy(stream.policy)).tick)
            live.ready()
            screen.say(
                f"ready       the guard of the serving process holds a lease; {stream.seconds:.0f} s of events begin"
            )
            live.stream()
            screen.say(f"\n{clock_text()}  all is judged; everything stops in order")
            return live.finish()


def _say_what_runs(console: Console, rig: Rig) -> None:
    stream = rig.stream
    pages = (
        f"to PagerDuty, since {ROUTING_KEY} is set"
        if rig.receiver is None
        else f"to a receiver on loopback that plays PagerDuty; {ROUTING_KEY} would send them to PagerDuty itself"
    )
    for name, text in [
        ("Kafka", f"at {rig.broker.bootstrap}, {PARTITIONS} partitions for each input"),
        ("worker", f"interlock worker {stream.policy}"),
        ("ClickHouse", f"interlock sink clickhouse --directory {stream.clickhouse}"),
        ("pages", pages),
        ("serving", f"a process that asks its Guard about {len(stream.slices)} slices (office, endpoint, version)"),
        ("logs", str(stream.logs)),
    ]:
        console.print(f"{name:<12}{text}", markup=False, soft_wrap=True)


def _compare(screen: Console, folder: Folder, watch: Watch, judged: int, exceptions: Sequence[str]) -> None:
    """Say whether live and replay are equal; FindingError if not."""
    found = compare(watch.lines, folder.replay, judged)
    if found.differences:
        more = len(found.differences) - SHOWN
        shown = [*found.differences[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])]
        excuse = f" (counted while live: {', '.join(exceptions)})" if exceptions else ""
        raise FindingError([f"live and replay differ in {len(found.differences):,} places{excuse}:", *shown])
    screen.print(f"equal: {found.verdicts:,} verdicts, {found.controls} controls", style="bold green")
    counted = f"counted while live: {', '.join(exceptions)}" if exceptions else "nothing was late, idle or evicted"
    screen.print(
        f"That is everything judged up to {when(judged)} UTC; {counted}. The replay says {found.beyond:,} verdicts more, about "
        "panes that only the end of its files closes; live, they wait for more events."
    )
