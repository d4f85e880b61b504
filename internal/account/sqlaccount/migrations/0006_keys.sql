-- API keys; hash is the SHA-256 of the secret, which is not kept.
CREATE TABLE IF NOT EXISTS account_keys (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  user_id VARBINARY(36) NOT NULL,
  name VARBINARY(100) NOT NULL,
  scopes VARBINARY(64) NOT NULL,
  hash VARBINARY(32) NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  UNIQUE (user_id, id)
);
