"""kafka-python leaves the sockets of failed connections to the garbage collector: so do the tests in which it fails."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def collect_sockets(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collect what is left before the next test, which would be blamed for it; what was logged holds on to it."""
    yield
    caplog.get_records("call").clear()
    gc.collect()


def leaves_sockets(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test whose broker goes away; import the fixture `collect_sockets` beside it."""
    marked = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")(test)
    return pytest.mark.usefixtures("collect_sockets")(marked)  # type: ignore[no-any-return]
