-- Who may sign in. A row appears when a registration is confirmed, never before.
create table users (
  id              uuid not null primary key,
  -- as typed, for sending; what is compared is the canonical form
  email           text not null,
  email_canonical text not null unique,
  name            text not null,
  -- PHC string, parameters inside
  password_hash   text not null,
  locale          text not null,
  created_at      timestamptz not null,
  disabled_at     timestamptz,
  -- when somebody last registered this address again and was told so by mail
  reminded_at     timestamptz,
  -- the registration that caused it, so that a repeat of the same event is not taken for another one
  reminded_for    uuid
);

-- A wish to become a user. Several may wait for one address; confirming one deletes its rivals.
create table registrations (
  -- random, because it is part of the link
  id              uuid not null primary key,
  email           text not null,
  email_canonical text not null,
  name            text not null,
  password_hash   text not null,
  locale          text not null,
  -- SHA-256 of the cookie of the browser that registered
  browser_hash    bytea not null,
  created_at      timestamptz not null,
  -- the row is deleted then
  expires_at      timestamptz not null,
  -- how far its mail has come: queued, sent, delayed, rejected
  delivery        text not null,
  -- the link works until then; set when the mail is sent, so that a late mail is never dead
  link_expires_at timestamptz
);
create index registrations_by_address on registrations (email_canonical);
create index registrations_by_browser on registrations (browser_hash, created_at);
create index registrations_by_expiry on registrations (expires_at);

-- One per signed-in browser. The cookie holds 256 random bits, the table only their SHA-256.
create table sessions (
  id           uuid not null primary key,
  token_hash   bytea not null unique,
  user_id      uuid not null references users (id) on delete cascade,
  created_at   timestamptz not null,
  last_seen_at timestamptz not null,
  expires_at   timestamptz not null,
  ip           text not null,
  user_agent   text not null
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_expiry on sessions (expires_at);

-- What happened at the door, written by a listener. The id is the event's, so a second delivery cannot write it twice.
create table login_log (
  id         uuid not null primary key,
  type       text not null,
  -- none when nobody has the address that was tried
  user_id    uuid,
  at         timestamptz not null,
  ip         text not null,
  user_agent text not null,
  reason     text,
  -- a keyed hash of the address that was tried: equal tries can be told, the address cannot
  attempted  text
);
create index login_log_by_user on login_log (user_id, at desc, id desc);
