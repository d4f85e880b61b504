package server

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// FerretDB starts a server of the MongoDB protocol behind a serialising proxy.
func (s *Scratch) FerretDB(ctx context.Context) (*Server, error) {
	root, err := Repository()
	if err != nil {
		return nil, err
	}
	path, err := built(ctx, "ferretdb", filepath.Join(root, "test", "ferretdb"))
	if err != nil {
		return nil, err
	}
	dir, err := s.Folder("ferretdb")
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, "27017")
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(s.Host, port)
	p, err := s.start("ferretdb", func() (*exec.Cmd, error) {
		cmd := lasting(ctx, path, "-dir", dir, "-listen", addr)
		_, err := cmd.StdinPipe() // FerretDB ends when its standard input does
		return cmd, err
	})
	if err != nil {
		return nil, err
	}
	uri := "mongodb://" + addr + "/"
	v := &Server{Process: p, Addr: addr, Dir: dir, Env: []string{"TONEARM_TEST_FERRETDB=" + uri}}
	v.ask = func(ctx context.Context) error {
		client, err := mongo.Connect(options.Client().ApplyURI(uri))
		if err != nil {
			return err
		}
		defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }()
		return client.Ping(ctx, nil)
	}
	return v, v.Answers(ctx, v.ask)
}
