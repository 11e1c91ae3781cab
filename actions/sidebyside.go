package actions

import "sync"

// sideBySide runs functions at the same time and waits for all of them. What is
// read does not depend on each other, and people wait for the slowest call, not
// for the sum.
func sideBySide(work ...func()) {
	var wg sync.WaitGroup
	for _, f := range work {
		wg.Go(f)
	}
	wg.Wait()
}
