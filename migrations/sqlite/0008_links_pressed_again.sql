-- A registration that was confirmed stays until its time is over: whoever presses its link again is told so. The user it became.
alter table registrations add column confirmed_user blob;
-- Where the person wanted to go, a path of ours.
alter table registrations add column next text;
-- A form that is sent twice is one registration: the browser's token follows from the form.
create unique index registrations_by_token on registrations (browser_hash);
drop index registrations_by_browser;
-- The session that a sign-in began.
alter table login_log add column session_id blob;
