-- A registration of an address that has an account writes a row here, in the
-- shape of a new user's, so that it costs what any other costs.
CREATE TABLE IF NOT EXISTS account_decoys (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  email VARBINARY(254) NOT NULL UNIQUE,
  password_hash VARBINARY(255) NOT NULL,
  max_upload_bytes BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  confirmed_at BIGINT NOT NULL,
  language VARBINARY(8) NOT NULL,
  is_admin BIGINT NOT NULL
);
