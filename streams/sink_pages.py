"""Pages from Kafka to PagerDuty: each delivered once, in order."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from interlock.records import Page
from interlock.sinks.pagerduty import PagerDutySink, PageRefusedError
from interlock.streams.junk import Junk, reason
from interlock.streams.sink_target import Message

DAY = 86_400.0

log = logging.getLogger("interlock.sink")


class PageTarget:
    """Sends a page at a time; knows by `page_id` which were sent, since judges publish pages again after a restart.

    Repeats must not be sent: a trigger after its resolve would open a false incident. An incident that was published
    long ago (a new group begins at the oldest page of its topic) is nobody's call any more: all its pages are passed over.
    """

    name, topics = "pagerduty", ("pages",)
    most, linger, recalls = 1, 0.0, True

    def __init__(self, sink: PagerDutySink, max_age: float = DAY, clock: Callable[[], float] = time.time) -> None:  # noqa: TID251 - a driver: people are called by the wall clock
        """Start with nothing sent; `max_age` are the seconds since its trigger was published, `clock` is of 1970 UTC."""
        self._sink, self._max_age, self._clock = sink, max_age, clock
        self._known: set[str] = set()
        self._passed: set[str] = set()
        self._junk = Junk(log)
        self.sent = self.repeated = self.refused = self.old = 0

    @property
    def counted(self) -> Mapping[str, int]:
        """What became of pages."""
        return {
            "sent": self.sent,
            "repeated": self.repeated,
            "refused": self.refused,
            "old": self.old,
            "unreadable": self._junk.count,
        }

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
            elif self._is_old(page, message.ts):
                self._pass_over(page)
            else:
                self._send(page)

    def close(self) -> None:
        """Say what was done."""
        log.info("stopped: %s", ", ".join(f"{n} {what}" for what, n in self.counted.items()))

    def _is_old(self, page: Page, published: int) -> bool:
        """Return whether nobody is to be called any more; an incident that PagerDuty may know is told to its end."""
        if page.action != "trigger":
            return page.incident in self._passed
        old = 0 < published < (self._clock() - self._max_age) * 1000
        (self._passed.add if old else self._passed.discard)(page.incident)
        return old

    def _pass_over(self, page: Page) -> None:
        self.old += 1
        self._known.add(page.page_id)
        if self.old & (self.old - 1) == 0:
            said = "%s of %s was published more than %.0f s ago and is passed over (%d so far): %s"
            log.warning(said, page.action, page.incident, self._max_age, self.old, page.summary)

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
