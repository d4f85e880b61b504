package mp4

// Reason says, in a stable word, why a track's bytes cannot be read by
// themselves. It is an error.
type Reason string

// Reasons. With any of them the source may still be a good file.
const (
	NotMP4      Reason = "not_mp4"
	NoIndex     Reason = "no_index"        // no whole moov box
	LargeIndex  Reason = "large_index"     // a moov box beyond MaxIndex, or too many chunks
	Malformed   Reason = "malformed_index" // it contradicts itself
	Compressed  Reason = "compressed_index"
	Fragmented  Reason = "fragmented" // more samples may follow in moof boxes
	Encrypted   Reason = "encrypted"
	External    Reason = "external_data" // the samples are in another file
	NoSamples   Reason = "no_samples"
	SampleSizes Reason = "sample_sizes" // the size of a sample is unknown
	Unordered   Reason = "unordered"    // chunks overlap or go back in the file
	Truncated   Reason = "truncated"    // chunks lie beyond the end of the file
	Edited      Reason = "edit_list"    // the pictures are shown in pieces
	SyncSamples Reason = "sync_samples" // the sync samples of the pictures are unknown
	Silent      Reason = "silent_codec" // a decoder of the pictures would not report a hole
	Dense       Reason = "dense_part"   // the wanted part is most of the file
)

// Error is the word.
func (r Reason) Error() string { return string(r) }
