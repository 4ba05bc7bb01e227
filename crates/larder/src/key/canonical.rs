//! Canonical form: one byte string for each value, the same in every process and on every machine.
//!
//! Each item is a tag byte, then its content with its length or count before it, so that no two different values
//! share a form: `["a","bc"]` is not `["ab","c"]`, and `1`, `"1"`, `true` and `1.0` are four values. Maps and
//! structs are the same thing, sorted by their keys' forms; a field that is skipped is absent, which is not
//! null, which is not empty. Integers are compared by value, whatever their width. `docs/format.md` lists the tags.
//!
//! What is a matter of taste is the kind's explicit choice: floats, Unicode normalisation, ignored fields, and
//! sequences whose order means nothing.

use std::fmt;

use serde::Serialize;
use serde::ser::Serializer;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::Digest;
use super::compound::{Elements, Fields};

/// How floats are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Floats {
    /// `-0.0` as `0.0`, and every NaN as one.
    #[default]
    ByValue,
    /// Bit by bit.
    ByBits,
    /// Refused, for kinds whose parameters should have none.
    Refused,
}

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Text {
    /// As it is.
    #[default]
    AsIs,
    /// In Unicode's normalisation form C.
    Nfc,
}

/// How deep values may nest.
const MAX_DEPTH: usize = 128;

/// A value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A float where the kind has none.
    #[error("float at {0}, where this kind has none")]
    Float(String),
    /// Two keys of a map are the same, perhaps only after normalisation.
    #[error("two equal keys in the map at {0}")]
    DuplicateKey(String),
    /// It nests too deeply.
    #[error("value nests deeper than {MAX_DEPTH} levels at {0}")]
    Depth(String),
    /// The value's own serialization failed.
    #[error("value can't be serialized: {0}")]
    Value(String),
}

impl serde::ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

/// The rules by which a kind writes its parameters.
///
/// Fields are named by path from the value's root: `name`, `options.verbose`, `plays[].tasks[].id`, where
/// `[]` stands for each element of a sequence; a map's text keys count as fields.
///
/// ```
/// # use larder::key::Canonical;
/// #[derive(serde::Serialize)]
/// struct Params<'a> { hosts: Vec<&'a str>, started: u64 }
/// let rules = Canonical::new().ignoring("started").with_set("hosts");
/// let one = rules.digest(&Params { hosts: vec!["a", "b"], started: 1 })?;
/// let two = rules.digest(&Params { hosts: vec!["b", "a"], started: 2 })?;
/// assert_eq!(one, two);
/// # Ok::<(), larder::key::CanonicalError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Canonical {
    floats: Floats,
    text: Text,
    pub(super) ignored: Vec<String>,
    sets: Vec<String>,
}

impl Canonical {
    /// Floats by value, text as it is, nothing ignored, every order kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses how floats are written.
    pub fn with_floats(self, floats: Floats) -> Self {
        Self { floats, ..self }
    }

    /// Chooses how text is written.
    pub fn with_text(self, text: Text) -> Self {
        Self { text, ..self }
    }

    /// Leaves out the field at `path`.
    pub fn ignoring(mut self, path: &str) -> Self {
        self.ignored.push(path.to_owned());
        self
    }

    /// Takes the sequence at `path` for a set: neither order nor repetition counts.
    pub fn with_set(mut self, path: &str) -> Self {
        self.sets.push(path.to_owned());
        self
    }

    /// Returns the canonical bytes of `value`.
    pub fn bytes<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, CanonicalError> {
        let mut out = Vec::with_capacity(256);
        value.serialize(Encoder { rules: self, at: &Place::Root, depth: 0, out: &mut out })?;
        Ok(out)
    }

