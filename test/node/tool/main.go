// Command tool is what the node's own images hold.
//
//	tool pause                         process 1 of a pod's sandbox
//	tool dial [-timeout 2s] ADDR…      says of each host:port whether TCP reaches it;
//	                                   exits with 1 unless all are reached
//	tool listen ADDR                   a TCP server that hangs up on whoever comes
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == "dial" {
		os.Exit(dial(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == "listen" {
		fmt.Fprintln(os.Stderr, "tool:", listen(os.Args[2]))
		os.Exit(1)
	}
	if len(os.Args) == 2 && os.Args[1] == "pause" {
		pause()
		return
	}
	fmt.Fprintln(os.Stderr, "usage: tool pause | tool dial [-timeout 2s] ADDR... | tool listen ADDR")
	os.Exit(2)
}

// pause waits for a signal and buries the orphans that process 1 inherits.
func pause() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

// dial prints "reached ADDR" or "refused ADDR: why" for each address.
func dial(args []string) (status int) {
	flags := flag.NewFlagSet("dial", flag.ExitOnError)
	timeout := flags.Duration("timeout", 2*time.Second, "for each address, with its name's look-up")
	_ = flags.Parse(args)
	for _, addr := range flags.Args() {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		cancel()
		if err != nil {
			fmt.Printf("refused %s: %v\n", addr, err)
			status = 1
			continue
		}
		c.Close()
		fmt.Printf("reached %s\n", addr)
	}
	return status
}

func listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err == nil {
			c.Close()
		}
	}
	return err
}
