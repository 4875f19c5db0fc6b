"""What stands on `checkpoints`, as a list of messages, and shards that are restored from it."""

from collections.abc import Sequence

from interlock.streams.checkpoints import Found, Saved
from interlock.streams.live import Outgoing
from interlock.streams.live_shard import LiveShard


def found(topic: Sequence[Outgoing]) -> Found:
    """Return all that is found on a topic."""
    read = Found()
    for offset, message in enumerate(topic):
        read.put(message.key, message.value, offset)
    return read


def restored(shard: LiveShard, saved: Saved, topic: Sequence[Outgoing]) -> LiveShard:
    """Return a shard that is new with a state in it, and the blocks that the state names."""
    shard.restore(saved.state)
    for offset, blocks in saved.blocks.items():
        for block in blocks:
            assert block.take is not None
            block.take(block, topic[offset].value or b"")
    return shard
