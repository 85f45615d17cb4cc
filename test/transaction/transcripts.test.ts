import { testTranscripts } from "../transcripts/play.ts";
import { TransactionPlayer } from "../transcripts/transaction/runner.ts";

testTranscripts("transaction", 7, () => new TransactionPlayer());
