-- Whether the session outlives the browser, and has no idle limit.
alter table sessions add column kept boolean not null default false;

-- What a person has signed in with: a code of the cookie that a browser keeps, and one of its program and network.
create table known_devices (
  user_id blob not null references users (id) on delete cascade,
  mark    blob not null,
  -- to the day
  seen_at text not null,
  primary key (user_id, mark)
);
create index known_devices_by_age on known_devices (seen_at);

-- The sign-ins that a person is warned of by mail. The link there ends the session, and works as well when that has ended.
create table warned_sign_ins (
  session_id blob not null primary key,
  user_id    blob not null references users (id) on delete cascade,
  created_at text not null
);
create index warned_sign_ins_by_user on warned_sign_ins (user_id);
create index warned_sign_ins_by_age on warned_sign_ins (created_at);
