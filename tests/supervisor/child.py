"""A child that does nothing but what its parent looks at; it answers connections with its name. Standard library only.

child.py [--log FILE] [--dies STATUS] [--stubborn]
"""

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path)
    parser.add_argument("--dies", type=int)
    parser.add_argument("--stubborn", action="store_true")
    options = parser.parse_args()
    orders = json.loads(os.environ["ULTRAMARKET_CHILD"])
    channel = socket.socket(fileno=orders["channel"])
    listening = [socket.socket(fileno=number) for number in orders["sockets"]]
    if options.log:
        with options.log.open("a") as log:
            log.write(f"{orders['name']} {os.getpid()}\n")
    if options.dies is not None:
        return int(options.dies)
    stopped, wake = socket.socketpair()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.stubborn else lambda *_: wake.send(b"."))
    channel.send(b".r")
    pinged = time.monotonic()
    while True:
        readable, _, _ = select.select([channel, stopped, *listening], [], [], 0.1)
        if channel in readable and not channel.recv(100):
            return 0  # the parent is gone
        if stopped in readable:
            return 0
        for one in listening:
            if one in readable:
                answer(one, orders["name"])
        if time.monotonic() - pinged > 0.3:
            pinged = time.monotonic()
            with contextlib.suppress(OSError):
                channel.send(b".")


def answer(listening: socket.socket, name: str) -> None:
    listening.settimeout(0)
    with contextlib.suppress(BlockingIOError):  # another one was quicker
        connection, _ = listening.accept()
        with connection:
            connection.sendall(f"{name} {os.getpid()}\n".encode())


sys.exit(main())
