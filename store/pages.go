package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"

	"go.etcd.io/bbolt"
)

// bbolt keeps checksums of its two meta pages only, and trusts every other page:
// one that points back to where it came from makes it loop for ever, and a
// wrong list of free pages makes it overwrite what is in use. Neither can be
// recovered from, so the tree of pages is walked once, before the file is opened
// for writing. The layout is that of bbolt's file format, version 2, which is
// fixed: a header of 16 bytes (id, flags, count, overflow), then elements of 16
// bytes, in the byte order of the machine.

const (
	pageHeader  = 16
	pageElement = 16
	pageBranch  = 0x01
	pageLeaf    = 0x02
	pageFree    = 0x10
	leafBucket  = 0x01
	noFreelist  = ^uint64(0)
)

type walker struct {
	file io.ReaderAt
	size int    // of a page
	high uint64 // the first page that was never used
	seen []bool
	buf  []byte
}

// checkPages walks every page that the transaction can reach, and the list of
// free ones.
func checkPages(tx *bbolt.Tx, file io.ReaderAt) error {
	size := tx.DB().Info().PageSize
	w := &walker{file: file, size: size, high: uint64(tx.Size()) / uint64(size)} //nolint:gosec // sizes are positive
	w.seen = make([]bool, w.high)
	if err := w.tree(uint64(tx.Cursor().Bucket().Root())); err != nil {
		return err
	}
	return w.freelist(uint64(tx.ID())) //nolint:gosec // as stored
}

// page reads a page with what overflows from it, into the one buffer. No page
// is read twice.
func (w *walker) page(id uint64) (buf []byte, flags uint16, count int, err error) {
	if id < 2 || id >= w.high {
		return nil, 0, 0, damaged("page %d of %d is asked for. Restore a backup", id, w.high)
	}
	read := func(pages uint64) error {
		n := w.size * int(pages) //nolint:gosec // below the file's size
		w.buf = slices.Grow(w.buf[:0], n)[:n]
		if _, err := w.file.ReadAt(w.buf, int64(id)*int64(w.size)); err != nil { //nolint:gosec // below the file's size
			return damaged("page %d cannot be read: %v", id, err)
		}
		return nil
	}
	if err := read(1); err != nil {
		return nil, 0, 0, err
	}
	overflow := uint64(binary.NativeEndian.Uint32(w.buf[12:]))
	if binary.NativeEndian.Uint64(w.buf) != id || overflow >= w.high-id {
		return nil, 0, 0, damaged("page %d is not what was written there. Restore a backup", id)
	}
	for i := id; i <= id+overflow; i++ {
		if w.seen[i] {
			return nil, 0, 0, damaged("page %d is used twice. Restore a backup", i)
		}
		w.seen[i] = true
	}
	if overflow > 0 {
		if err := read(overflow + 1); err != nil {
			return nil, 0, 0, err
		}
	}
	return w.buf, binary.NativeEndian.Uint16(w.buf[8:]), int(binary.NativeEndian.Uint16(w.buf[10:])), nil
}

// tree walks a page and all below it.
func (w *walker) tree(id uint64) error {
	buf, flags, count, err := w.page(id)
	if err != nil {
		return err
	}
	switch {
	case flags == pageLeaf:
		return w.leaf(id, buf, count)
	case flags != pageBranch || count == 0 || pageHeader+count*pageElement > len(buf):
		return damaged("page %d is of no kind that belongs there. Restore a backup", id)
	}
	// What lies below is read into the same buffer.
	children := make([]uint64, count)
	var last []byte
	for i := range children {
		at := pageHeader + i*pageElement
		key := part(buf, at, binary.NativeEndian.Uint32(buf[at:]), binary.NativeEndian.Uint32(buf[at+4:]))
		if key == nil || (i > 0 && bytes.Compare(last, key) >= 0) {
			return senseless(id)
		}
		last, children[i] = key, binary.NativeEndian.Uint64(buf[at+8:])
	}
	for _, child := range children {
		if err := w.tree(child); err != nil {
			return err
		}
	}
	return nil
}

// leaf walks the keys and values of a leaf, and the buckets among them.
func (w *walker) leaf(id uint64, buf []byte, count int) error {
	if pageHeader+count*pageElement > len(buf) {
		return senseless(id)
	}
	var roots []uint64
	var last []byte
	for i := range count {
		at := pageHeader + i*pageElement
		pos, ksize, vsize := binary.NativeEndian.Uint32(buf[at+4:]), binary.NativeEndian.Uint32(buf[at+8:]), binary.NativeEndian.Uint32(buf[at+12:])
		both := part(buf, at, pos, uint64(ksize)+uint64(vsize))
		if both == nil || (i > 0 && bytes.Compare(last, both[:ksize]) >= 0) {
			return senseless(id)
		}
		last = both[:ksize]
		if binary.NativeEndian.Uint32(buf[at:])&leafBucket == 0 {
			continue
		}
		value := both[ksize:]
		if len(value) < 16 {
			return senseless(id)
		}
		if root := binary.NativeEndian.Uint64(value); root != 0 {
			roots = append(roots, root)
			continue
		}
		inline := value[16:] // a small bucket lies within the page, as a page of its own
		if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != pageLeaf {
			return senseless(id)
		}
		if err := w.leaf(id, inline, int(binary.NativeEndian.Uint16(inline[10:]))); err != nil {
			return err
		}
	}
	for _, root := range roots {
		if err := w.tree(root); err != nil {
			return err
		}
	}
	return nil
}

// part answers what an element says lies pos bytes after its own beginning; nil
// if that is not within the page.
func part[N uint32 | uint64](buf []byte, at int, pos uint32, n N) []byte {
	from := uint64(at) + uint64(pos) //nolint:gosec // positive
	if pos < pageElement || from+uint64(n) > uint64(len(buf)) {
		return nil
	}
	return buf[from : from+uint64(n)]
}

func senseless(id uint64) error { return damaged("page %d makes no sense. Restore a backup", id) }

// freelist wants the list of free pages to name none that is in use. Which page
// it is stands in the meta page of the transaction.
func (w *walker) freelist(txid uint64) error {
	id := noFreelist
	for _, at := range []int64{0, int64(w.size)} {
		meta := make([]byte, pageHeader+64)
		if _, err := w.file.ReadAt(meta, at); err != nil {
			return damaged("a meta page cannot be read: %v", err)
		}
		if binary.NativeEndian.Uint64(meta[pageHeader+48:]) == txid {
			id = binary.NativeEndian.Uint64(meta[pageHeader+32:])
			break
		}
	}
	if id == noFreelist {
		return nil
	}
	buf, flags, count, err := w.page(id)
	if err != nil {
		return err
	}
	ids := buf[pageHeader:]
	n := uint64(count)   //nolint:gosec // positive
	if count == 0xFFFF { // then the real number stands first
		n, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if flags != pageFree || n > uint64(len(ids)/8) {
		return damaged("the list of free pages makes no sense. Restore a backup")
	}
	for i := range n {
		free := binary.NativeEndian.Uint64(ids[i*8:])
		if free < 2 || free >= w.high || w.seen[free] {
			return damaged("page %d is both free and in use. Restore a backup", free)
		}
		w.seen[free] = true
	}
	return nil
}
