"""Pages from Kafka to PagerDuty: each delivered once, in order."""

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from interlock.records import Page
from interlock.sinks.pagerduty import PagerDutySink, PageRefusedError
from interlock.streams.junk import Junk, reason
from interlock.streams.kafka_sink import Message

log = logging.getLogger("interlock.sink")


class PageTarget:
    """Sends a page at a time; knows by `page_id` which were sent, since judges publish pages again after a restart.

    Repeats must not be sent: a trigger after its resolve would open a false incident.
    """

    name, topics = "pagerduty", ("pages",)
    most, linger, recalls = 1, 0.0, True

    def __init__(self, sink: PagerDutySink) -> None:
        """Start with nothing sent."""
        self._sink = sink
        self._known: set[str] = set()
        self._junk = Junk(log)
        self.sent = self.repeated = self.refused = 0

    def recall(self, message: Message) -> None:
        """Remember a page that was sent, or refused for good."""
        page = _page(message)
        if isinstance(page, Page):
            self._known.add(page.page_id)

    def take(self, messages: Sequence[Message]) -> None:
        """Send pages; one that PagerDuty refuses for good is logged, and the next goes on."""
        for message in messages:
            page = _page(message)
            if not isinstance(page, Page):
                self._junk.skip(message, f"no page: {page}")
            elif page.page_id in self._known:
                self.repeated += 1
            else:
                self._send(page)

    def close(self) -> None:
        """Say what was done."""
        counted = f"{self.sent} sent, {self.repeated} repeated, {self.refused} refused, {self._junk.count} unreadable"
        log.info("stopped: %s", counted)

    def _send(self, page: Page) -> None:
        try:
            self._sink.send(page)
        except PageRefusedError as error:
            self.refused += 1
            log.error("page %s of %s (%s) is lost: %s", page.page_id, page.incident, page.summary, error)  # noqa: TRY400
        else:
            self.sent += 1
            log.info("%s %s: %s", page.action, page.incident, page.summary)
        self._known.add(page.page_id)


def _page(message: Message) -> Page | str:
    """Return the page in a message, or what is wrong with it."""
    try:
        return Page.model_validate_json(message.value or b"")
    except ValidationError as error:
        return reason(error)
