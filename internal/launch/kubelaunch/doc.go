// Package kubelaunch runs attempts as Kubernetes Jobs, one for each.
//
// # A Job
//
// [Job] says all there is to know about one. Its pod passes Pod Security
// "restricted", has no service account token, a read-only root and a private
// directory on the node's disk, sized from the source. There is one pod and no
// second try, because attempts are counted by whoever launches them. The
// deadline is the pod's: a Job's own one would run while the pod waits for a node.
//
// The container gets
//
//	TONEARM_DISPATCHER_URL      where to claim and report
//	TONEARM_CONVERSION_ID
//	TONEARM_ATTEMPT_TOKEN
//	TONEARM_WORK_DIR            a directory to make below the private volume
//	TONEARM_MEMORY_LIMIT_BYTES  of ffmpeg: the class's limit less 128 MiB for the transcoder
//
// # Where the token is
//
// In the pod template's environment, so that whoever may read Jobs or pods in
// the namespace can read it. A Secret would keep it from them, at the price of
// the right to write Secrets, and of a second object that cannot appear
// together with the Job: made before, a crash leaves it behind without an
// owner; made after, as the owner's UID demands, the pod may find it missing
// and waits for the kubelet's next look. The token is worth little: it is good
// for one attempt, while that is the current one, and once its pod has claimed
// it, which it does first of all, a second claim is refused and no other call
// is taken without the claimant's nonce. So the namespace has no Secrets at
// all. Let nobody but the dispatcher and administrators read Jobs and pods
// there, not even by the built-in role "view".
//
// # Permissions
//
// In the Jobs' namespace, which belongs to one dispatcher, and nowhere else:
//
//	batch  jobs  create, list, watch, delete
//	""     pods  list, watch
//
// # How an attempt ends
//
// What runs and what has ended is read from two informers, never counted. An
// attempt has ended when its pod has, about a second before its Job says so. An
// End is repeated every half minute until Stop has deleted the Job;
// ttlSecondsAfterFinished stands behind that.
//
//   - Exited: the container ended by itself. Killed: by a signal, or because it
//     used more disk than its volume may hold.
//   - OutOfMemory, Deadline: the kubelet says so.
//   - Disrupted: evicted, preempted, drained, its node lost or restarted, its
//     pod or Job deleted by somebody else. A pod whose node does not answer is
//     given up half a minute after its deletion was due.
//   - NotStarted: no container ran within StartTimeout. The detail is the
//     scheduler's or the kubelet's message.
//
// # When the API server cannot be reached
//
// Attempts go on. Running tells what was known last, Watch tells of ends once
// the server is back, Start and Stop fail. New does not need it; Running, Stop
// and Watch wait until everything was read once.
package kubelaunch
