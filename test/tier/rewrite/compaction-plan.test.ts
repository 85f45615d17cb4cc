import { CompactionPlayer } from "../../transcripts/compaction/runner.ts";
import { testTranscripts } from "../../transcripts/play.ts";

testTranscripts("compaction", 3, () => new CompactionPlayer());
