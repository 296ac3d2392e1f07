import errno
import resource
import socket

import pytest

from ultramarket.cli.listening import allow_connections, open_sockets, refusal, url_of
from ultramarket.errors import ConfigurationError, UltraMarketError


def test_port_0_takes_a_free_port_and_the_url_names_it() -> None:
    (bound,) = open_sockets("127.0.0.1", 0)
    with bound:
        port = bound.getsockname()[1]
        assert port > 0
        assert url_of([bound]) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:"),  # noqa: S104 - bound for a moment, and nothing accepts
        ("::", "http://[::1]:"),
        ("::1", "http://[::1]:"),
    ],
)
def test_a_url_names_an_address_that_can_be_called(host: str, url: str) -> None:
    sockets = open_sockets(host, 0)
    try:
        assert url_of(sockets) == f"{url}{sockets[0].getsockname()[1]}"
    finally:
        for one in sockets:
            one.close()


def test_every_address_of_a_host_gets_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    first, second = open_sockets("localhost", 0)
    with first, second:
        assert first.getsockname()[1] == second.getsockname()[1]


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UltraMarketError, match="is in use by another"):
        open_sockets("127.0.0.1", taken.getsockname()[1])


def test_an_unknown_host_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"The host nowhere\.invalid is unknown"):
        open_sockets("nowhere.invalid", 0)


def test_an_address_of_another_machine_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigurationError, match="is no address of this machine"):
        open_sockets("192.0.2.1", 0)


def test_other_refusals_say_what_the_system_says() -> None:
    assert "may not listen on port 80" in str(refusal(PermissionError(errno.EACCES, "no"), "h", 80))
    assert str(refusal(OSError(errno.ENOBUFS, "No buffer space"), "h", 80)) == (
        "Listening on port 80 of h failed: No buffer space."
    )


@pytest.mark.parametrize(
    ("soft", "hard", "set_to"),
    [
        (1024, 4096, [(2500, 4096)]),
        (1024, 2000, [(2000, 2000)]),
        (1024, resource.RLIM_INFINITY, [(2500, resource.RLIM_INFINITY)]),
        (4096, 4096, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ],
)
def test_open_files_are_allowed_as_far_as_connections_need_and_the_system_lets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, set_to: list[tuple[int, int]]
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    allow_connections(2000)
    assert given == set_to
