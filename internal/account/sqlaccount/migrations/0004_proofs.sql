-- What a link in a mail proves. It goes when it is used.
CREATE TABLE IF NOT EXISTS account_proofs (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  user_id VARBINARY(36) NOT NULL,
  kind VARBINARY(16) NOT NULL,
  email VARBINARY(254) NOT NULL,
  expires_at BIGINT NOT NULL,
  UNIQUE (user_id, id),
  UNIQUE (expires_at, id)
);
