-- What each running process says of its parts, with a sign of life: so that one can tell of the others.
create table process_part (
  process  blob not null,
  part     text not null,
  degraded boolean not null,
  -- since when it is so
  since    text not null,
  -- why it is degraded
  reason   text,
  -- how often it ended by itself and was started again
  restarts bigint not null,
  seen_at  text not null,
  primary key (process, part)
);
create index process_part_by_age on process_part (seen_at);
