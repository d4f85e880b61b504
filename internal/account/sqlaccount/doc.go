// Package sqlaccount keeps users in MySQL or MariaDB, and in SQLite on a
// laptop, with the same SQL.
//
// A handle is opened without contacting anything; [Store.Prepare] brings the
// schema up to date and may be called by every replica at every start. The
// account in the DSN needs SELECT, INSERT and UPDATE on the table users, and
// CREATE and ALTER besides where Prepare is to be called with it.
//
// Passwords are kept as argon2id in PHC strings, which carry their own
// parameters: a hash that is weaker than [DefaultParams] is replaced at the next
// login. Not more hashes are computed at once than there are CPUs; each takes
// 19 MiB.
package sqlaccount
