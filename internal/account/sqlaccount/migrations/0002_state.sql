-- Gateways of the version before insert rows without these columns. Such an
-- account counts as unproven.
ALTER TABLE users ADD COLUMN confirmed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN proven_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN language VARBINARY(8) NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN mails VARBINARY(16) NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN is_admin BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN deleted_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN unproven_conversions BIGINT NOT NULL DEFAULT 0;
