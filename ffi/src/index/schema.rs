//! The search schema, fixed from the first archive on.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use tantivy::DateTime;
use tantivy::schema::{
    DateOptions, DateTimePrecision, Field, IndexRecordOption, JsonObjectOptions, NumericOptions,
    Schema, TextFieldIndexing, TextOptions,
};

/// Version of the schema and of what is written into it; the manifest carries it.
pub const SCHEMA_VERSION: u32 = 1;

/// Longer keys are indexed by their hash: Tantivy drops terms beyond 65,530 bytes.
pub const KEY_TERM_BYTES_MAX: usize = 32 * 1024;

/// The fields of `search_schema`, in its order.
#[derive(Debug, Clone, Copy)]
pub struct SearchFields {
    pub offset: Field,
    pub timestamp: Field,
    pub key: Field,
    pub value: Field,
    pub json: Field,
    pub facts: Field,
    pub headers: Field,
}

/// Builds the schema of every archive's index.
pub fn search_schema() -> (Schema, SearchFields) {
    let mut builder = Schema::builder();
    let offset_options: NumericOptions = NumericOptions::default().set_indexed().set_fast();
    let timestamp_options = DateOptions::default()
        .set_indexed()
        .set_fast()
        .set_precision(DateTimePrecision::Milliseconds);
    let key_options = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false),
    );
    let value_options = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer("default")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions),
    );
    let json_options = JsonObjectOptions::default()
        .set_indexing_options(json_text_indexing())
        .set_expand_dots_enabled();
    let facts_options = JsonObjectOptions::default()
        .set_fast("raw")
        .set_expand_dots_enabled();
    let fields = SearchFields {
        offset: builder.add_u64_field("offset", offset_options),
        timestamp: builder.add_date_field("timestamp", timestamp_options),
        key: builder.add_text_field("key", key_options),
        value: builder.add_text_field("value", value_options),
        json: builder.add_json_field("json", json_options.clone()),
        facts: builder.add_json_field("facts", facts_options),
        headers: builder.add_json_field("headers", json_options),
    };
    (builder.build(), fields)
}

/// The term a key is found by: its text, or `sha256:` and the hash in hex when the key is not
/// UTF-8 or longer than 32 KiB. A key that itself reads `sha256:…` may match too: hits are
/// checked against the record.
pub fn key_term(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) if key.len() <= KEY_TERM_BYTES_MAX => Cow::Borrowed(text),
        _ => Cow::Owned(format!("sha256:{:x}", Sha256::digest(key))),
    }
}

/// A record's timestamp (ms) as Tantivy's nanoseconds; beyond their range it saturates.
pub fn date_of(timestamp: i64) -> DateTime {
    DateTime::from_timestamp_nanos(timestamp.saturating_mul(1_000_000))
}

/// Positions would cost as much again as the `value` field: a phrase on a path is a conjunction
/// that search checks against the record.
fn json_text_indexing() -> TextFieldIndexing {
    TextFieldIndexing::default()
        .set_tokenizer("default")
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false)
}
