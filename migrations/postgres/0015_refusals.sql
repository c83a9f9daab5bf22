-- Refused sign-ins to addresses that nobody has, of a network past its first few: one row for each minute until that is over. Then
-- the row becomes an event, and a row of the login log.
create table refusal_sums (
  -- its first address
  network  text not null,
  -- to the minute
  minute   timestamptz not null,
  refusals bigint not null,
  primary key (network, minute)
);
create index refusal_sums_by_age on refusal_sums (minute);

-- How many refusals a row of the log stands for.
alter table login_log add column refusals bigint not null default 1;
create index login_log_by_age on login_log (at);
