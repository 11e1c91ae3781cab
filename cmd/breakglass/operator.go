package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"breakglass/store/grant"
)

// Who gives a command on this machine is what the system says: for one that comes
// through the socket the kernel's word about the other end, and for one that works
// on the database this process's own user. Nothing of it is asked of the command.

type peerKey struct{}

// withPeer notes who is at the other end of a connection (http.Server.ConnContext).
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	uid, known := peerOf(conn)
	if !known {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// caller is who sent a request to the desk.
func caller(ctx context.Context) grant.Actor {
	uid, known := ctx.Value(peerKey{}).(int)
	if !known {
		// The socket's mode lets in its owner and root, and nobody else.
		return grant.Actor{Kind: grant.Operator, Name: fmt.Sprintf("who may use the socket of uid %d", os.Geteuid())}
	}
	return grant.Actor{Kind: grant.Operator, Name: userName(ctx, uid)}
}

// myself is who runs this process.
func myself(ctx context.Context) grant.Actor {
	return grant.Actor{Kind: grant.Operator, Name: userName(ctx, os.Getuid())}
}

// namePatience is how long the system may take to say a user's name. Where names
// come over the network, access must not stay open because that is down.
const namePatience = time.Second

// userName is a user for the audit log: the number is the fact, the name is what the
// system calls it now.
func userName(ctx context.Context, uid int) string {
	number := strconv.Itoa(uid)
	found := make(chan string, 1)
	go func() {
		name := ""
		if u, err := user.LookupId(number); err == nil {
			name = grant.Clean(u.Username, 64)
		}
		found <- name
	}()
	ctx, cancel := context.WithTimeout(ctx, namePatience)
	defer cancel()
	name := ""
	select {
	case name = <-found:
	case <-ctx.Done():
	}
	if name == "" {
		return "uid " + number
	}
	return fmt.Sprintf("%s (uid %s)", name, number)
}
