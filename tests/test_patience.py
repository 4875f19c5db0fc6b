"""Work that goes on is waited for; work that stands still, or whose caller ends, is ended."""

import asyncio

import pytest

from interlock.streams.patience import lasting

MOMENT = 0.01


class Work:
    """Work that ends when it is told to, and notes that it was cancelled."""

    def __init__(self) -> None:
        self.ends, self.cancelled, self.looks = asyncio.Event(), False, 0

    async def run(self) -> str:
        try:
            await self.ends.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"

    def grows(self) -> int:
        """Return more at each look; let the work end at the fifth."""
        self.looks += 1
        if self.looks == 5:
            self.ends.set()
        return self.looks


def test_work_that_goes_on_may_take_many_times_as_long_as_it_may_stand_still() -> None:
    async def waited() -> tuple[str, Work]:
        work = Work()
        return await lasting(work.run(), work.grows, MOMENT), work

    said, work = asyncio.run(waited())

    assert said == "done"
    assert work.looks == 5
    assert not work.cancelled


def test_work_that_stands_still_is_cancelled() -> None:
    async def waited() -> Work:
        work = Work()
        with pytest.raises(TimeoutError):
            await lasting(work.run(), lambda: 7, MOMENT)
        await asyncio.sleep(0)
        return work

    assert asyncio.run(waited()).cancelled


def test_whoever_is_cancelled_takes_the_work_along() -> None:
    async def waited() -> Work:
        work, looked = Work(), asyncio.Event()

        def look() -> int:
            looked.set()
            return 0

        task = asyncio.create_task(lasting(work.run(), look, 3600.0))
        await looked.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return work

    assert asyncio.run(waited()).cancelled


def test_what_the_work_raises_is_raised() -> None:
    async def fails() -> str:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        asyncio.run(lasting(fails(), lambda: 0, MOMENT))
