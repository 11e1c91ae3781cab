//go:build !unix

package main

import "io/fs"

// ownerOf is the user that a file belongs to, where the system tells.
func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }
