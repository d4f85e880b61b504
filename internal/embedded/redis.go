package embedded

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// Redis is a server that keeps everything in memory. When it ends, everything
// is gone; a queue may lose its content at any moment.
type Redis struct {
	server *miniredis.Miniredis
}

// StartRedis starts a server on a free loopback port. It ends with Close, not
// with ctx, because its users acknowledge their last messages while they stop.
// Its keys never expire by themselves.
func StartRedis(ctx context.Context) (*Redis, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	return &Redis{server}, nil
}

// URL is the server's address: redis://127.0.0.1:PORT.
func (r *Redis) URL() string { return "redis://" + r.server.Addr() }

// Close ends the server; a second call does nothing.
func (r *Redis) Close() { r.server.Close() }
