// Package upgrade shows that an upgrade and the way back lose nothing and do
// nothing twice. Programs of an earlier commit make files in every state there
// is, half-sent and half-converted ones too; the programs of the working tree
// bring them to their ends, and the other way round: on the data directory of
// `tonearm up`, and as services on the real servers, where old and new replicas
// run side by side meanwhile.
//
// It runs where TONEARM_TEST_UPGRADE is set: make upgrade-test.
package upgrade
