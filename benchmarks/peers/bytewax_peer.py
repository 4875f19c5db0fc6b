"""Bytewax: consume, decode, count per tenant. `python bytewax_peer.py BOOTSTRAP TOPIC EVENTS`.

Runs in a venv of its own; prints the seconds from the first event on, by the clock and of a processor.
"""

import sys
import time

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, run_main
from event import Event, decode

began: list[tuple[float, float]] = []


def decoded(message: object) -> Event:
    """Decode an event."""
    if not began:
        began.append((time.perf_counter(), time.process_time()))
    return decode(message.value)  # type: ignore[attr-defined]


def main(bootstrap: str, name: str, events: str) -> None:
    """Read the topic to its end, and print seconds."""
    found: list[tuple[str, int]] = []
    flow = Dataflow("peer")
    messages = op.input("in", flow, KafkaSource([bootstrap], [name], tail=False))
    counts = op.count_final("count", op.map("decode", messages, decoded), lambda event: event.segment["tenant"])
    op.output("out", counts, TestingSink(found))
    run_main(flow)
    if sum(n for _, n in found) != int(events):
        raise SystemExit(f"counted {sum(n for _, n in found)} of {events}")
    print(time.perf_counter() - began[0][0], time.process_time() - began[0][1])


if __name__ == "__main__":
    main(*sys.argv[1:])
