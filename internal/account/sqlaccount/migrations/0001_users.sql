-- VARBINARY compares byte by byte in every dialect: MySQL's text collations
-- would take two addresses that differ in an accent for one.
CREATE TABLE IF NOT EXISTS users (
  id VARBINARY(36) NOT NULL PRIMARY KEY,
  email VARBINARY(254) NOT NULL UNIQUE,
  password_hash VARBINARY(255) NOT NULL,
  max_upload_bytes BIGINT NOT NULL,
  created_at BIGINT NOT NULL
);
