-- Accounts that are being deleted, until their rows go. They are looked for every
-- few seconds; this finds them without reading all users.
CREATE TABLE IF NOT EXISTS account_deletions (
  user_id VARBINARY(36) NOT NULL PRIMARY KEY
);
REPLACE INTO account_deletions (user_id) SELECT id FROM users WHERE deleted_at > 0;
