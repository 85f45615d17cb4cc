// sarama: IBM/sarama's produce|verify of a topic a codec, or a group member.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chronik.test/clients/contract"
	"github.com/IBM/sarama"
)

const modulePath = "github.com/IBM/sarama"

func main() {
	flags := contract.ParseFlags()
	switch flags.Verb {
	case "member":
		member(flags)
	case "produce":
		contract.RunCells("sarama", modulePath, flags,
			func(topic, codec string, inputs []contract.Input) (int, []string, error) {
				return produce(flags.Bootstrap, topic, codec, inputs)
			})
	case "verify":
		contract.RunCells("sarama", modulePath, flags,
			func(topic, _ string, inputs []contract.Input) (int, []string, error) {
				return verify(flags.Bootstrap, topic, inputs)
			})
	default:
		contract.Fail(fmt.Errorf("unknown verb %s", flags.Verb))
	}
}

func newConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = "sarama-program"
	return config
}

func compression(codec string) sarama.CompressionCodec {
	return map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
		"zstd": sarama.CompressionZSTD,
	}[codec]
}

func encoder(bytes []byte) sarama.Encoder {
	if bytes == nil {
		return nil
	}
	return sarama.ByteEncoder(bytes)
}

func produce(bootstrap []string, topic, codec string,
	inputs []contract.Input) (int, []string, error) {
	config := newConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1 // sarama demands it of an idempotent producer
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Compression = compression(codec)
	config.Producer.Return.Successes = true
	config.Producer.Return.Errors = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	producer, err := sarama.NewAsyncProducer(bootstrap, config)
	if err != nil {
		return 0, nil, err
	}
	offsets := make([]int64, len(inputs))
	var failures []error
	var readers sync.WaitGroup
	readers.Go(func() {
		for done := range producer.Successes() {
			offsets[done.Metadata.(int)] = done.Offset
		}
	})
	readers.Go(func() {
		for failed := range producer.Errors() {
			failures = append(failures, failed.Err)
		}
	})
	for i, input := range inputs {
		message := &sarama.ProducerMessage{Topic: topic, Partition: input.Partition,
			Key: encoder(input.Key), Value: encoder(input.Value),
			Timestamp: time.UnixMilli(input.Timestamp), Metadata: i}
		for _, header := range input.Headers {
			message.Headers = append(message.Headers,
				sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
		}
		producer.Input() <- message
	}
	producer.AsyncClose()
	readers.Wait()
	mismatches := contract.CheckOffsets(topic, inputs, offsets)
	return len(inputs) - len(failures), mismatches, errors.Join(failures...)
}

func verify(bootstrap []string, topic string, inputs []contract.Input) (int, []string, error) {
	config := newConfig()
	config.Consumer.Return.Errors = true
	client, err := sarama.NewClient(bootstrap, config)
	if err != nil {
		return 0, nil, err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return 0, nil, err
	}
	defer consumer.Close()
	partitions, err := client.Partitions(topic)
	if err != nil {
		return 0, nil, err
	}
	verifier := contract.NewVerifier(topic, inputs)
	var readers sync.WaitGroup
	failures := make([]error, len(partitions))
	for i, partition := range partitions {
		// One after the other: sarama's Broker.Open is not safe against a second caller, who can see
		// the broker "not connected" while the first one is dialling.
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			return 0, nil, err
		}
		if end == 0 {
			continue
		}
		reader, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		if err != nil {
			return 0, nil, err
		}
		readers.Go(func() { failures[i] = verifyPartition(reader, end, partition, verifier) })
	}
	readers.Wait()
	return verifier.Count, verifier.Mismatches, errors.Join(failures...)
}

func verifyPartition(reader sarama.PartitionConsumer, end int64, partition int32,
	verifier *contract.Verifier) error {
	defer reader.Close()
	for {
		select {
		case message := <-reader.Messages():
			got := contract.Input{Key: message.Key, Value: message.Value,
				Timestamp: message.Timestamp.UnixMilli()}
			for _, header := range message.Headers {
				got.Headers = append(got.Headers, contract.Header{Key: string(header.Key), Value: header.Value})
			}
			verifier.Check(partition, message.Offset, got)
			if message.Offset+1 >= end {
				return nil
			}
		case failed := <-reader.Errors():
			return failed
		case <-time.After(contract.IdleMax):
			verifier.Idle()
			return nil
		}
	}
}

type handler struct{ topic string }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	contract.EmitAssignment(session.Claims()[h.topic])
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error {
	contract.EmitAssignment(nil)
	return nil
}

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession,
	claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			last := drain(session, claim, message)
			contract.Emit(map[string]any{"event": "consumed", "partition": claim.Partition(),
				"first": message.Offset, "last": last})
			session.Commit()
			contract.Emit(map[string]any{"event": "committed",
				"offsets": map[string]int64{fmt.Sprint(claim.Partition()): last + 1}})
		case <-session.Context().Done():
			return nil
		}
	}
}

// drain marks the message and all that already wait behind it; returns the last offset.
func drain(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
	message *sarama.ConsumerMessage) int64 {
	session.MarkMessage(message, "")
	last := message.Offset
	for {
		select {
		case next, open := <-claim.Messages():
			if !open {
				return last
			}
			session.MarkMessage(next, "")
			last = next.Offset
		default:
			return last
		}
	}
}

func member(flags contract.Flags) {
	config := newConfig()
	config.ClientID = flags.ID
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = time.Duration(flags.SessionTimeoutMs) * time.Millisecond
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	strategy := sarama.NewBalanceStrategySticky()
	if flags.Assignor == "range" {
		strategy = sarama.NewBalanceStrategyRange()
	}
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	group, err := sarama.NewConsumerGroup(flags.Bootstrap, flags.Group, config)
	if err != nil {
		contract.Fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-contract.EndOfInput()
		cancel()
	}()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{flags.Topic}, handler{flags.Topic}); err != nil {
			contract.Emit(map[string]any{"event": "error", "error": err.Error()})
		}
	}
	if err := group.Close(); err != nil {
		contract.Fail(err)
	}
	contract.Emit(map[string]any{"event": "closed"})
}
