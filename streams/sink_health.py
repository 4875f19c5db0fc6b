"""`/health` and `/metrics` of a sink, served by a thread beside its loop."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import json as msgspec_json
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from interlock.errors import UserError
from interlock.streams.sink_progress import Progress
from interlock.streams.sink_target import Target


class SinkHealth:
    """Two pages about a sink."""

    def __init__(self, target: Target, progress: Progress) -> None:
        """Prepare; `start` listens."""
        self._target, self._progress = target, progress
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._server: ThreadingHTTPServer | None = None

    def start(self, host: str, port: int) -> str:
        """Listen, on any free port if it is 0; return the address.

        Raises:
            UserError: the address is taken.
        """
        try:
            self._server = _Server((host, port), self.page)
        except OSError as error:
            raise UserError(f"--listen {host}:{port}: {error.strerror or error}; port 0 takes any") from error
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        return "{}:{}".format(*self._server.server_address[:2])

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def page(self, path: str) -> tuple[int, str, bytes]:
        """Return the answer to a path: status, content type, body."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path != "/health":
            return 404, "text/plain", b"/health or /metrics\n"
        status = self.status()
        return 200 if status["failing"] is None else 503, "application/json", msgspec_json.encode(status)

    def status(self) -> dict[str, Any]:
        """Return how far it is: `ok`, or `failing` while it cannot deliver."""
        progress = self._progress
        return {
            "status": "ok" if progress.failing is None else "failing",
            "failing": progress.failing,
            "target": self._target.name,
            "lag": {f"{place.topic}/{place.partition}": lag for place, lag in progress.lags.items()},
            "last_sent": progress.last_sent,
            "failures": {name: service.total for name, service in progress.services.items()},
            "counted": dict(self._target.counted),
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as Prometheus asks for them."""
        progress = self._progress
        lag = GaugeMetricFamily("interlock_sink_lag", "Messages not delivered yet.", labels=["topic", "partition"])
        for place, behind in progress.lags.items():
            lag.add_metric([place.topic, str(place.partition)], behind)
        failures = CounterMetricFamily(
            "interlock_sink_failures", "Attempts that failed and were made again.", labels=["service"]
        )
        for name, service in progress.services.items():
            failures.add_metric([name], service.total)
        messages = CounterMetricFamily("interlock_sink_messages", "What became of what was read.", labels=["what"])
        for what, n in self._target.counted.items():
            messages.add_metric([what], n)
        last = GaugeMetricFamily("interlock_sink_last_sent_seconds", "When the target last took something.", labels=())
        if progress.last_sent is not None:
            last.add_metric([], progress.last_sent)
        failing = progress.failing is not None
        yield from (lag, failures, messages, last)
        yield GaugeMetricFamily("interlock_sink_failing", "Whether it cannot deliver.", failing)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: Any) -> None:
        self.page = page
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, content_type, body = self.server.page(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of who asked."""
