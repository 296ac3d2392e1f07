-- Lets go of partitions whose epoch is still the one that we took them with.
with held as (
  select p.kind, p.no from partition p
  join unnest($1::text[], $2::int[], $3::bigint[]) as w(kind, no, epoch) on p.kind = w.kind and p.no = w.no
  where p.epoch = w.epoch
  order by p.kind, p.no  -- in one order, as a commit of a past owner may hold some of them
  for update of p
)
update partition p set owner = null from held h where p.kind = h.kind and p.no = h.no returning 1
