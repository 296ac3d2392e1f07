-- Few write to these: see messages/partitions.py.
insert into setting values ('partitions.category_tree', '1'), ('partitions.collection', '1'), ('partitions.redirect', '1');

-- The categories that a product is in, by their ids.
alter table product_card add column categories text[] not null default '{}';
create index product_card_categories on product_card using gin (categories) with (gin_pending_list_limit = 1024);

-- The handle that an entity has, so that a change tells which one it had; who owns a handle is said by the claims.
create table handle_now (
    kind text not null,
    id text not null,
    handle text not null,
    primary key (kind, id)
) with (fillfactor = 90);

-- Handles that entities had before, each with the last one that had it.
create table handle_before (
    kind text not null,
    handle text not null,
    id text not null,
    at timestamptz not null,
    primary key (kind, handle)
);

-- Paths that the staff lead to other paths.
create table redirect (
    id text primary key,
    source text not null unique,
    target text not null,
    created_at timestamptz not null
);
create index redirect_newest on redirect (created_at, id);

-- Collections as lists show them, by their folded titles.
create table collection_card (
    id text primary key,
    version bigint not null,
    published boolean not null,
    title text not null,
    body text not null
);
create index collection_card_title on collection_card (published, title, id);
