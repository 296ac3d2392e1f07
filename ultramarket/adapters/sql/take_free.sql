-- Takes those of the wanted partitions that have the owner that was seen, or none yet; what a commit holds is left out.
with wanted as (
  select kind, no, instead_of from unnest($2::text[], $3::int[], $4::text[]) as w(kind, no, instead_of)
), made as (
  -- In one order, so that members who begin at the same time wait for each other in no circle.
  insert into partition as p (kind, no, epoch, owner)
  select kind, no, 1, $1 from wanted where instead_of is null order by kind, no
  on conflict (kind, no) do nothing
  returning p.kind, p.no, p.epoch, p.tail
), free as (
  select p.kind, p.no from partition p join wanted w on p.kind = w.kind and p.no = w.no
  where p.owner is not distinct from w.instead_of
  for update of p skip locked
), taken as (
  update partition p set epoch = p.epoch + 1, owner = $1 from free f where p.kind = f.kind and p.no = f.no
  returning p.kind, p.no, p.epoch, p.tail
)
select kind, no, epoch, tail from made union all select kind, no, epoch, tail from taken
