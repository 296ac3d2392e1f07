"""All faults there are: what each does, and how it is made."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from scripts.faultlab import (
    broker_killed,
    clock_off,
    database_restart,
    frozen,
    full_disk,
    gateway_faults,
    killed_inside,
    network_cut,
    overload,
    poison,
    queue_full,
    replica_killed,
    rolling,
    slow_consumer,
    slow_database,
    stuck_gateway,
)
from scripts.faultlab.findings import Finding, Size

Fault = Callable[[Path, Size], Awaitable[list[Finding]]]

OF_ONE_PROCESS: dict[str, tuple[str, Fault]] = {
    "overload": ("five times as many visitors as can be served", overload.run),
    "slow-database": ("a proxy delays the database's answers, then lets none through", slow_database.run),
    "full-disk": ("the database's disk fills up, then gets room again", full_disk.run),
    "stuck-gateway": ("calls to the payment gateway hang", stuck_gateway.run),
}
OF_REPLICAS: dict[str, tuple[str, Fault]] = {
    "replica-killed": ("one of three replicas is killed again and again", replica_killed.run),
    "replica-dies-inside": ("a replica dies at each failpoint beside a neighbour", killed_inside.run),
    "replica-frozen": ("a replica stands still and wakes up again", frozen.run),
    "rolling": ("replicas come and go in good order", rolling.run),
    "broker-killed": ("RabbitMQ dies, closes connections, takes no messages", broker_killed.run),
    "queue-full": ("the queue of one partition takes no more", queue_full.run),
    "slow-consumer": ("far more is offered than one process can take", slow_consumer.run),
    "poison": ("messages that nobody can read, in the outbox and the queues", poison.run),
    "database-restart": ("PostgreSQL is restarted, stays away, hangs up", database_restart.run),
    "network-cut": ("a replica's ways to the broker and the database are cut", network_cut.run),
    "gateway": ("the gateway hangs, is late, loses answers, and sends webhooks, forged ones too", gateway_faults.run),
    "clock-off": ("a replica's clock is ten minutes wrong", clock_off.run),
}
FAULTS = {**OF_ONE_PROCESS, **OF_REPLICAS}
"""By name: what is done, and what does it and looks at it."""
