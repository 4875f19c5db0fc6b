"""Pages as PagerDuty events (Events API v2): trigger, update and resolve under one key per engagement.

The package's own retries are switched off: they wait for minutes, and for ever on 429. What may be tried again is tried a
bounded number of times here; `Unreachable` then says that nothing is known to be taken, `PageRefusedError` that PagerDuty
will never take it.
"""

import logging
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from interlock.errors import Unreachable, UserError
from interlock.records import Page, canonical_json

TIMEOUT = 10
"""Seconds that PagerDuty has for each step of an answer."""

ATTEMPTS = 3
FIRST_WAIT = 0.5
"""Seconds before the second attempt; each later wait is twice as long."""

DETAILS = 256 * 1024
"""Bytes of details that are sent; PagerDuty refuses events of more than 512 KB."""

CLIENT = "Interlock"
AGAIN = frozenset({408, 429})
"""Statuses below 500 that may be tried again."""

REFUSED = range(400, 500)


class PageRefusedError(UserError):
    """PagerDuty says that the event is wrong, or the routing key: sent again, it would say so again."""


class PagerDutySink:
    """Sends pages to one integration; use it as a context manager."""

    def __init__(self, client: Any, key: str, attempts: int = ATTEMPTS) -> None:
        """Take over a client made for `key`; `connect` makes one."""
        self._client, self._key, self._attempts = client, key, attempts

    @classmethod
    def connect(cls, key: str, base_url: str | None = None, ca: Path | None = None, attempts: int = ATTEMPTS) -> Self:
        """Return a sink for a routing key; nothing is sent yet.

        `base_url` is for another region (https only), `ca` a file of the authorities that may vouch for it.

        Raises:
            UserError: the package is missing, the URL is not https, or `ca` cannot be read.
        """
        try:
            import pagerduty  # noqa: PLC0415 - optional dependency
        except ImportError as error:
            raise UserError("pages need: pip install 'interlock[pagerduty]'") from error
        if base_url is not None and not base_url.startswith("https://"):
            raise UserError(f"found {base_url}; expected a URL that begins with https://")
        verify = True if ca is None else _authorities(ca)
        logging.getLogger("pagerduty").setLevel(logging.CRITICAL)  # what it would log, our errors say
        client = pagerduty.EventsApiV2Client(key, base_url=base_url, verify=verify)
        client.timeout = TIMEOUT
        # One attempt: no attempt after a lost connection, and none after any status, 429 included.
        client.max_network_attempts, client.max_http_attempts, client.retry[429] = 0, -1, 1
        return cls(client, key, attempts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def send(self, page: Page) -> None:
        """Send a page; it may be sent again, PagerDuty knows an open incident by its key.

        Raises:
            PageRefusedError: PagerDuty will not take it.
            Unreachable: it did not take it in the attempts that there are; it may have been taken if an answer was lost.
        """
        for attempt in range(self._attempts):
            try:
                self._enqueue(page)
            except Unreachable:
                if attempt == self._attempts - 1:
                    raise
                time.sleep(FIRST_WAIT * 2**attempt)
            else:
                return

    def _enqueue(self, page: Page) -> None:
        from pagerduty import Error  # noqa: PLC0415 - optional dependency

        try:
            if page.action == "resolve":
                self._client.resolve(page.incident)
            else:
                self._client.send_event("trigger", dedup_key=page.incident, **event(page))
        except Error as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> UserError:
        """Return what an error of the client means, without the key."""
        response: Any = getattr(error, "response", None)
        status = None if response is None else int(response.status_code)
        if status is None:
            reason = type(error.__cause__).__name__ if error.__cause__ else str(error)
            return Unreachable(f"PagerDuty does not answer: {reason}")
        said = " ".join(str(response.text).replace(self._key, "(key)").split())[:200]
        if status in REFUSED and status not in AGAIN:
            return PageRefusedError(f"PagerDuty refused it with {status}: {said}")
        return Unreachable(f"PagerDuty answers {status}: {said}")


def event(page: Page) -> dict[str, Any]:
    """Return what PagerDuty is told of a page that opens or updates an incident."""
    payload = {
        "summary": page.summary,
        "source": page.model,
        "severity": page.severity,
        "timestamp": datetime.fromtimestamp(page.ts / 1000, UTC).isoformat(),
        "component": page.model,
        "group": page.details.get("where") or canonical_json(page.scope),
        "class": page.slo,
        "custom_details": _details(page),
    }
    return {"payload": payload, "links": [link.model_dump() for link in page.links], "client": CLIENT}


def _details(page: Page) -> dict[str, Any]:
    """Return the details of a page; what is too much for an event is left out, and the page says so."""
    told = {
        **page.details,
        "mode": page.mode,
        "control_id": page.control_id,
        "epoch": page.epoch,
        "verdict_id": page.verdict_id,
        "page_id": page.page_id,
    }
    for name in sorted(page.details, key=lambda name: -_bytes(page.details[name])):
        if _bytes(told) <= DETAILS:
            break
        told[name] = f"left out: {_bytes(told[name]):,} bytes"
    return told


def _bytes(value: object) -> int:
    return len(canonical_json(value).encode())


def _authorities(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"{ca}: found {error.strerror or error}; expected a file of certificates (PEM)") from error
