-- Who may see and do what operators see and do; by the command line alone.
alter table users add column admin_since text;

-- What a listener has not managed yet: an event that waits for another attempt, or rests as a dead letter. The message
-- itself is with the broker; this is how it is known of when the broker has lost it, and counted without asking the broker.
create table setback (
  listener text not null,
  event_id blob not null,
  attempt  integer not null,
  reason   text not null,
  first_at text not null,
  last_at  text not null,
  -- comes again then; none when it rests until an operator decides
  due_at   text,
  primary key (listener, event_id)
);
create index setback_by_age on setback (last_at);

-- Who is just sending the mail of an event. Whoever holds an event's lease may have its effect outside the database; who has
-- lost it must not.
create table lease (
  listener text not null,
  event_id blob not null,
  holder   blob not null,
  until    text not null,
  primary key (listener, event_id)
);
create index lease_by_age on lease (until);

-- The embedded broker's consumers, as far as they have shown a sign of life.
create table broker_consumer (
  id         blob not null primary key,
  queue      text not null,
  -- gone when nobody has refreshed it until then
  expires_at text not null
);

-- Since when each listener is there: what was published before is not its business.
create table listener (
  name  text not null primary key,
  since text not null
);
