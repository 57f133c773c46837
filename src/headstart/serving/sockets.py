"""The socket that a server listens on."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

from headstart.errors import OptionError


def listen(host: str, port: int, tries: int = 1) -> socket.socket:
    """A socket that listens already, so that a wrong address is reported at once; where the port is taken, ``tries``
    ports in a row. Raises OptionError.
    """
    for next_ in range(port, port + tries - 1):
        with suppress(OptionError):
            return _listening(host, next_)
    return _listening(host, port + tries - 1 if port else 0)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that a wrong address is reported at once. Raises OptionError."""
    if not 0 <= port < 2**16:  # the system would take it modulo 65536
        raise OptionError(f"`port={port}` must be from 0 (a free one) to 65535.", option="port")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform == "win32":  # where SO_REUSEADDR lets two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"Cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.", "Try `port=0`, or another."
        ) from None
    return listening
