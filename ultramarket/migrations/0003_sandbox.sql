-- The sandbox gateway's own memory. It stands for another company's database: nothing but the gateway reads or writes
-- it, and no turn joins its transactions.

create schema sandbox;

-- `version` grows with each change; a change that was judged on an older one is judged again.
create table sandbox.payment (
    payment text primary key,
    reference text not null,
    method text not null,
    currency text not null,
    amount bigint not null,
    state text not null check (state in ('requires_action', 'authorised', 'refused', 'voided')),
    code text not null default '',
    authorised bigint not null default 0,
    captured bigint not null default 0,
    refunded bigint not null default 0,
    version bigint not null default 1,
    at timestamptz not null default now(),
    check (0 <= refunded and refunded <= captured and captured <= authorised)
) with (fillfactor = 70);

-- One row an idempotency key: what was asked, the result of the first time that it was done, and how often it was asked.
create table sandbox.call (
    key text primary key,
    operation text not null,
    payment text not null,
    amount bigint not null,
    currency text not null,
    method text not null,
    outcome text not null,
    code text not null,
    result text not null,
    attempts int not null default 1,
    at timestamptz not null default now()
) with (fillfactor = 80);
create index call_payment on sandbox.call (payment);
