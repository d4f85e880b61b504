// Package sqlaccount keeps users in MySQL or MariaDB, and in SQLite on a
// laptop, with the same SQL.
//
// Opening a handle contacts no server. [Store.Prepare] brings the schema up to
// date and may be called by every replica at every start. A gateway's account in
// the DSN needs SELECT, INSERT, UPDATE and DELETE on the tables users and
// account_*. To call Prepare it also needs CREATE and ALTER. A notifier's needs
// SELECT and UPDATE on account_mails, and nothing else.
//
// Passwords are kept as argon2id in PHC strings, which carry their own
// parameters. A hash that is weaker than [DefaultParams] is replaced at the
// next login. At most as many hashes are computed at once as there are CPUs;
// each takes 19 MiB.
package sqlaccount
