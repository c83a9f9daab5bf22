-- Budgets count since what these columns counted; no program that runs on this schema reads or writes them.
alter table users drop column reminded_at;
alter table users drop column reminded_for;
