-- Facts about this installation, by name.
create table installation (
  name  text not null primary key,
  value text not null
);
