CREATE TABLE IF NOT EXISTS account_audit (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  happened_at BIGINT NOT NULL,
  action VARBINARY(32) NOT NULL,
  user_id VARBINARY(36) NOT NULL,
  key_id VARBINARY(36) NOT NULL,
  subject VARBINARY(100) NOT NULL,
  outcome VARBINARY(64) NOT NULL,
  network VARBINARY(64) NOT NULL,
  UNIQUE (happened_at, id),
  UNIQUE (user_id, happened_at, id)
);
