package ffmpeg

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// cpuTime is how much CPU time a process has used; 0 where that is not known.
func cpuTime(pid int) time.Duration {
	const user, system, tick = 11, 12, 10 * time.Millisecond // proc(5): the 14th and 15th field, in units of USER_HZ
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name may hold anything
	if len(fields) <= system {
		return 0
	}
	used := int64(0)
	for _, i := range []int{user, system} {
		n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
		used += n
	}
	return time.Duration(used) * tick
}
