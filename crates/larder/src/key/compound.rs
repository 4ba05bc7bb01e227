//! Sequences, sets, maps and structs in canonical form.
//!
//! Each is written in place, behind a count that is corrected in the end. What has to be in order is moved then, and
//! only if it did not come in order: its pieces are known by where they stand, so nothing has storage of its own.

use std::ops::Range;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::canonical::{CanonicalError, Encoder, HEAD, MAP, Place, SEQUENCE, SET, TEXT, counted, recount};

/// A sequence being written, in place; a set is put in order in the end.
pub(super) struct Elements<'a> {
    encoder: Encoder<'a>,
    head: usize,
    count: usize,
    /// Where the forms of a set's elements stand.
    set: Option<Vec<Range<usize>>>,
}

impl<'a> Elements<'a> {
    pub(super) fn begin(encoder: Encoder<'a>, set: bool) -> Self {
        let head = encoder.out.len();
        counted(encoder.out, if set { SET } else { SEQUENCE }, 0);
        Self { encoder, head, count: 0, set: set.then(Vec::new) }
    }

    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let Encoder { rules, at, depth, ref mut out } = self.encoder;
        let start = out.len();
        value.serialize(Encoder { rules, at: &Place::Element(at), depth, out })?;
        if let Some(items) = &mut self.set {
            items.push(start..out.len());
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result<(), CanonicalError> {
        let out = self.encoder.out;
        let mut count = self.count;
        if let Some(mut items) = self.set {
            items.sort_unstable_by(|a, b| out[a.clone()].cmp(&out[b.clone()]));
            items.dedup_by(|a, b| out[a.clone()] == out[b.clone()]);
            count = items.len();
            rearrange(out, self.head + HEAD, items.into_iter());
        }
        recount(out, self.head, count);
        Ok(())
    }
}

/// Leaves these pieces behind `start`, in this order.
fn rearrange(out: &mut Vec<u8>, start: usize, pieces: impl Iterator<Item = Range<usize>>) {
    let before = out.split_off(start);
    pieces.for_each(|piece| out.extend_from_slice(&before[piece.start - start..piece.end - start]));
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait for Elements<'_> {
            type Ok = ();
            type Error = CanonicalError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                self.push(value)
            }
            fn end(self) -> Result<(), CanonicalError> {
                self.finish()
            }
        }
    )*};
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// A map or struct being written, in place; put in order by keys in the end, if it does not come in order.
pub(super) struct Fields<'a> {
    encoder: Encoder<'a>,
    head: usize,
    pairs: Vec<Pair>,
    /// Where the form of a key stands whose value has not come.
    key: Option<Range<usize>>,
    /// What the last key of a map is called in a path.
    name: String,
}

/// Where the forms of a key and its value stand.
struct Pair {
    start: usize,
    middle: usize,
    end: usize,
}

impl Pair {
    fn key<'a>(&self, out: &'a [u8]) -> &'a [u8] {
        &out[self.start..self.middle]
    }
}

impl<'a> Fields<'a> {
    pub(super) fn begin(encoder: Encoder<'a>) -> Self {
        let head = encoder.out.len();
        counted(encoder.out, MAP, 0);
        Self { encoder, head, pairs: Vec::new(), key: None, name: String::new() }
    }

    /// Writes the value of the key whose form was just written.
    fn value<T: Serialize + ?Sized>(
        &mut self,
        key: Range<usize>,
        name: Option<&str>,
        value: &T,
    ) -> Result<(), CanonicalError> {
        let Encoder { rules, at, depth, ref mut out } = self.encoder;
        let place = Place::Field(at, name.unwrap_or(&self.name));
        if rules.ignored.iter().any(|path| place.is(path)) {
            out.truncate(key.start);
            return Ok(());
        }
        value.serialize(Encoder { rules, at: &place, depth, out })?;
        self.pairs.push(Pair { start: key.start, middle: key.end, end: out.len() });
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CanonicalError> {
        let start = self.encoder.out.len();
        self.borrowed().text(name);
        self.value(start..self.encoder.out.len(), Some(name), value)
    }

    fn borrowed(&mut self) -> Encoder<'_> {
        Encoder {
            rules: self.encoder.rules,
            at: self.encoder.at,
            depth: self.encoder.depth,
            out: self.encoder.out,
        }
    }

    fn finish(mut self) -> Result<(), CanonicalError> {
        if self.key.is_some() {
            return Err(CanonicalError::custom("a map's last key without a value"));
        }
        let out = self.encoder.out;
        let disorder = |pair: &[Pair]| pair[0].key(out) >= pair[1].key(out);
        if self.pairs.windows(2).any(disorder) {
            self.pairs.sort_unstable_by(|a, b| a.key(out).cmp(b.key(out)));
            if self.pairs.windows(2).any(disorder) {
                return Err(CanonicalError::DuplicateKey(self.encoder.at.to_string()));
            }
            rearrange(out, self.head + HEAD, self.pairs.iter().map(|pair| pair.start..pair.end));
        }
        recount(out, self.head, self.pairs.len());
        Ok(())
    }
}

impl SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        if self.key.is_some() {
            return Err(CanonicalError::custom("a map's key before the last one's value"));
        }
        let start = self.encoder.out.len();
        key.serialize(self.borrowed())?;
        self.key = Some(start..self.encoder.out.len());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let key = self.key.take().ok_or_else(|| CanonicalError::custom("a map's value before its key"))?;
        let form = &self.encoder.out[key.clone()];
        self.name.clear();
        // Keys that are not text have no name in a path.
        if form[0] == TEXT {
            self.name.push_str(&String::from_utf8_lossy(&form[HEAD..]));
        }
        self.value(key, None, value)
    }

    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl SerializeStructVariant for Fields<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}
