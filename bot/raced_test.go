//go:build race

package bot_test

// often is how far apart the power cuts and faults are that are played under the
// race detector, which makes each story several times slower: what it finds does not
// depend on the very call. Without it every single one is played.
const often = 5
