package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
)

func startFerretDB(ctx context.Context, s *scratch) ([]string, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	path, err := built(ctx, "ferretdb", filepath.Join(root, "test", "ferretdb"))
	if err != nil {
		return nil, err
	}
	dir, err := s.folder("ferretdb")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "27017")
	if err != nil {
		return nil, err
	}
	cmd := lasting(ctx, path, "-dir", dir, "-listen", net.JoinHostPort(s.host, port))
	if _, err := cmd.StdinPipe(); err != nil { // FerretDB ends when its standard input does
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := s.start("ferretdb", cmd)
	if err != nil {
		return nil, err
	}
	lines := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		lines <- strings.TrimSpace(line)
	}()
	uri := ""
	err = p.answers(ctx, func(ctx context.Context) error {
		select {
		case uri = <-lines:
		case <-ctx.Done():
		}
		if uri == "" {
			return errors.New("no URI printed")
		}
		return nil
	})
	return []string{"TONEARM_TEST_FERRETDB=" + uri}, err
}