    /// Returns the digest of the canonical bytes of `value`.
    pub fn digest<T: Serialize + ?Sized>(&self, value: &T) -> Result<Digest, CanonicalError> {
        Ok(Digest::of(&self.bytes(value)?))
    }
}

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NATURAL: u8 = 3;
const NEGATIVE: u8 = 4;
const FLOAT: u8 = 5;
pub(super) const TEXT: u8 = 6;
const BYTES: u8 = 7;
pub(super) const SEQUENCE: u8 = 8;
pub(super) const SET: u8 = 9;
pub(super) const MAP: u8 = 10;
const SOME: u8 = 11;
const VARIANT: u8 = 12;

/// A tag and a length or count.
pub(super) const HEAD: usize = 9;

/// Where in the value the encoder stands; linked through the stack, spelled out only when asked for.
pub(super) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>),
}

impl Place<'_> {
    pub(super) fn is(&self, path: &str) -> bool {
        match self {
            Self::Root => path.is_empty(),
            Self::Element(parent) => path.strip_suffix("[]").is_some_and(|path| parent.is(path)),
            Self::Field(parent, name) => {
                path.strip_suffix(name).is_some_and(|path| match path.strip_suffix('.') {
                    Some(path) => parent.is(path),
                    None => path.is_empty() && matches!(parent, Place::Root),
                })
            }
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the root"),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(Self::Root) => f.write_str("[]"),
            Self::Element(parent) => write!(f, "{parent}[]"),
        }
    }
}

fn framed(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(content.len() as u64).to_le_bytes());
    out.extend_from_slice(content);
}

