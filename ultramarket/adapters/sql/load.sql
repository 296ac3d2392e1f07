-- Everything that a group of turns needs before it can be judged, in one select of one row shape.
select 'entity' as what, e.kind, e.id, '' as name, e.version, e.shape, e.head as bytes, e.state as text, null::timestamptz as at
from unnest($1::text[], $2::text[]) as w(kind, id) join entity e on e.kind = w.kind and e.id = w.id
union all
select 'part', p.kind, p.id, p.part, null, null, null, p.value, null
from unnest($3::text[], $4::text[], $5::text[]) as w(kind, id, part)
join entity_part p on p.kind = w.kind and p.id = w.id and p.part = w.part
union all
select 'due', w.kind, w.id, d.part, null, null, null, d.value, d.due_at
from unnest($6::text[], $7::text[]) as w(kind, id)
cross join lateral (
  select p.part, p.value, p.due_at from entity_part p
  where p.kind = w.kind and p.id = w.id and p.due_at is not null
  order by p.due_at limit 65
) d
union all
select 'reply', r.kind, r.id, r.command, null, null, r.body_hash, r.reply, r.at
from unnest($8::text[], $9::text[], $10::text[]) as w(kind, id, command)
join reply r on r.kind = w.kind and r.id = w.id and r.command = w.command and r.at > now() - interval '24 hours'
union all
select 'message', '', '', o.message, null, null, null, null, null
from unnest($11::text[]) as w(message) join outbox o on o.message = w.message
union all
select 'ordered', '', '', o.message, case when b.looked < $13 then b.earlier end, null, null, null, null
from unnest($12::text[]) as w(message) join outbox o on o.message = w.message
cross join lateral (
  select count(*) as looked, count(*) filter (where e.source = o.source and e.id = o.id) as earlier
  from (select source, id from outbox x where x.kind = o.kind and x.no = o.no and x.n < o.n order by x.n desc limit $13) e
) b
