package cage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"
)

// Look says which measures hold on this machine for a program, and which do not.
func Look(ctx context.Context, path string, gpu bool) ([]Taken, error) {
	o := order{Cage: Cage{CPU: time.Minute, GPU: gpu}, Path: path, Kept: 3, Parent: os.Getpid(), Ask: true}
	var err error
	if o.Program, err = inspect(path); err != nil {
		return nil, err
	}
	runtime.LockOSThread() // the child ends with the thread that started it
	defer runtime.UnlockOSThread()
	cmd, err := o.command(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	cmd.Env = []string{}
	out, err := cmd.Output()
	var taken []Taken
	if err == nil {
		err = json.Unmarshal(out, &taken)
	}
	if err != nil {
		return nil, fmt.Errorf("look at what confines %s: %w", path, err)
	}
	return taken, nil
}
