-- PostgreSQL has to be told when to look for room that is free again; SQLite uses free pages at once.
select 1;
