-- A row of the outbox is written three times: appended, claimed, marked. With room on its page the claim touches no index, and
-- what it leaves behind is cleared away when the page is next looked at.
alter table outbox set (fillfactor = 50);
