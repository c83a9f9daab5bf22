-- Nothing here: SQLite writes a changed row where it was.
select 1;
