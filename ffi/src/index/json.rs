//! A record's JSON as a flat tree that Tantivy walks in place, cut to bounds while it is parsed.
//!
//! The bounds are against hostile values: a path is repeated in every term under it, and every
//! path of `facts` is a column of its own in the archive.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Deeper values are not indexed, in `json` or in `facts`.
pub const JSON_DEPTH_MAX: usize = 16;
/// Values under a longer path are not indexed.
pub const JSON_PATH_BYTES_MAX: usize = 512;
/// Values beyond this many in one record are not indexed.
pub const JSON_LEAVES_RECORD_MAX: usize = 16_384;
/// Longer strings are no facts.
pub const FACT_TEXT_BYTES_MAX: usize = 64;
/// Different paths with facts in one record.
pub const FACT_PATHS_RECORD_MAX: usize = 64;
/// Facts of one record; an array's elements share a path.
pub const FACT_VALUES_RECORD_MAX: usize = 1024;
/// Different paths with facts in one archive, first come: each is a column.
pub const FACT_PATHS_ARCHIVE_MAX: usize = 1000;

/// What Tantivy keeps for a new path beside its text.
const PATH_OVERHEAD_BYTES: usize = 96;

/// Nodes in document order; a node's children follow it up to its `next`.
#[derive(Debug, Default)]
pub struct JsonTree {
    pub nodes: Vec<Node>,
    pub text: String,
}

#[derive(Debug, Clone, Copy)]
pub struct Node {
    pub key: Span,
    pub kind: Kind,
    /// Index of the node after this one's subtree.
    pub next: u32,
    pub is_fact: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(Span),
    Array,
    Object,
}

impl JsonTree {
    /// The text of a span; spans are made by `push_text` of the same tree.
    pub fn text_of(&self, span: Span) -> &str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// An object of text values, for a record's headers.
    pub fn of_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<JsonTree> {
        let mut tree = JsonTree::default();
        tree.push(Span::default(), Kind::Object);
        for (key, value) in pairs {
            if key.len() > JSON_PATH_BYTES_MAX || key.contains('\0') {
                continue;
            }
            if tree.nodes.len() > JSON_LEAVES_RECORD_MAX {
                break;
            }
            let key = tree.push_text(key)?;
            let value = tree.push_text(value)?;
            tree.push(key, Kind::Text(value));
        }
        tree.close(0);
        (tree.nodes.len() > 1).then_some(tree)
    }

    fn push(&mut self, key: Span, kind: Kind) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            key,
            kind,
            next: index as u32 + 1,
            is_fact: false,
        });
        index
    }

    fn close(&mut self, index: usize) {
        let next = self.nodes.len() as u32;
        if let Some(node) = self.nodes.get_mut(index) {
            node.next = next;
        }
    }

    fn push_text(&mut self, text: &str) -> Option<Span> {
        let start = u32::try_from(self.text.len()).ok()?;
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        self.text.push_str(text);
        Some(Span { start, end })
    }
}

/// The paths seen, by hash: those of the slice in memory, and those that became columns.
#[derive(Debug, Default)]
pub struct Paths {
    hasher: RandomState,
    in_slice: HashSet<u64>,
    slice_bytes: usize,
    facts: HashSet<u64>,
}

impl Paths {
    /// Memory that the slice's paths take in Tantivy, which does not count them itself.
    pub fn slice_bytes(&self) -> usize {
        self.slice_bytes
    }

    pub fn start_slice(&mut self) {
        self.in_slice.clear();
        self.slice_bytes = 0;
    }

    fn see(&mut self, path_hash: u64, path_bytes: usize) {
        if self.in_slice.insert(path_hash) {
            self.slice_bytes += path_bytes + PATH_OVERHEAD_BYTES;
        }
    }

    fn admit_fact(&mut self, path_hash: u64) -> bool {
        if self.facts.contains(&path_hash) {
            return true;
        }
        self.facts.len() < FACT_PATHS_ARCHIVE_MAX && self.facts.insert(path_hash)
    }
}

