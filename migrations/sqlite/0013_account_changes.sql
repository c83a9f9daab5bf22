-- An account that is to move to another address. It does so when the link in the mail to that address is pressed.
create table email_changes (
  -- random, because it is part of the links
  id               blob not null primary key,
  user_id          blob not null references users (id) on delete cascade,
  email            text not null,
  email_canonical  text not null,
  -- what the account had when the change was asked for
  former_email     text not null,
  former_canonical text not null,
  created_at       text not null,
  -- the row is deleted then
  expires_at       text not null,
  -- how far its mail has come: queued, sent, delayed, rejected
  delivery         text not null,
  -- since when it is there, what keeps it back, and when it is tried again
  delivery_at      text,
  trouble          text,
  next_try_at      text,
  -- the link works until then; set when the mail is sent, so that a late mail is never dead
  link_expires_at  text,
  -- whether the mail is within its budgets; none until that was asked
  within_budget    boolean,
  confirmed_at     text,
  -- the former address can undo it until then
  undo_until       text
);
create index email_changes_by_user on email_changes (user_id, created_at);
create index email_changes_by_expiry on email_changes (expires_at);

-- When the account is deleted, if its person has asked for that.
alter table users add column deletes_at text;
-- When the reminder of a registration is due, once its first mail was sent …
alter table registrations add column reminder_at text;
-- … and whether it is within the budgets of its address; none until that was asked.
alter table registrations add column reminder_within_budget boolean;
-- When the person last showed the password.
alter table sessions add column proved_at text;
