package blob

// Event is one notification of a created object. It is a hint: at least once,
// unordered, sometimes lost.
type Event struct {
	Name    string // such as ObjectCreated:Put, without "s3:"
	Bucket  string
	Key     string // decoded
	ETag    string // without quotes
	Version string // '' where the bucket keeps none
	Size    int64
}
