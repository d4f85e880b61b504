-- Accounts whose address, language or mail setting changed, until all of their
-- conversions say so.
CREATE TABLE IF NOT EXISTS account_changes (
  user_id VARBINARY(36) NOT NULL PRIMARY KEY,
  changed_at BIGINT NOT NULL
);
