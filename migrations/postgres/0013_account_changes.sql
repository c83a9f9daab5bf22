-- An account that is to move to another address. It does so when the link in the mail to that address is pressed.
create table email_changes (
  -- random, because it is part of the links
  id               uuid not null primary key,
  user_id          uuid not null references users (id) on delete cascade,
  email            text not null,
  email_canonical  text not null,
  -- what the account had when the change was asked for
  former_email     text not null,
  former_canonical text not null,
  created_at       timestamptz not null,
  -- the row is deleted then
  expires_at       timestamptz not null,
  -- how far its mail has come: queued, sent, delayed, rejected
  delivery         text not null,
  -- since when it is there, what keeps it back, and when it is tried again
  delivery_at      timestamptz,
  trouble          text,
  next_try_at      timestamptz,
  -- the link works until then; set when the mail is sent, so that a late mail is never dead
  link_expires_at  timestamptz,
  -- whether the mail is within its budgets; none until that was asked
  within_budget    boolean,
  confirmed_at     timestamptz,
  -- the former address can undo it until then
  undo_until       timestamptz
);
create index email_changes_by_user on email_changes (user_id, created_at);
create index email_changes_by_expiry on email_changes (expires_at);

-- When the account is deleted, if its person has asked for that.
alter table users add column deletes_at timestamptz;
-- When the reminder of a registration is due, once its first mail was sent …
alter table registrations add column reminder_at timestamptz;
-- … and whether it is within the budgets of its address; none until that was asked.
alter table registrations add column reminder_within_budget boolean;
-- When the person last showed the password.
alter table sessions add column proved_at timestamptz;
