"""A ClickHouse server out of libchdb.so: `python clickhouse_child.py LIBRARY DATA PORT`; it ends when its stdin does.

The library's `query_stable_v2` is `clickhouse local`, which can listen: the handlers of HTTP are ClickHouse's own.
"""

import ctypes
import os
import signal
import sys
import threading

LIFE = 86_400
"""Seconds until it ends by itself: a query that only sleeps keeps the process up."""

SLEEP = f"SELECT sleepEachRow(1) FROM numbers({LIFE})"
SLEEP += " SETTINGS max_block_size=1, function_sleep_max_microseconds_per_block=0, max_execution_time=0 FORMAT Null"

LIMITS = {
    "background_pool_size": 2,
    "index_mark_cache_size": 8 << 20,
    "mark_cache_size": 32 << 20,
    "max_server_memory_usage": 2 << 30,
    "primary_index_cache_size": 32 << 20,
    "uncompressed_cache_size": 0,
}
"""Its defaults are 0.9 of the machine's memory and caches of 5 GiB."""


class Result(ctypes.Structure):
    """What the library returns."""

    _fields_ = (
        ("buffer", ctypes.c_char_p),
        ("length", ctypes.c_size_t),
        ("vector", ctypes.c_void_p),
        ("elapsed", ctypes.c_double),
        ("rows", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("error", ctypes.c_char_p),
    )


def main() -> int:
    library, data, port = sys.argv[1:]
    arguments = ["clickhouse", f"--path={data}", "--listen_host=127.0.0.1", f"--http_port={port}", "--multiquery"]
    arguments += [f"--query=SYSTEM START LISTEN HTTP; {SLEEP}", "--"]
    arguments += [f"--{name}={value}" for name, value in LIMITS.items()]
    threading.Thread(target=die_with_parent, daemon=True).start()
    error = query(library, arguments)
    sys.stderr.write(f"ended: {error}\n")
    return 1


def die_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)


def query(library: str, arguments: list[str]) -> str:
    """Run `clickhouse local` with arguments, and return its error when it ends."""
    run = ctypes.CDLL(library).query_stable_v2
    run.restype = ctypes.POINTER(Result)
    run.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    given = (ctypes.c_char_p * (len(arguments) + 1))(*(one.encode() for one in arguments), None)
    return (run(len(arguments), given).contents.error or b"nothing").decode()


if __name__ == "__main__":
    sys.exit(main())
