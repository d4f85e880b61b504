package transcoder

import (
	"errors"
	"fmt"
	"syscall"

	"tonearm/internal/conversion"
	"tonearm/internal/media/ffmpeg"
)

// diskErrors and memoryErrors are what the system says if the machine, and not
// the file, is the reason.
var (
	diskErrors   = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EACCES, syscall.EPERM}
	memoryErrors = []syscall.Errno{syscall.ENOMEM, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE}
)

// faultOf says which fault of this machine err comes from; empty for none.
func (w *worker) faultOf(err error) conversion.WaitReason {
	is := func(errnos []syscall.Errno) bool {
		for _, e := range errnos {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	var f *failure
	switch {
	case errors.As(err, &f):
		return f.fault
	case is(memoryErrors):
		return conversion.FaultMemory
	case errors.Is(err, ffmpeg.ErrCannotRun):
		return conversion.FaultFFmpeg
	case is(diskErrors), errors.Is(err, ffmpeg.ErrNoSpace) && w.diskFull():
		return conversion.FaultDisk
	}
	return ""
}

// diskFull reports whether the disk has hardly any space left.
func (w *worker) diskFull() bool {
	var st syscall.Statfs_t
	return syscall.Statfs(w.dir, &st) != nil || st.Bavail*uint64(st.Bsize) < diskSlack
}

// storeError is the failure of an attempt that could not reach the object store
// for longer than its patience.
func storeError(err error) *failure {
	f := retryable(conversion.CodeStore, err, "The converter could not reach the object store.")
	f.fault = conversion.FaultStore
	return f
}

func diskError(err error) *failure {
	f := retryable(conversion.CodeInternal, err, "The converter's disk is full or broken.")
	f.fault = conversion.FaultDisk
	return f
}

// usualDisk is how many bytes a disk has at least that is meant for videos.
const usualDisk = 4 * diskSlack

// checkDiskSpace checks that the disk has room for that many bytes of the
// source. If a disk of usual size had none even if it were empty, the machine is
// not at fault.
func (w *worker) checkDiskSpace(size int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(w.dir, &st); err != nil {
		return diskError(err)
	}
	need := uint64(size) + diskSlack
	free, all := st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
	if free >= need {
		return nil
	}
	f := retryable(conversion.CodeInternal, nil, "The converter's disk has no space for the video (%d bytes).", size)
	f.err = fmt.Errorf("%d bytes free in the working directory", free)
	if all < usualDisk || all > uint64(size) {
		f.fault = conversion.FaultDisk
	}
	return f
}
