// Package contract is what both Go programs share: flags, the input file, one JSON line a result.
package contract

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	mismatchesShownMax = 5
	// IdleMax ends a verification to which nothing arrives any more.
	IdleMax = 30 * time.Second
)

// Header is one record header; a nil value is Kafka's null.
type Header struct {
	Key   string
	Value []byte
}

// UnmarshalJSON reads ["name", base64 or null].
func (h *Header) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&h.Key, &h.Value})
}

// Input is one line of the input file; nil is Kafka's null.
type Input struct {
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
	Timestamp int64    `json:"timestamp"`
	Partition int32    `json:"partition"`
}

// Flags of every verb; a verb reads those it needs.
type Flags struct {
	Verb             string
	Bootstrap        []string
	Topic            string
	Codecs           []string
	Records          int
	Input            string
	Group            string
	ID               string
	Assignor         string
	SessionTimeoutMs int
}

// ParseFlags reads os.Args.
func ParseFlags() Flags {
	var f Flags
	var bootstrap, codecs string
	if len(os.Args) < 2 {
		Fail(fmt.Errorf("usage: PROGRAM produce|verify|member --flag value ..."))
	}
	f.Verb = os.Args[1]
	set := flag.NewFlagSet(f.Verb, flag.ExitOnError)
	set.StringVar(&bootstrap, "bootstrap", "", "")
	set.StringVar(&f.Topic, "topic", "", "")
	set.StringVar(&codecs, "codecs", "", "")
	set.IntVar(&f.Records, "records", 0, "")
	set.StringVar(&f.Input, "input", "", "")
	set.StringVar(&f.Group, "group", "", "")
	set.StringVar(&f.ID, "id", "", "")
	set.StringVar(&f.Assignor, "assignor", "", "")
	set.IntVar(&f.SessionTimeoutMs, "session-timeout-ms", 0, "")
	_ = set.Parse(os.Args[2:]) // ExitOnError
	f.Bootstrap = strings.Split(bootstrap, ",")
	f.Codecs = strings.Split(codecs, ",")
	return f
}

// Load reads the first count records of the input file.
func Load(path string, count int) ([]Input, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	inputs := make([]Input, 0, count)
	decoder := json.NewDecoder(bufio.NewReaderSize(file, 1<<20))
	for len(inputs) < count {
		var input Input
		if err := decoder.Decode(&input); err != nil {
			return nil, fmt.Errorf("%s: record %d: %w", path, len(inputs), err)
		}
		inputs = append(inputs, input)
	}
	return inputs, nil
}

// Same tells equal bytes and keeps null and empty apart.
func Same(a, b []byte) bool {
	return (a == nil) == (b == nil) && bytes.Equal(a, b)
}

// Verifier compares what arrives, partition by partition, with the input. Safe for concurrent use.
type Verifier struct {
	mutex      sync.Mutex
	topic      string
	wanted     map[int32][]Input
	next       map[int32]int
	Count      int
	Mismatches []string
}

// NewVerifier for one topic.
func NewVerifier(topic string, inputs []Input) *Verifier {
	wanted := map[int32][]Input{}
	for _, input := range inputs {
		wanted[input.Partition] = append(wanted[input.Partition], input)
	}
	return &Verifier{topic: topic, wanted: wanted, next: map[int32]int{}}
}

// Check takes the next record of a partition.
func (v *Verifier) Check(partition int32, offset int64, got Input) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	index := v.next[partition]
	v.next[partition]++
	v.Count++
	if found := v.difference(partition, index, offset, got); found != "" {
		where := fmt.Sprintf("%s-%d@%d", v.topic, partition, offset)
		v.Mismatches = append(v.Mismatches, where+": "+found)
	}
}

// Idle notes that the partitions' ends were not reached.
func (v *Verifier) Idle() {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	v.Mismatches = append(v.Mismatches,
		fmt.Sprintf("nothing arrived for %s before the end offsets", IdleMax))
}

func (v *Verifier) difference(partition int32, index int, offset int64, got Input) string {
	if index >= len(v.wanted[partition]) {
		return "more records than were produced"
	}
	want := v.wanted[partition][index]
	switch {
	case offset != int64(index):
		return fmt.Sprintf("offset is not %d", index)
	case !Same(got.Key, want.Key):
		return "key differs"
	case !Same(got.Value, want.Value):
		return "value differs"
	case got.Timestamp != want.Timestamp:
		return fmt.Sprintf("timestamp %d is not %d", got.Timestamp, want.Timestamp)
	case len(got.Headers) != len(want.Headers):
		return fmt.Sprintf("%d headers, not %d", len(got.Headers), len(want.Headers))
	}
	for i, header := range want.Headers {
		if header.Key != got.Headers[i].Key || !Same(header.Value, got.Headers[i].Value) {
			return fmt.Sprintf("header %d differs: %+v is not %+v", i, got.Headers[i], header)
		}
	}
	return ""
}

// CheckOffsets tells where acknowledged offsets are not dense from 0 in the order of sending.
func CheckOffsets(topic string, inputs []Input, offsets []int64) []string {
	next := map[int32]int64{}
	var mismatches []string
	for i, input := range inputs {
		wanted := next[input.Partition]
		next[input.Partition]++
		if offsets[i] != wanted {
			mismatches = append(mismatches, fmt.Sprintf("%s-%d: record %d acknowledged at %d, not %d",
				topic, input.Partition, i, offsets[i], wanted))
		}
	}
	return mismatches
}

// Emit prints one JSON line.
func Emit(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		Fail(err)
	}
	fmt.Println(string(text))
}

// EmitAssignment prints the partitions a member owns now.
func EmitAssignment(partitions []int32) {
	sorted := append([]int32{}, partitions...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i] < sorted[j] })
	Emit(map[string]any{"event": "assignment", "partitions": sorted})
}

// Cell does one codec and returns how many records it moved and what was wrong.
type Cell func(topic, codec string, inputs []Input) (int, []string, error)

// RunCells runs one cell a codec and ends the process: 0 when all matched.
func RunCells(client, modulePath string, f Flags, cell Cell) {
	inputs, err := Load(f.Input, f.Records)
	if err != nil {
		Fail(err)
	}
	status := 0
	for _, codec := range f.Codecs {
		started := time.Now()
		count, mismatches, err := cell(f.Topic+"-"+codec, codec, inputs)
		if err != nil {
			mismatches = append(strings.Split(err.Error(), "\n"), mismatches...)
		}
		if len(mismatches) > 0 || count != f.Records {
			status = 1
		}
		Emit(map[string]any{
			"client": client, "version": version(modulePath), "action": f.Verb, "codec": codec,
			"records": count, "mismatches": len(mismatches), "ms": time.Since(started).Milliseconds(),
			"detail": append([]string{}, mismatches[:min(len(mismatches), mismatchesShownMax)]...),
		})
	}
	os.Exit(status)
}

// EndOfInput is closed when stdin ends.
func EndOfInput() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // an unreadable stdin has ended, too
		close(ended)
	}()
	return ended
}

// Fail ends the process with one line.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

func version(modulePath string) string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, dep := range info.Deps {
			if dep.Path == modulePath {
				return dep.Version
			}
		}
	}
	return "unknown"
}
