// Package kubelaunch runs attempts as Kubernetes Jobs, one Job for each
// attempt.
//
// # A Job
//
// [Job] holds all that a Job is made of. The pod passes Pod Security
// "restricted". It has no service account token, a read-only root file system
// and a private directory on the node's disk, sized from the source. A Job has
// one pod and no second try, because whoever launches attempts counts them. The
// deadline is set on the pod: a Job's own deadline would also run while the pod
// waits for a node.
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
// The token is in the environment of the pod template, so whoever may read Jobs
// or pods in the namespace can read it. A Secret would hide it from them. But
// then the launcher would need the right to write Secrets, and the Secret
// cannot appear together with the Job. If it is made before the Job, a crash
// leaves it behind without an owner. If it is made after the Job, as the
// owner's UID demands, the pod may find it missing, and waits for the kubelet's
// next look.
//
// The token is worth little. It is good for one attempt, and only while that
// attempt is the current one. The pod claims the attempt first of all. From
// then on a second claim is refused, and no other call is accepted without the
// nonce of the claim. So the namespace has no Secrets at all. Let nobody but
// the dispatcher and administrators read Jobs and pods there, not even by the
// built-in role "view".
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
// Two informers show what runs and what has ended; nothing is counted. An
// attempt has ended when its pod has, about a second before its Job says so. An
// End is repeated every half minute until Stop has deleted the Job. If that
// never happens, ttlSecondsAfterFinished deletes it.
//
//   - Exited: the container ended by itself.
//   - Killed: a signal ended it, or it used more disk than its volume may hold.
//   - OutOfMemory, Deadline: the kubelet says so.
//   - Disrupted: the pod was evicted, preempted or drained, its node was lost
//     or restarted, or somebody else deleted the pod or the Job. If a node does
//     not answer, its pod is given up half a minute after its deletion was due.
//   - NotStarted: the container could not be made within StartTimeout, because
//     of its image or its configuration. The detail is the kubelet's message.
//
// An attempt that waits for something else has not ended, however long it takes:
// for a node, for a quota of pods, for a controller that suspends Jobs or gates
// pods. Running says what it waits for.
//
// A Job's name follows from its attempt, so an attempt that is started twice has
// one Job, and its launch id is not used.
//
// # When the API server cannot be reached
//
// Attempts go on. Running shows what was known last, Watch reports ends once
// the server is back, Start and Stop fail. New does not need the server;
// Running, Stop and Watch wait until everything was read once.
package kubelaunch
