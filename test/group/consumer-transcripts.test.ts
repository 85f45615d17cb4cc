import { ConsumerGroupPlayer } from "../transcripts/consumer-group/runner.ts";
import { testTranscripts } from "../transcripts/play.ts";

testTranscripts("consumer-group", 11, () => new ConsumerGroupPlayer());
