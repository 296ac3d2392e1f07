insert into setting values ('partitions.review', '4');  -- as in messages/partitions.py

-- Reviews as lists find them, and their ratings summed up; what was written is read from the reviews themselves.
create table review_card (
    id text primary key,
    version bigint not null,
    product text not null,
    status text not null,
    rating int not null,
    verified boolean not null,
    language text not null,
    helpful int not null,
    created_at timestamptz not null
) with (fillfactor = 80);
create index review_card_product on review_card (product, status, created_at, id);
create index review_card_status on review_card (status, created_at, id);