pub(super) fn counted(out: &mut Vec<u8>, tag: u8, count: usize) {
    out.push(tag);
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

/// Sets the count of what [`counted`] began at `head`.
pub(super) fn recount(out: &mut [u8], head: usize, count: usize) {
    out[head + 1..head + HEAD].copy_from_slice(&(count as u64).to_le_bytes());
}

fn natural(out: &mut Vec<u8>, tag: u8, value: u128) {
    let bytes = value.to_le_bytes();
    let used = 16 - (value.leading_zeros() / 8) as usize;
    out.push(tag);
    out.push(used as u8);
    out.extend_from_slice(&bytes[..used]);
}

/// Writes one value's form to the end of `out`.
pub(super) struct Encoder<'a> {
    pub(super) rules: &'a Canonical,
    pub(super) at: &'a Place<'a>,
    pub(super) depth: usize,
    pub(super) out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn text(self, text: &str) {
        if self.rules.text == Text::Nfc && !is_nfc(text) {
            framed(self.out, TEXT, text.nfc().collect::<String>().as_bytes());
        } else {
            framed(self.out, TEXT, text.as_bytes());
        }
    }

    fn variant(&mut self, name: &str) {
        framed(self.out, VARIANT, name.as_bytes());
    }

    fn deeper(mut self) -> Result<Self, CanonicalError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(CanonicalError::Depth(self.at.to_string()));
        }
        Ok(self)
    }

    fn elements(self) -> Result<Elements<'a>, CanonicalError> {
        let set = self.rules.sets.iter().any(|path| self.at.is(path));
        Ok(Elements::begin(self.deeper()?, set))
    }

    fn fields(self) -> Result<Fields<'a>, CanonicalError> {
        Ok(Fields::begin(self.deeper()?))
    }
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.out.push(if value { TRUE } else { FALSE });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), CanonicalError> {
        self.serialize_i128(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), CanonicalError> {
        self.serialize_i128(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), CanonicalError> {
        self.serialize_i128(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), CanonicalError> {
        self.serialize_i128(value.into())
    }

    fn serialize_i128(self, value: i128) -> Result<(), CanonicalError> {
        natural(self.out, if value < 0 { NEGATIVE } else { NATURAL }, value.unsigned_abs());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), CanonicalError> {
        self.serialize_u128(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), CanonicalError> {
        self.serialize_u128(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), CanonicalError> {
        self.serialize_u128(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), CanonicalError> {
        self.serialize_u128(value.into())
    }

    fn serialize_u128(self, value: u128) -> Result<(), CanonicalError> {
        natural(self.out, NATURAL, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), CanonicalError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), CanonicalError> {
        let bits = match self.rules.floats {
            Floats::Refused => return Err(CanonicalError::Float(self.at.to_string())),
            Floats::ByBits => value.to_bits(),
            Floats::ByValue if value.is_nan() => f64::NAN.to_bits(),
            Floats::ByValue if value == 0.0 => 0,
            Floats::ByValue => value.to_bits(),
        };
        self.out.push(FLOAT);
        self.out.extend_from_slice(&bits.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), CanonicalError> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CanonicalError> {
        framed(self.out, BYTES, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        // Without a tag of its own, `Some(None)` would be `None`.
        self.out.push(SOME);
        value.serialize(self.deeper()?)
    }

    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.out.push(NULL);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.variant(variant);
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self.deeper()?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.variant(variant);
        value.serialize(self.deeper()?)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Elements<'a>, CanonicalError> {
        self.elements()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Elements<'a>, CanonicalError> {
        self.elements()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Elements<'a>, CanonicalError> {
        self.elements()
    }

    fn serialize_tuple_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Elements<'a>, CanonicalError> {
        self.variant(variant);
        self.elements()
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Fields<'a>, CanonicalError> {
        self.fields()
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Fields<'a>, CanonicalError> {
        self.fields()
    }

    fn serialize_struct_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'a>, CanonicalError> {
        self.variant(variant);
        self.fields()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde::ser::SerializeMap;
    use serde_json::{Value, json};

    use super::*;

    fn digest(value: &impl Serialize) -> Digest {
        Canonical::new().digest(value).unwrap()
    }

    fn all_differ(values: &[Digest]) {
        let distinct: std::collections::HashSet<_> = values.iter().collect();
        assert_eq!(distinct.len(), values.len());
    }

    #[derive(Serialize)]
    enum Shape {
        Empty,
        Other,
        One(u8),
        Two(u8, u8),
        Named { x: u8 },
    }

    #[derive(Serialize)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        x: Option<u8>,
    }

    #[test]
    fn the_digests_of_these_values_are_these_forever() {
        let check =
            |value: Value, golden: &str| assert_eq!(format!("{:.16}", digest(&value)), golden, "{value}");
        check(json!(null), "2d3adedff11b61f1");
        check(json!({"b": [1, -2, 3.5, "x"], "a": {"": true}}), "4a1f712b1e649b3b");
        check(json!(["a", "bc"]), "f30b351fbd50e2b9");
    }

    #[test]
    fn values_that_differ_only_in_framing_or_type_differ() {
        all_differ(&[
            digest(&["a", "bc"]),
            digest(&["ab", "c"]),
            digest(&["abc"]),
            digest(&[["a", "bc"]]),
            digest(&1),
            digest(&-1),
            digest(&"1"),
            digest(&true),
            digest(&1.0),
            digest(&()),
            digest(&""),
            digest(&[0u8; 0]),
            digest(&Some(1)),
            digest(&Some(None::<u8>)),
            digest(&Sparse { x: None }),
            digest(&json!({"x": null})),
            digest(&Sparse { x: Some(0) }),
            digest(&json!({"x": []})),
            digest(&json!({"x": {}})),
            digest(&[1, 2]),
            digest(&[2, 1]),
            digest(&Shape::Empty),
            digest(&Shape::Other),
            digest(&Shape::One(1)),
            digest(&Shape::Two(1, 1)),
            digest(&Shape::Named { x: 1 }),
        ]);
    }

    #[test]
    fn neither_width_of_integers_nor_order_of_maps_counts() {
        assert_eq!(digest(&1u8), digest(&1i64));
        assert_eq!(digest(&-7i8), digest(&-7i128));
        assert_eq!(digest(&'x'), digest(&"x"));
        let pairs: Vec<(String, u32)> = (0..100).map(|n| (format!("k{n}"), n)).collect();
        let hashed: HashMap<_, _> = pairs.iter().cloned().collect();
        let sorted: BTreeMap<_, _> = pairs.into_iter().rev().collect();
        assert_eq!(digest(&hashed), digest(&sorted));
    }

    #[test]
    fn floats_follow_the_rule_of_the_kind() {
        let other_nan = f64::from_bits(f64::NAN.to_bits() ^ 1);
        assert_eq!(digest(&-0.0), digest(&0.0));
        assert_eq!(digest(&f64::NAN), digest(&other_nan));
        assert_eq!(digest(&0.5f32), digest(&0.5f64));
        let bits = Canonical::new().with_floats(Floats::ByBits);
        assert_ne!(bits.bytes(&-0.0), bits.bytes(&0.0));
        assert_ne!(bits.bytes(&f64::NAN), bits.bytes(&other_nan));
        let refused = Canonical::new().with_floats(Floats::Refused).bytes(&json!({"a": [1, {"b": 0.5}]}));
        assert_eq!(refused.unwrap_err().to_string(), "float at a[].b, where this kind has none");
    }

    #[test]
    fn text_is_normalised_only_where_the_kind_says_so() {
        let (composed, decomposed) = ("\u{e9}", "e\u{301}");
        assert_ne!(digest(&composed), digest(&decomposed));
        let nfc = Canonical::new().with_text(Text::Nfc);
        assert_eq!(nfc.bytes(composed), nfc.bytes(decomposed));
        let twice = nfc.bytes(&HashMap::from([(composed, 1), (decomposed, 2)]));
        assert_eq!(twice.unwrap_err().to_string(), "two equal keys in the map at the root");
    }

    #[test]
    fn ignored_fields_and_sets_are_those_at_their_path_only() {
        let rules = Canonical::new().ignoring("a.time").ignoring("list[].time").with_set("a.names");
        let value = |time: u32, names: [&str; 3], outer: u32| {
            let list = json!([{"time": time}]);
            rules.digest(&json!({"a": {"time": time, "names": names}, "list": list, "time": outer})).unwrap()
        };
        assert_eq!(value(1, ["x", "y", "x"], 5), value(2, ["y", "x", "y"], 5));
        assert_ne!(value(1, ["x", "y", "x"], 5), value(1, ["x", "y", "x"], 6));
        assert_ne!(value(1, ["x", "y", "x"], 5), value(1, ["x", "y", "z"], 5));
        assert_ne!(rules.digest(&json!({"names": [1, 2]})), rules.digest(&json!({"names": [2, 1]})));
    }

    #[test]
    fn a_map_whose_keys_and_values_do_not_alternate_is_refused() {
        struct Broken(&'static str);
        impl Serialize for Broken {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                for step in self.0.chars() {
                    if step == 'k' { map.serialize_key("key")? } else { map.serialize_value(&1)? }
                }
                map.end()
            }
        }
        assert_eq!(digest(&Broken("kv")), digest(&json!({ "key": 1 })));
        for steps in ["v", "k", "kk", "kkv", "kvv"] {
            let refused = Canonical::new().digest(&Broken(steps));
            assert!(matches!(refused, Err(CanonicalError::Value(_))), "{steps}: {refused:?}");
        }
    }

    #[test]
    fn a_value_that_nests_without_end_is_refused() {
        let deep = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([value]));
        assert!(Canonical::new().bytes(&deep(MAX_DEPTH)).is_ok());
        let error = Canonical::new().bytes(&deep(MAX_DEPTH + 1)).unwrap_err();
        assert!(error.to_string().starts_with("value nests deeper than 128 levels at [][]"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-4i32..4).prop_map(Value::from),
            (-4i32..4).prop_map(|n| Value::from(f64::from(n) / 2.0)),
            "[ab]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab]{0,2}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn two_values_share_a_form_only_when_they_are_equal(one in any_json(), other in any_json()) {
            let (a, b) = (Canonical::new().bytes(&one).unwrap(), Canonical::new().bytes(&other).unwrap());
            // The model: serde_json's own equality, which also tells 1 from 1.0; floats here have no -0.0.
            prop_assert_eq!(a == b, one == other);
            // No form is the beginning of another one, so that concatenations can't be confused either.
            prop_assert!(a == b || !b.starts_with(&a));
        }
    }
}
