"""The sockets that the platform listens on."""

import errno
import resource
import socket
from collections.abc import Sequence

from ultramarket.errors import ConfigurationError, UltraMarketError

OTHER_FILES = 500
"""Files that a process has open besides its clients' connections, with room to spare: the database's, logs, uploads."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what these mean, not a place to bind to


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of the host, not yet accepting; port 0 takes a free one, the same for all.

    Raises:
        ConfigurationError: there is no such host on this machine.
        UltraMarketError: the port is in use, or may not be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(f"The host {host} is unknown: {error.strerror}. Give another with --host.") from None
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(_bound(family, (address[0], port, *address[2:])))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        raise refusal(error, host, port) from None
    return sockets


def refusal(error: OSError, host: str, port: int) -> UltraMarketError:
    """What to tell about a socket that could not be had."""
    match error.errno:
        case errno.EADDRINUSE:
            return UltraMarketError(
                f"Port {port} of {host} is in use by another program: stop that, or choose another port with --port "
                "(0 takes a free one)."
            )
        case errno.EACCES:
            return UltraMarketError(f"This user may not listen on port {port}: choose one above 1023 with --port.")
        case errno.EADDRNOTAVAIL:
            return ConfigurationError(f"{host} is no address of this machine: choose another with --host.")
        case _:
            return UltraMarketError(f"Listening on port {port} of {host} failed: {error.strerror}.")


def allow_connections(count: int) -> None:
    """Raise this process's own limit of open files as far as needed and allowed: each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def url_of(sockets: Sequence[socket.socket]) -> str:
    """Where a client on this machine finds the platform, e.g. `http://127.0.0.1:8080`."""
    host, port = sockets[0].getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait for the connections of the process before to be forgotten.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
