"""`interlock sink`: what runs apart from the workers and brings their outputs to ClickHouse and to PagerDuty."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Show, Told, settings_for
from interlock.commands.listen import host_and_port
from interlock.errors import UserError
from interlock.policies.scalars import parse_positive_duration
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.evidence import EvidenceFiles
from interlock.sinks.evidence_tables import EvidenceTable
from interlock.sinks.pagerduty import PagerDutySink
from interlock.streams.settings import Settings

URL = "INTERLOCK_CLICKHOUSE_URL"
ROUTING_KEY = "INTERLOCK_PAGERDUTY_ROUTING_KEY"

Listen = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Serve /health and /metrics there; port 0: any free one. Default: nowhere."),
]

sink = typer.Typer(no_args_is_help=True, help="Bring outputs from Kafka to where they are kept.")


@sink.command()
def clickhouse(  # noqa: PLR0913, PLR0917 - the options of a command
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help=f"http://user:password@host:8123; or set {URL}.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A ClickHouse (chdb) directory instead of a server.")
    ] = None,
    listen: Listen = None,
    settings: File = None,
    sets: Sets = None,
    show_settings: Show = False,
) -> None:
    """Keep all outputs in ClickHouse.

    Tallies, verdicts, controls, pages and dead letters. It runs until it is stopped (SIGTERM, Ctrl-C), and waits while ClickHouse or Kafka is away. What is sent twice counts once.

    Example: interlock sink clickhouse --bootstrap localhost:9092 --directory ch
    """
    from interlock.streams.sink_tables import TableTarget  # noqa: PLC0415 - Kafka's client takes half a second to load

    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings), show=show_settings)
    server = _server(directory, url, f"where is ClickHouse? Give --url or --directory, or set {URL}")
    _run(TableTarget(lambda: ClickHouseSink.connect(directory, server), told.prefix), told, listen)


@sink.command()
def evidence(  # noqa: PLR0913, PLR0917 - the options of a command
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A directory that only its owner may read; made if missing.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help=f"Or ClickHouse: http://user:password@host:8123; or set {URL}.")
    ] = None,
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long after an engagement its events are kept.")] = "30d",
    fields: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Keep these fields alone, such as `score,features.age`. Default: all."),
    ] = None,
    listen: Listen = None,
    settings: File = None,
    sets: Sets = None,
    show_settings: Show = False,
) -> None:
    """Freeze the events behind each engagement.

    When a control engages, the events that it names are fetched from Kafka and kept, for `--ttl`, where few may read them. `interlock why ID --events` shows them. It runs until it is stopped.

    Example: interlock sink evidence --bootstrap localhost:9092 --directory evidence --ttl 30d --fields ts,score,features
    """
    from interlock.streams.sink_evidence import EvidenceTarget, Keeping  # noqa: PLC0415 - as above

    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings), show=show_settings)
    server = _server(directory, url, f"where are events to be kept? Give --directory or --url, or set {URL}")
    keeping = Keeping(_duration(ttl), _names(fields))
    store = EvidenceFiles(directory) if directory else EvidenceTable(lambda: ClickHouseSink.connect(None, server))
    _run(EvidenceTarget(store, told.connection, keeping), told, listen)


def _server(directory: Path | None, url: str | None, lacking: str) -> str | None:
    """Return the server that is to be written to; None where it is the directory."""
    if directory is not None and url is not None:
        raise UserError("give --url or --directory, not both")
    server = None if directory is not None else url or os.environ.get(URL)
    if directory is None and not server:
        raise UserError(lacking)
    return server


def _duration(text: str) -> int:
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise UserError(f"--ttl {text}: {error}") from None


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UserError("--fields: expected names, comma-separated, such as score,features.age")
    return names


@sink.command()
def pagerduty(  # noqa: PLR0913, PLR0917 - the options of a command
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another region, such as https://events.eu.pagerduty.com.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Authorities that may vouch for it (PEM).")] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"File with the routing key; or set {ROUTING_KEY}.")
    ] = None,
    max_age: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Incidents published longer ago are passed over.")
    ] = 86_400,
    listen: Listen = None,
    settings: File = None,
    sets: Sets = None,
    show_settings: Show = False,
) -> None:
    """Send pages to PagerDuty.

    Each once and in order. The routing key comes from the environment (INTERLOCK_PAGERDUTY_ROUTING_KEY) or a file. It runs until it is stopped, and waits while PagerDuty or Kafka is away.

    Example: interlock sink pagerduty --bootstrap localhost:9092
    """
    from interlock.streams.sink_pages import PageTarget  # noqa: PLC0415 - Kafka's client takes half a second to load

    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings), show=show_settings)
    # One attempt at a time: the loop waits between them, and meanwhile stays in its group and can be stopped.
    with PagerDutySink.connect(_key(key_file), base_url, ca, attempts=1) as opened:
        _run(PageTarget(opened, max_age), told, listen)


def _key(file: Path | None) -> str:
    """Return the routing key; it is never an argument, since those can be seen by everyone on the machine."""
    try:
        key = os.environ.get(ROUTING_KEY, "") if file is None else file.read_text("utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: no routing key (not UTF-8)") from error
    if not key.strip():
        raise UserError(f"no routing key: set {ROUTING_KEY}, or name a file with --key-file")
    return key.strip()


def _run(target: Any, settings: Settings, listen: str | None) -> None:
    """Run a sink until a signal stops it."""
    from interlock.streams.kafka_sink import KafkaSink  # noqa: PLC0415 - as above

    address = None if listen is None else host_and_port(listen)
    logging.basicConfig(level=logging.CRITICAL, format="%(asctime)s %(message)s")
    logging.getLogger("interlock").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run = KafkaSink(target, settings.connection, stop)
    with nullcontext() if address is None else _served(run, address):
        run.run()


@contextmanager
def _served(run: Any, address: tuple[str, int]) -> Iterator[None]:
    """Serve the pages about a sink."""
    try:
        from interlock.streams.sink_health import SinkHealth  # noqa: PLC0415 - of an extra
    except ImportError as error:
        raise UserError("--listen needs prometheus-client: pip install 'interlock[worker]'") from error
    health = SinkHealth(run.target, run.progress)
    typer.echo(f"sink {run.target.name}: http://{health.start(*address)}/health")
    try:
        yield
    finally:
        health.stop()
