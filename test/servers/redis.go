package main

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func startRedis(ctx context.Context, s *scratch) ([]string, error) {
	path, err := program("redis-server", "redis-server", "redis")
	if err != nil {
		return nil, err
	}
	dir, err := s.folder("redis")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "6379")
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.host, port)
	p, err := s.start("redis-server", lasting(ctx, path, "--bind", s.host, "--protected-mode", "no", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "no"))
	if err != nil {
		return nil, err
	}
	logging.Disable()
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	if err := p.answers(ctx, func(ctx context.Context) error { return client.Ping(ctx).Err() }); err != nil {
		return nil, err
	}
	return []string{"TONEARM_TEST_REDIS=" + addr}, nil
}
