//! A record as Tantivy reads it: no copy into Tantivy's own document.

use tantivy::DateTime;
use tantivy::schema::Field;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};

use super::json::{JsonTree, Kind};
use super::schema::SearchFields;

/// One record. It owns its bytes, because Tantivy's documents outlive their source.
#[derive(Debug)]
pub struct RecordDocument {
    pub fields: SearchFields,
    pub offset: u64,
    pub timestamp: DateTime,
    pub key: Option<String>,
    pub value: Option<String>,
    pub json: Option<JsonTree>,
    pub headers: Option<JsonTree>,
}

impl Document for RecordDocument {
    type Value<'a> = FieldValue<'a>;
    type FieldsValuesIter<'a> = FieldsValues<'a>;

    fn iter_fields_and_values(&self) -> FieldsValues<'_> {
        FieldsValues {
            document: self,
            step: 0,
        }
    }
}

pub struct FieldsValues<'a> {
    document: &'a RecordDocument,
    step: u8,
}

impl<'a> Iterator for FieldsValues<'a> {
    type Item = (Field, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.document;
        let fields = &document.fields;
        let text = |text: &'a Option<String>| text.as_deref().map(FieldValue::Text);
        let tree = |tree: &'a Option<JsonTree>, facts| {
            tree.as_ref()
                .map(|tree| FieldValue::Node(Walk { tree, facts }, 0))
        };
        loop {
            self.step += 1;
            let (field, value) = match self.step {
                1 => (fields.offset, Some(FieldValue::U64(document.offset))),
                2 => (fields.timestamp, Some(FieldValue::Date(document.timestamp))),
                3 => (fields.key, text(&document.key)),
                4 => (fields.value, text(&document.value)),
                5 => (fields.json, tree(&document.json, false)),
                6 => (fields.facts, tree(&document.json, true)),
                7 => (fields.headers, tree(&document.headers, false)),
                _ => return None,
            };
            if let Some(value) = value {
                return Some((field, value));
            }
        }
    }
}

/// A value of a field, or a node within one.
#[derive(Debug, Clone, Copy)]
pub enum FieldValue<'a> {
    U64(u64),
    Date(DateTime),
    Text(&'a str),
    Node(Walk<'a>, u32),
}

/// A tree, walked as a whole or for its facts alone.
#[derive(Debug, Clone, Copy)]
pub struct Walk<'a> {
    tree: &'a JsonTree,
    facts: bool,
}

impl<'a> Value<'a> for FieldValue<'a> {
    type ArrayIter = Elements<'a>;
    type ObjectIter = Entries<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        let leaf = match *self {
            FieldValue::U64(value) => ReferenceValueLeaf::U64(value),
            FieldValue::Date(value) => ReferenceValueLeaf::Date(value),
            FieldValue::Text(value) => ReferenceValueLeaf::Str(value),
            FieldValue::Node(walk, index) => return walk.value(index),
        };
        ReferenceValue::Leaf(leaf)
    }
}

impl<'a> Walk<'a> {
    fn value(self, index: u32) -> ReferenceValue<'a, FieldValue<'a>> {
        let Some(node) = self.tree.nodes.get(index as usize) else {
            return ReferenceValue::Leaf(ReferenceValueLeaf::Null);
        };
        let children = Elements {
            walk: self,
            index: index + 1,
            end: node.next,
        };
        match node.kind {
            Kind::Array => return ReferenceValue::Array(children),
            Kind::Object => return ReferenceValue::Object(Entries(children)),
            _ => {}
        }
        if self.facts && !node.is_fact {
            return ReferenceValue::Leaf(ReferenceValueLeaf::Null);
        }
        ReferenceValue::Leaf(match node.kind {
            Kind::Bool(value) => ReferenceValueLeaf::Bool(value),
            Kind::I64(value) => ReferenceValueLeaf::I64(value),
            Kind::U64(value) => ReferenceValueLeaf::U64(value),
            Kind::F64(value) => ReferenceValueLeaf::F64(value),
            Kind::Text(span) => ReferenceValueLeaf::Str(self.tree.text_of(span)),
            Kind::Array | Kind::Object => ReferenceValueLeaf::Null,
        })
    }
}

#[derive(Debug, Clone)]
pub struct Elements<'a> {
    walk: Walk<'a>,
    index: u32,
    end: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = FieldValue<'a>;

    fn next(&mut self) -> Option<FieldValue<'a>> {
        if self.index >= self.end {
            return None;
        }
        let node = self.walk.tree.nodes.get(self.index as usize)?;
        let value = FieldValue::Node(self.walk, self.index);
        self.index = node.next;
        Some(value)
    }
}

#[derive(Debug, Clone)]
pub struct Entries<'a>(Elements<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, FieldValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Entries(elements) = self;
        let node = elements.walk.tree.nodes.get(elements.index as usize)?;
        let key = elements.walk.tree.text_of(node.key);
        elements.next().map(|value| (key, value))
    }
}
