-- The log of every actor and what a turn writes beside it. Why it has this shape: docs/decisions/.
-- States, events and messages are kept as text, byte for byte: they are hashed, and nothing queries inside them.
-- toast_tuple_target: an order's state has 2 to 3 kB and changes often; compressing it each time costs more than it saves.

create table setting (
    name text primary key,
    value text not null
);
insert into setting values ('partitions', '16'), ('generation', '1');

-- A partition is an append-only log with one owner; `tail` is the seq of its last event.
create table partition (
    kind text not null,
    no int not null,
    epoch bigint not null default 0,
    tail bigint not null default 0,
    owner text,
    primary key (kind, no)
) with (fillfactor = 20);

create table entity (
    kind text not null,
    id text not null,
    version bigint not null,
    shape int not null,
    head bytea not null,
    state text not null,
    primary key (kind, id)
) with (fillfactor = 70, toast_tuple_target = 8160);

create table entity_part (
    kind text not null,
    id text not null,
    part text not null,
    value text not null,
    due_at timestamptz,
    primary key (kind, id, part)
) with (fillfactor = 80);
create index entity_part_due on entity_part (kind, id, due_at) where due_at is not null;

-- Partitioned by month of `at`, so that old months can be archived and detached without touching the rest.
-- Uniqueness of (kind, no, seq) follows from the tail check of the one owner; the key holds it within a month.
create table event (
    kind text not null,
    no int not null,
    seq bigint not null,
    id text not null,
    version bigint not null,
    type text not null,
    data text not null,
    at timestamptz not null,
    command text not null,
    actor text not null,
    trace text not null,
    hash bytea not null,
    primary key (kind, no, seq, at)
) partition by range (at);
create index event_entity on event (kind, id, version);

-- Answers to commands with an idempotency key, for 24 hours; partitioned by day, dropped by day.
create table reply (
    kind text not null,
    id text not null,
    command text not null,
    body_hash bytea not null,
    reply text not null,
    at timestamptz not null default now()
) partition by range (at);
create index reply_command on reply (kind, id, command);

-- A message exists until the commit of the turn that took it; `n` keeps the order of each source.
create table outbox (
    message text primary key,
    n bigint generated always as identity,
    kind text not null,
    no int not null,
    id text not null,
    body text not null,
    at timestamptz not null default now()
) with (toast_tuple_target = 8160);
create index outbox_target on outbox (kind, no, n);

-- One timer an entity: its nearest.
create table timer (
    kind text not null,
    no int not null,
    id text not null,
    due_at timestamptz not null,
    primary key (kind, id)
) with (fillfactor = 70);
create index timer_due on timer (kind, no, due_at);

create table claim (
    namespace text not null,
    value text not null,
    kind text not null,
    id text not null,
    primary key (namespace, value)
);
create index claim_holder on claim (kind, id);

-- Messages that could not be taken, with the reason; `message` stays in the outbox's order for its source and target.
create table parked (
    message text primary key,
    n bigint not null,
    kind text not null,
    no int not null,
    id text not null,
    source text not null,
    body text not null,
    reason text not null,
    at timestamptz not null default now()
);

create sequence order_number start 100001;

-- Months of the log and days of the replies are made ahead of time by this, again and again.
create function make_log_partitions(today date) returns void language plpgsql as $$
declare
    month date;
    day date;
begin
    for i in -1..3 loop
        month := date_trunc('month', today)::date + make_interval(months => i);
        execute format('create table if not exists %I partition of event for values from (%L) to (%L) '
            'with (toast_tuple_target = 8160)', 'event_' || to_char(month, 'YYYY_MM'), month::timestamp at time zone 'UTC',
            (month + interval '1 month') at time zone 'UTC');
    end loop;
    for i in -1..7 loop
        day := today + i;
        execute format('create table if not exists %I partition of reply for values from (%L) to (%L)',
            'reply_' || to_char(day, 'YYYY_MM_DD'), day::timestamp at time zone 'UTC',
            (day + 1)::timestamp at time zone 'UTC');
    end loop;
end $$;
select make_log_partitions((now() at time zone 'UTC')::date);
