-- Appends the turns of many entities to their partitions' logs, all or nothing. A partition is written only by the owner
-- that knows its epoch and its tail: whatever is not as expected divides by zero and undoes the whole statement.
with lane as (
  update partition p set tail = f.after
  from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[]) as f(kind, no, epoch, before, after)
  where p.kind = f.kind and p.no = f.no and p.epoch = f.epoch and p.tail = f.before
  returning 1
), fresh as (
  insert into entity (kind, id, version, shape, head, state)
  select * from unnest($6::text[], $7::text[], $8::bigint[], $9::int[], $10::bytea[], $11::text[])
  returning 1
), changed as (
  update entity e set version = t.version, shape = t.shape, head = t.head, state = t.state
  from unnest($12::text[], $13::text[], $14::bigint[], $15::bigint[], $16::int[], $17::bytea[], $18::text[])
    as t(kind, id, before, version, shape, head, state)
  where e.kind = t.kind and e.id = t.id and e.version = t.before
  returning 1
), happened as (
  insert into event (kind, no, seq, id, version, type, data, at, command, actor, trace, hash)
  select * from unnest($19::text[], $20::int[], $21::bigint[], $22::text[], $23::bigint[], $24::text[], $25::text[],
    $26::timestamptz[], $27::text[], $28::text[], $29::text[], $30::bytea[])
), answered as (
  insert into reply (kind, id, command, body_hash, reply)
  select * from unnest($31::text[], $32::text[], $33::text[], $34::bytea[], $35::text[])
), sent as (
  insert into outbox (message, kind, no, id, body, source)
  select message, kind, no, id, body, source
  from unnest($36::text[], $37::text[], $38::int[], $39::text[], $40::text[], $41::text[])
    with ordinality as t(message, kind, no, id, body, source, place)
  order by place
), taken as (
  delete from outbox o using unnest($42::text[]) as t(message) where o.message = t.message returning 1
), part_set as (
  insert into entity_part (kind, id, part, value, due_at)
  select * from unnest($43::text[], $44::text[], $45::text[], $46::text[], $47::timestamptz[])
  on conflict (kind, id, part) do update set value = excluded.value, due_at = excluded.due_at
), part_dropped as (
  delete from entity_part p using unnest($48::text[], $49::text[], $50::text[]) as t(kind, id, part)
  where p.kind = t.kind and p.id = t.id and p.part = t.part
), timer_set as (
  insert into timer (kind, no, id, due_at)
  select * from unnest($51::text[], $52::int[], $53::text[], $54::timestamptz[])
  on conflict (kind, id) do update set due_at = excluded.due_at
), timer_dropped as (
  delete from timer x using unnest($55::text[], $56::text[]) as t(kind, id) where x.kind = t.kind and x.id = t.id
), claimed as (
  insert into claim (namespace, value, kind, id)
  select * from unnest($57::text[], $58::text[], $59::text[], $60::text[])
), unclaimed as (
  delete from claim c using unnest($61::text[], $62::text[], $63::text[], $64::text[]) as t(namespace, value, kind, id)
  where c.namespace = t.namespace and c.value = t.value and c.kind = t.kind and c.id = t.id
)
select clock_timestamp() as now, 1 / (
  (select count(*) from lane) = cardinality($1::text[])
  and (select count(*) from changed) = cardinality($12::text[])
  and (select count(*) from fresh) = cardinality($6::text[])
  and (select count(*) from taken) = cardinality($42::text[])
)::int as ok
