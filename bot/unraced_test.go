//go:build !race

package bot_test

const often = 1
