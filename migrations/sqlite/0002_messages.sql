-- What happened, written in the transaction that made it true. The log of truth: the broker only carries it.
create table outbox (
  id            blob not null primary key,
  type          text not null,
  body          text not null,
  traceparent   text,
  created_at    text not null,
  -- not published before then
  due_at        text not null,
  published_at  text,
  -- a relay has it until then; past that another one may take it
  claimed_until text,
  attempts      integer not null,
  last_error    text
);
-- small, however long the table: only what is still to be published
create index outbox_due on outbox (due_at, id) where published_at is null;
create index outbox_published on outbox (published_at) where published_at is not null;

-- What each listener has done, so that a repeat does nothing.
create table inbox (
  listener text not null,
  event_id blob not null,
  seen_at  text not null,
  primary key (listener, event_id)
);
create index inbox_by_age on inbox (seen_at);

-- The embedded broker: exchanges, queues and bindings as on RabbitMQ, messages with leases.
create table broker_exchange (
  name text not null primary key,
  kind text not null
);

create table broker_queue (
  name       text not null primary key,
  kind       text not null,
  -- for queues that wait: how long, in microseconds, before a message goes on through the retry exchange
  ttl_us     bigint,
  -- for the queues of running nodes: gone when nobody has refreshed it until then
  expires_at text
);

create table broker_binding (
  source      text not null,
  routing_key text not null,
  target_kind text not null,
  target      text not null,
  primary key (source, routing_key, target_kind, target)
);

create table broker_message (
  id           blob not null primary key,
  queue        text not null references broker_queue (name) on delete cascade,
  message_id   blob not null,
  routing_key  text not null,
  type         text not null,
  body         text not null,
  traceparent  text,
  attempt      integer not null,
  failed_queue text,
  reason       text,
  first_at     text,
  last_at      text,
  enqueued_at  text not null,
  -- not handed out before then
  available_at text not null,
  -- somebody has it until then
  leased_until text,
  lease        blob,
  deliveries   integer not null
);
create index broker_message_ready on broker_message (queue, available_at, id);
