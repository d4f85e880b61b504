// Package upgrade shows that an upgrade and a downgrade lose nothing and do
// nothing twice. Programs of an earlier commit make files in every possible
// state, also half-sent and half-converted. The programs of the working tree
// bring these files to their ends. Then the same is done in the other
// direction. It runs on the data directory of `tonearm up`, and as services on
// the real servers. There old and new replicas run side by side meanwhile.
//
// It runs where TONEARM_TEST_UPGRADE is set: make upgrade-test.
package upgrade
