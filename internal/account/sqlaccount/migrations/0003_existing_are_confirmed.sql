-- Accounts that are there count as confirmed.
UPDATE users SET confirmed_at = created_at WHERE confirmed_at = 0;
