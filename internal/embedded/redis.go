package embedded

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a server that keeps everything in memory. When it ends, everything
// is gone; a queue may lose its content at any moment.
type Redis struct {
	server   *miniredis.Miniredis
	password string
}

// StartRedis starts a server on a free loopback port, with a password that is drawn
// each time: loopback is open to every user of the machine. The server ends with Close, not
// with ctx, because its users acknowledge their last messages while they stop.
// Its keys never expire by themselves.
func StartRedis(ctx context.Context) (*Redis, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	server, password := miniredis.NewMiniRedis(), rand.Text()
	server.RequireAuth(password)
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	return &Redis{server, password}, nil
}

// URL is the server's address with its password, redis://:PASSWORD@127.0.0.1:PORT. It
// is not to be logged.
func (r *Redis) URL() string { return "redis://:" + r.password + "@" + r.server.Addr() }

// Close ends the server; a second call does nothing.
func (r *Redis) Close() { r.server.Close() }