/// Parses `text` when it is one JSON object and nothing else; None otherwise.
pub fn parse_object(text: &str, paths: &mut Paths) -> Option<JsonTree> {
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    let mut parse = Parse {
        tree: JsonTree {
            nodes: Vec::with_capacity(32),
            text: String::with_capacity(text.len()),
        },
        paths,
        leaves: 0,
        fact_paths: Vec::new(),
        facts: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let root = ValueSeed {
        parse: &mut parse,
        key: Span::default(),
        place: Place::default(),
    };
    root.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(parse.tree)
}

struct Parse<'p> {
    tree: JsonTree,
    paths: &'p mut Paths,
    leaves: usize,
    fact_paths: Vec<u64>,
    facts: usize,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    depth: usize,
    path_hash: u64,
    path_bytes: usize,
}

impl Parse<'_> {
    fn leaf<E: serde::de::Error>(&mut self, seed: (Span, Place), kind: Kind) -> Result<(), E> {
        let (key, place) = seed;
        if self.leaves >= JSON_LEAVES_RECORD_MAX {
            return Ok(());
        }
        self.leaves += 1;
        self.paths.see(place.path_hash, place.path_bytes);
        let is_fact = self.is_fact(kind, place);
        let index = self.tree.push(key, kind);
        if let Some(node) = self.tree.nodes.get_mut(index) {
            node.is_fact = is_fact;
        }
        Ok(())
    }

    fn is_fact(&mut self, kind: Kind, place: Place) -> bool {
        let fits = match kind {
            Kind::Bool(_) | Kind::I64(_) | Kind::U64(_) | Kind::F64(_) => true,
            Kind::Text(span) => (span.end - span.start) as usize <= FACT_TEXT_BYTES_MAX,
            Kind::Array | Kind::Object => false,
        };
        if !fits || self.facts >= FACT_VALUES_RECORD_MAX {
            return false;
        }
        if !self.fact_paths.contains(&place.path_hash) {
            if self.fact_paths.len() >= FACT_PATHS_RECORD_MAX {
                return false;
            }
            if !self.paths.admit_fact(place.path_hash) {
                return false;
            }
            self.fact_paths.push(place.path_hash);
        }
        self.facts += 1;
        true
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<Span, E> {
        self.tree
            .push_text(text)
            .ok_or_else(|| E::custom("text passes 4 GiB"))
    }
}

struct ValueSeed<'s, 'p> {
    parse: &'s mut Parse<'p>,
    key: Span,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.parse.leaf((self.key, self.place), Kind::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.parse.leaf((self.key, self.place), Kind::I64(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.parse.leaf((self.key, self.place), Kind::U64(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.parse.leaf((self.key, self.place), Kind::F64(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let span = self.parse.text(value)?;
        self.parse.leaf((self.key, self.place), Kind::Text(span))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        if self.place.depth >= JSON_DEPTH_MAX {
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let index = self.parse.tree.push(self.key, Kind::Array);
        let place = Place {
            depth: self.place.depth + 1,
            ..self.place
        };
        while elements
            .next_element_seed(ValueSeed {
                parse: self.parse,
                key: Span::default(),
                place,
            })?
            .is_some()
        {}
        self.parse.tree.close(index);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if self.place.depth >= JSON_DEPTH_MAX {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let index = self.parse.tree.push(self.key, Kind::Object);
        while let Some(key) = entries.next_key_seed(KeySeed { parse: self.parse })? {
            let name = self.parse.tree.text_of(key);
            let path_bytes = self.place.path_bytes + 1 + name.len();
            // Tantivy ends a path with a zero byte.
            if path_bytes > JSON_PATH_BYTES_MAX || name.contains('\0') {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let path_hash = self
                .parse
                .paths
                .hasher
                .hash_one((self.place.path_hash, name));
            let place = Place {
                depth: self.place.depth + 1,
                path_hash,
                path_bytes,
            };
            entries.next_value_seed(ValueSeed {
                parse: self.parse,
                key,
                place,
            })?;
        }
        self.parse.tree.close(index);
        Ok(())
    }
}

struct KeySeed<'s, 'p> {
    parse: &'s mut Parse<'p>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Span;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Span, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeySeed<'_, '_> {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Span, E> {
        self.parse
            .tree
            .push_text(key)
            .ok_or_else(|| E::custom("text passes 4 GiB"))
    }
}
