-- Search: words with their places and weights, spellings to offer, filters and facets beside them.

-- A trusted extension of PostgreSQL itself: whoever may make objects in the database may make it.
create extension if not exists pg_trgm;

-- The tables of the product view before: the view has a new name and fills these from the log.
drop table product_card, product_variant, product_price, stock_level;
delete from view_offset where view in ('products.1', 'products.1:rebuild');
delete from view_parked where view in ('products.1', 'products.1:rebuild');

-- What products are found and counted by, each text folded (case, accents); what is shown of them is apart, so that a
-- count over many reads little.
create table product_card (
    id text primary key,
    version bigint not null,
    status text not null,
    created_at timestamptz not null,
    title text not null,
    vendor text not null,
    type text not null,
    tags text[] not null,
    categories text[] not null,
    options text[] not null,  -- of all variants, e.g. size=m
    ranges text[] not null,  -- that prices of variants fall in, e.g. USD:7
    codes text[] not null,  -- SKUs and barcodes
    in_stock boolean not null,  -- any variant can be bought now
    names tsvector not null,  -- the title (A), and what else is short (B): for the order by relevance
    search tsvector not null  -- the same and the description (D)
) with (fillfactor = 90);
create index product_card_newest on product_card (status, created_at, id);
create index product_card_title on product_card (status, title, id);
create index product_card_vendor on product_card (vendor, status, created_at, id);
create index product_card_type on product_card (type, status, created_at, id);
create index product_card_tags on product_card using gin (tags) with (gin_pending_list_limit = 1024);
create index product_card_categories on product_card using gin (categories) with (gin_pending_list_limit = 1024);
create index product_card_options on product_card using gin (options) with (gin_pending_list_limit = 1024);
create index product_card_codes on product_card using gin (codes) with (gin_pending_list_limit = 1024);
create index product_card_names on product_card using gin (names) with (gin_pending_list_limit = 1024);
create index product_card_search on product_card using gin (search) with (gin_pending_list_limit = 1024);

-- What a hit gives back, and the texts that are highlighted.
create table product_body (
    id text primary key,
    body text not null,
    texts text not null
);

-- The variants of a product; `always` sells without looking at stock, `prices` is an amount by currency.
create table product_variant (
    product text not null,
    sku text not null,
    options text[] not null,
    prices jsonb not null,
    always boolean not null,
    in_stock boolean not null,
    primary key (product, sku)
) with (fillfactor = 90);
create index product_variant_sku on product_variant (sku);

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

-- Words that published products have in their short texts, as they are written: for typos and for completing words.
create table product_word (
    word text collate "C" primary key,
    shown text not null
);
create index product_word_near on product_word using gist (word gist_trgm_ops);

-- How the values of facets are written.
create table product_term (
    facet text not null,
    value text not null,
    shown text not null,
    primary key (facet, value)
);
