-- limits are a user's own quotas as JSON, '' for the service's.
ALTER TABLE users ADD COLUMN limits VARBINARY(1024) NOT NULL DEFAULT '';
-- What the conversions of a user that were made on one day take. It follows from
-- the records; dispatchers keep it up to date. A day is its number since 1970.
CREATE TABLE IF NOT EXISTS account_usage (
  user_id VARBINARY(36) NOT NULL,
  day_number BIGINT NOT NULL,
  conversions BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  sound_ms BIGINT NOT NULL,
  stored BIGINT NOT NULL,
  counted_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, day_number)
);
