//go:build race

package bot_test

// often is how far apart the power cuts are that are played under the race detector, which
// makes each story several times slower: what it finds does not depend on the call
// at which the power is cut. Without it every single one is played.
const often = 5
