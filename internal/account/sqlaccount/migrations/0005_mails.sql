-- Mails that are owed, and how far they got. slot numbers the mails to one
-- mailbox in one hour, so that there can be only so many. A mail in state decoy
-- is for nobody: it makes an unknown address cost what a known one costs.
CREATE TABLE IF NOT EXISTS account_mails (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  user_id VARBINARY(36) NOT NULL,
  recipient VARBINARY(254) NOT NULL,
  mailbox VARBINARY(254) NOT NULL,
  slot BIGINT NOT NULL,
  kind VARBINARY(32) NOT NULL,
  language VARBINARY(8) NOT NULL,
  token VARBINARY(2048) NOT NULL,
  state VARBINARY(16) NOT NULL,
  tries BIGINT NOT NULL,
  owed_since BIGINT NOT NULL,
  not_before BIGINT NOT NULL,
  claimed_until BIGINT NOT NULL,
  sent_at BIGINT NOT NULL,
  reason VARBINARY(512) NOT NULL,
  UNIQUE (mailbox, slot),
  UNIQUE (user_id, id),
  UNIQUE (state, owed_since, id)
);
