package server

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Redis starts Redis without a password. It saves nothing by itself, and loads
// dump.rdb from its folder when it starts.
func (s *Scratch) Redis(ctx context.Context) (*Server, error) {
	path, err := program("redis-server", "redis-server", "redis")
	if err != nil {
		return nil, err
	}
	dir, err := s.Folder("redis")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "6379")
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.Host, port)
	p, err := s.Run(ctx, "redis-server", path, []string{"--bind", s.Host, "--protected-mode", "no", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "no"})
	if err != nil {
		return nil, err
	}
	logging.Disable()
	v := &Server{Process: p, Addr: addr, Dir: dir, Env: []string{"TONEARM_TEST_REDIS=" + addr}}
	v.ask = func(ctx context.Context) error {
		client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
		defer func() { _ = client.Close() }()
		return client.Ping(ctx).Err()
	}
	return v, v.Answers(ctx, v.ask)
}
