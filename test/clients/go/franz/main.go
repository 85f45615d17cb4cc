// franz: franz-go's produce|verify of a topic a codec, or a group member.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chronik.test/clients/contract"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	flags := contract.ParseFlags()
	switch flags.Verb {
	case "member":
		member(flags)
	case "produce":
		contract.RunCells("franz-go", "github.com/twmb/franz-go", flags,
			func(topic, codec string, inputs []contract.Input) (int, []string, error) {
				return produce(flags.Bootstrap, topic, codec, inputs)
			})
	case "verify":
		contract.RunCells("franz-go", "github.com/twmb/franz-go", flags,
			func(topic, _ string, inputs []contract.Input) (int, []string, error) {
				return verify(flags.Bootstrap, topic, inputs)
			})
	default:
		contract.Fail(fmt.Errorf("unknown verb %s", flags.Verb))
	}
}

func compression(codec string) kgo.CompressionCodec {
	switch codec {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	default:
		return kgo.NoCompression()
	}
}

func produce(bootstrap []string, topic, codec string,
	inputs []contract.Input) (int, []string, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(compression(codec)),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		return 0, nil, err
	}
	defer client.Close()
	offsets := make([]int64, len(inputs))
	var mutex sync.Mutex
	var failures []error
	for i, input := range inputs {
		record := &kgo.Record{Topic: topic, Partition: input.Partition, Key: input.Key,
			Value: input.Value, Timestamp: time.UnixMilli(input.Timestamp)}
		for _, header := range input.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
		}
		client.Produce(context.Background(), record, func(done *kgo.Record, err error) {
			mutex.Lock()
			defer mutex.Unlock()
			offsets[i] = done.Offset
			if err != nil {
				failures = append(failures, err)
			}
		})
	}
	if err := client.Flush(context.Background()); err != nil {
		return 0, nil, err
	}
	mismatches := contract.CheckOffsets(topic, inputs, offsets)
	return len(inputs) - len(failures), mismatches, errors.Join(failures...)
}

func verify(bootstrap []string, topic string, inputs []contract.Input) (int, []string, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return 0, nil, err
	}
	defer client.Close()
	verifier := contract.NewVerifier(topic, inputs)
	// The high watermark comes with every fetched partition; until a partition with records was
	// seen, the count of what was produced tells that more must come.
	for verifier.Count < len(inputs) {
		ctx, cancel := context.WithTimeout(context.Background(), contract.IdleMax)
		fetches := client.PollFetches(ctx)
		cancel()
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) {
			verifier.Idle()
			break
		}
		for _, failed := range fetches.Errors() {
			return verifier.Count, verifier.Mismatches, failed.Err
		}
		fetches.EachRecord(func(record *kgo.Record) { check(verifier, record) })
	}
	return verifier.Count, verifier.Mismatches, pollTail(client, verifier)
}

// pollTail makes sure that nothing follows the last record.
func pollTail(client *kgo.Client, verifier *contract.Verifier) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	fetches := client.PollFetches(ctx)
	fetches.EachRecord(func(record *kgo.Record) { check(verifier, record) })
	return nil
}

func check(verifier *contract.Verifier, record *kgo.Record) {
	got := contract.Input{Key: record.Key, Value: record.Value,
		Timestamp: record.Timestamp.UnixMilli()}
	for _, header := range record.Headers {
		got.Headers = append(got.Headers, contract.Header{Key: header.Key, Value: header.Value})
	}
	verifier.Check(record.Partition, record.Offset, got)
}

// owned is the set of partitions a member has now; the callbacks run beside the poll loop.
type owned struct {
	mutex      sync.Mutex
	partitions map[int32]bool
}

func (o *owned) change(partitions []int32, mine bool) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	for _, partition := range partitions {
		if mine {
			o.partitions[partition] = true
		} else {
			delete(o.partitions, partition)
		}
	}
	list := make([]int32, 0, len(o.partitions))
	for partition := range o.partitions {
		list = append(list, partition)
	}
	contract.EmitAssignment(list)
}

func member(flags contract.Flags) {
	own := &owned{partitions: map[int32]bool{}}
	balancer := kgo.CooperativeStickyBalancer()
	if flags.Assignor == "range" {
		balancer = kgo.RangeBalancer()
	}
	topic := flags.Topic
	client, err := kgo.NewClient(
		kgo.SeedBrokers(flags.Bootstrap...),
		kgo.ClientID(flags.ID),
		kgo.ConsumerGroup(flags.Group),
		kgo.ConsumeTopics(topic),
		kgo.Balancers(balancer),
		kgo.SessionTimeout(time.Duration(flags.SessionTimeoutMs)*time.Millisecond),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			own.change(added[topic], true)
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, removed map[string][]int32) {
			own.change(removed[topic], false)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			own.change(lost[topic], false)
		}),
	)
	if err != nil {
		contract.Fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-contract.EndOfInput()
		cancel()
	}()
	for ctx.Err() == nil {
		poll(ctx, client)
	}
	client.Close() // leaves the group
	contract.Emit(map[string]any{"event": "closed"})
}

func poll(ctx context.Context, client *kgo.Client) {
	fetches := client.PollFetches(ctx)
	offsets := map[string]int64{}
	var lasts []*kgo.Record
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		if len(partition.Records) == 0 {
			return
		}
		first, last := partition.Records[0], partition.Records[len(partition.Records)-1]
		contract.Emit(map[string]any{"event": "consumed", "partition": partition.Partition,
			"first": first.Offset, "last": last.Offset})
		offsets[fmt.Sprint(partition.Partition)] = last.Offset + 1
		lasts = append(lasts, last)
	})
	if len(lasts) == 0 {
		return
	}
	if err := client.CommitRecords(context.Background(), lasts...); err != nil {
		contract.Emit(map[string]any{"event": "commit-failed", "error": err.Error()})
		return
	}
	contract.Emit(map[string]any{"event": "committed", "offsets": offsets})
}
