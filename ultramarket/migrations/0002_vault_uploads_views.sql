-- Keys of subjects, uploads, and the views that are projected from the log.

-- One key a subject, wrapped under the master key, which is kept outside the database.
create table subject_key (
    subject text primary key,
    wrapped bytea not null,
    created_at timestamptz not null default now()
);

-- An upload is written under a generation of its own and becomes the one that is read when all of it is there.
create table upload (
    id text not null,
    generation uuid not null,
    complete boolean not null default false,
    size bigint not null default 0,
    started_at timestamptz not null default now(),
    primary key (id, generation)
);
create unique index upload_complete on upload (id) where complete;
create index upload_started on upload (started_at) where not complete;

create table upload_chunk (
    id text not null,
    generation uuid not null,
    n int not null,
    bytes bytea not null,
    primary key (id, generation, n),
    foreign key (id, generation) references upload on delete cascade
);
alter table upload_chunk alter column bytes set storage external;  -- compressing costs more than the short stay saves

-- How far a view has read each partition of the log.
create table view_offset (
    view text not null,
    kind text not null,
    no int not null,
    seq bigint not null default 0,
    primary key (view, kind, no)
) with (fillfactor = 20);

-- Events that a view could not take, with the reason; the view went on without them.
create table view_parked (
    view text not null,
    kind text not null,
    no int not null,
    seq bigint not null,
    reason text not null,
    at timestamptz not null default now(),
    primary key (view, kind, no, seq)
);

-- Products as lists and search need them. Texts that are compared are folded by the view (case, accents).
create table product_card (
    id text primary key,
    version bigint not null,
    handle text not null,
    status text not null,
    title text not null,
    vendor text not null,
    type text not null,
    tags text[] not null,
    search tsvector not null,
    created_at timestamptz not null,
    body text not null
);
create index product_card_newest on product_card (status, created_at, id);
create index product_card_title on product_card (status, title, id);
create index product_card_vendor on product_card (vendor, status, created_at, id);
create index product_card_type on product_card (type, status, created_at, id);
create index product_card_tags on product_card using gin (tags) with (gin_pending_list_limit = 1024);
create index product_card_search on product_card using gin (search) with (gin_pending_list_limit = 1024);

-- The variants of a product; `always` sells without looking at stock, `prices` is an amount by currency.
create table product_variant (
    product text not null,
    sku text not null,
    options text[] not null,
    prices jsonb not null,
    always boolean not null,
    primary key (product, sku)
);
create index product_variant_options on product_variant using gin (options) with (gin_pending_list_limit = 1024);

-- The lowest and highest price of a product in each currency that it has.
create table product_price (
    currency text not null,
    product text not null,
    low numeric not null,
    high numeric not null,
    primary key (product, currency)
);
create index product_price_low on product_price (currency, low, product);

create table stock_level (
    sku text primary key,
    version bigint not null,
    available bigint not null
) with (fillfactor = 70);

-- Orders as the staff's list finds them: no address, and of the e-mail only a keyed token to compare with.
create table order_card (
    id text primary key,
    version bigint not null,
    number text not null,
    status text not null,
    payment_status text not null,
    customer text,  -- null: a guest
    email_token text,
    currency text,
    total numeric,
    placed_at timestamptz not null
) with (fillfactor = 80);
create index order_card_newest on order_card (placed_at, id);
create index order_card_status on order_card (status, placed_at, id);
create index order_card_number on order_card (number);
create index order_card_email on order_card (email_token, placed_at, id) where email_token is not null;
