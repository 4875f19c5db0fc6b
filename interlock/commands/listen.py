"""Where health pages are served: the option `--listen` of workers and sinks."""

from interlock.errors import UserError


def host_and_port(listen: str) -> tuple[str, int]:
    """Return what `host:port` names; UserError if it names nothing."""
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) >= 1 << 16:
        raise UserError(f"--listen: found {listen!r}; expected host:port")
    return host, int(port)
