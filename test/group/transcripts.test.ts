import { ClassicGroupPlayer } from "../transcripts/group/runner.ts";
import { testTranscripts } from "../transcripts/play.ts";

testTranscripts("group", 11, () => new ClassicGroupPlayer());
