-- What the browser that waits for a mail is told beside how far it has come: since when, what keeps it back, and when it is tried
-- again.
alter table registrations add column delivery_at text;
alter table registrations add column trouble text;
alter table registrations add column next_try_at text;
alter table resets add column delivery_at text;
alter table resets add column trouble text;
alter table resets add column next_try_at text;

-- How many mails were asked for. The last one counts: it may be to another address.
alter table registrations add column mails bigint not null default 1;
