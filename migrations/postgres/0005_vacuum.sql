-- Rows of these tables come and go by the million. By default a fifth of a table may be dead before it is looked at, and the work
-- then rests every few pages: room that is free again is found too late, and the tables grow. Here it is found after 10,000 rows.
alter table outbox set
  (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
alter table inbox set
  (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
alter table broker_message set
  (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);
