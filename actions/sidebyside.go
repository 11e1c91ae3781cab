package actions

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// sideBySide runs functions at the same time and waits for all of them. What is
// read does not depend on each other, and people wait for the slowest call, not
// for the sum.
//
// A panic in one of them comes out in the caller's goroutine, where the worker
// catches it: in a goroutine of its own it would end the process, and with it
// every closing that is under way.
func sideBySide(work ...func()) {
	var (
		wg    sync.WaitGroup
		first sync.Once
		fault error
	)
	for _, f := range work {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					first.Do(func() { fault = fmt.Errorf("%v\n%s", p, debug.Stack()) })
				}
			}()
			f()
		})
	}
	wg.Wait()
	if fault != nil {
		panic(fault)
	}
}
