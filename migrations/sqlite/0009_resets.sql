-- Somebody says that they have forgotten the password of an address. Written without looking whether anybody has it.
create table resets (
  -- random, because it is part of the link
  id              blob not null primary key,
  email           text not null,
  email_canonical text not null,
  locale          text not null,
  -- SHA-256 of the cookie of the browser that asked
  browser_hash    blob not null unique,
  created_at      text not null,
  -- the row is deleted then
  expires_at      text not null,
  -- how far its mail has come: queued, sent, delayed, rejected
  delivery        text not null,
  -- the link works until then; set when the mail is sent, so that a late mail is never dead
  link_expires_at text,
  -- whether the mail is within its budgets; none until that was asked
  within_budget   boolean
);
create index resets_by_expiry on resets (expires_at);

-- What of something costly has been used up, by all nodes together (GCRA): until when the budget of a key is spoken for, in
-- microseconds since 1970. The key is a keyed hash of what is counted.
create table budgets (
  key     blob not null primary key,
  until   bigint not null,
  used_at text not null
);
create index budgets_by_age on budgets (used_at);

-- Whether the mail of a registration is within the budgets of its address; none until that was asked.
alter table registrations add column within_budget boolean;
