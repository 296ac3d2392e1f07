-- Several processes share a shop: who they are, and in which order their messages are to be taken.

-- A member lives while its lease runs and its session, which holds an advisory lock on its name, stands.
create table member (
    name text primary key,
    role text not null,
    host text not null,
    pid int not null,
    build text not null,
    started_at timestamptz not null default now(),
    lease_until timestamptz not null,
    state text not null,
    figures text not null
) with (fillfactor = 20);

-- The sender of a message, `kind:id`: messages of one source to one target are taken in the order of n, however they come.
alter table outbox add column source text not null default '';
update outbox set source = coalesce(body::json ->> 'source', '');
