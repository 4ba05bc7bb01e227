//! From the parser's events to nodes: tags, anchors, merge keys, duplicate keys, limits.
//!
//! Invariant: the stack of open collections is explicit and bounded, and so is what aliases multiply.
//! Not here: what plain scalars mean (`resolve`).

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Node, Position, Value, resolve};
use crate::problem::Problem;

/// How deep collections may be nested. Python's own stack ends Ansible's reading not far above.
const DEPTH_LIMIT: usize = 128;
/// How much aliases may add to a text, in bytes as [`Size`] counts them.
const ALIAS_LIMIT_BYTES: usize = 32 << 20;

const CORE: &str = "tag:yaml.org,2002:";

/// Builds the documents of one text.
pub(super) struct Builder<'a> {
    name: &'a str,
    text: &'a str,
    open: Vec<Frame>,
    /// What has an anchor, by the parser's number for it; not there while it is still open.
    anchored: HashMap<usize, (Node, Size)>,
    from_aliases: usize,
}

/// A collection that is not closed yet.
struct Frame {
    at: Position,
    anchor: usize,
    items: Items,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping(Pairs),
}

#[derive(Default)]
struct Pairs {
    entries: Vec<(Node, Node)>,
    /// The key whose value comes next.
    key: Option<Key>,
    /// What merge keys bring, to stand before the mapping's own entries.
    merged: Vec<(Node, Node)>,
}

enum Key {
    Plain(Node),
    Merge,
}

/// What a node takes and how deep it goes.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, open: Vec::new(), anchored: HashMap::new(), from_aliases: 0 }
    }

    pub(super) fn documents(mut self) -> Result<Vec<Node>, Problem> {
        let mut documents = Vec::new();
        let mut parser: Parser<'a, StrInput<'a>> = Parser::new_from_str(self.text);
        for next in &mut parser {
            let (event, span) = next.map_err(|error| self.syntax(&error))?;
            let at = position(span);
            let whole = match event {
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag, at)?,
                Event::SequenceStart(anchor, tag) => {
                    self.begin(at, anchor, tag, Items::Sequence(Vec::new()))?;
                    None
                }
                Event::MappingStart(anchor, tag) => {
                    self.begin(at, anchor, tag, Items::Mapping(Pairs::default()))?;
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                _ => None,
            };
            documents.extend(whole);
        }
        Ok(documents)
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        at: Position,
    ) -> Result<Option<Node>, Problem> {
        let is_plain = style == ScalarStyle::Plain;
        if is_plain && tag.is_none() && text == "<<" && self.is_key_next() {
            self.set_key(Key::Merge);
            return Ok(None);
        }
        let value = match tag {
            None if is_plain => resolve::plain(&text),
            None => Value::String(text.into()),
            Some(tag) => self.tagged(&text, &full_name(&tag), at)?,
        };
        self.place(Node { value, at }, anchor)
    }

    /// A scalar whose tag says what it is.
    fn tagged(&self, text: &str, tag: &str, at: Position) -> Result<Value, Problem> {
        let wrong = |what: &str| self.problem(at, format!("{text:?} is not {what}"));
        let core = tag.strip_prefix(CORE);
        Ok(match core.unwrap_or(tag) {
            "!vault" | "!vault-encrypted" => Value::Vault(text.into()),
            // Ansible finds out anew what the text means, whatever quotes it had.
            "!unsafe" => resolve::plain(text),
            "!" => Value::String(text.into()),
            "str" | "timestamp" | "binary" if core.is_some() => Value::String(text.into()),
            "null" if core.is_some() => Value::Null,
            "bool" if core.is_some() => Value::Bool(resolve::bool(text).ok_or_else(|| wrong("a boolean"))?),
            "int" if core.is_some() => resolve::integer(text).ok_or_else(|| wrong("an integer"))?,
            "float" if core.is_some() => {
                let float = resolve::float(text).or_else(|| text.parse().ok());
                Value::Float(float.ok_or_else(|| wrong("a number"))?)
            }
            _ => return Err(self.unknown_tag(tag, at)),
        })
    }

    fn begin(
        &mut self,
        at: Position,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        items: Items,
    ) -> Result<(), Problem> {
        if self.is_key_next() {
            let problem = self.problem(at, "a mapping key must be a scalar");
            return Err(if self.is_template(at) { problem.remedy(QUOTE_TEMPLATE) } else { problem });
        }
        if let Some(tag) = tag {
            let name = full_name(&tag);
            let known = matches!(
                (&items, name.strip_prefix(CORE).unwrap_or(&name)),
                (_, "!unsafe" | "!")
                    | (Items::Sequence(_), "seq" | "omap" | "pairs")
                    | (Items::Mapping(_), "map" | "set")
            );
            if !known {
                return Err(self.unknown_tag(&name, at));
            }
        }
        self.check_depth(1, at)?;
        self.open.push(Frame { at, anchor, items });
        Ok(())
    }

    fn end(&mut self) -> Result<Option<Node>, Problem> {
        let Frame { at, anchor, items } = self.open.pop().expect("the parser closes what it opened");
        let value = match items {
            Items::Sequence(items) => Value::Sequence(items),
            Items::Mapping(Pairs { entries, mut merged, .. }) => {
                merged.extend(entries);
                Value::Mapping(last_of_each(merged))
            }
        };
        self.place(Node { value, at }, anchor)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Option<Node>, Problem> {
        let Some((node, size)) = self.anchored.get(&anchor) else {
            return Err(self.problem(at, "the alias stands inside of what it stands for"));
        };
        self.from_aliases += size.bytes;
        self.check_depth(size.depth, at)?;
        if self.from_aliases > ALIAS_LIMIT_BYTES {
            let message = format!("aliases expand to more than {} MiB", ALIAS_LIMIT_BYTES >> 20);
            return Err(self.problem(at, message).remedy("write fewer aliases of aliases"));
        }
        self.place(node.clone(), 0)
    }

    /// Puts a node where it belongs; gives it back if it is a document.
    fn place(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, Problem> {
        if anchor != 0 {
            let size = Size::of(&node);
            self.anchored.insert(anchor, (node.clone(), size));
        }
        let Some(frame) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut frame.items {
            Items::Sequence(items) => items.push(node),
            Items::Mapping(pairs) => match pairs.key.take() {
                Some(Key::Plain(key)) => pairs.entries.push((key, node)),
                Some(Key::Merge) => {
                    let at = node.at;
                    if !pairs.merge(node) {
                        return Err(self.problem(at, "only a mapping or a list of mappings can be merged"));
                    }
                }
                None if matches!(node.value, Value::Sequence(_) | Value::Mapping(_)) => {
                    return Err(self.problem(node.at, "a mapping key must be a scalar"));
                }
                None => pairs.key = Some(Key::Plain(node)),
            },
        }
        Ok(None)
    }

    fn is_key_next(&self) -> bool {
        match self.open.last() {
            Some(Frame { items: Items::Mapping(pairs), .. }) => pairs.key.is_none(),
            _ => false,
        }
    }

    fn set_key(&mut self, key: Key) {
        if let Some(Frame { items: Items::Mapping(pairs), .. }) = self.open.last_mut() {
            pairs.key = Some(key);
        }
    }

    fn check_depth(&self, added: usize, at: Position) -> Result<(), Problem> {
        if self.open.len() + added <= DEPTH_LIMIT {
            return Ok(());
        }
        Err(self.problem(at, format!("nested deeper than {DEPTH_LIMIT} levels")))
    }

    fn problem(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem::at(self.name, self.text.as_bytes(), at, message)
    }

    fn unknown_tag(&self, tag: &str, at: Position) -> Problem {
        let shown = tag.strip_prefix(CORE).map_or_else(|| tag.to_owned(), |core| format!("!!{core}"));
        self.problem(at, format!("tag `{shown}` is not known"))
            .remedy("Ansible knows !vault and !unsafe, and the tags of YAML itself")
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let at = position(Span::empty(*error.marker()));
        if error.info().contains("tab")
            && let Some(tab) = self.tab_in_indentation(at.line)
        {
            return self.problem(tab, "a tab indents this line").remedy("indent with spaces");
        }
        let problem = self.problem(at, error.info());
        match remedy(error.info()) {
            _ if self.is_template(at) => problem.remedy(QUOTE_TEMPLATE),
            Some(remedy) => problem.remedy(remedy),
            None => problem,
        }
    }

    /// The first tab that stands before any text of a line, from a line on. The parser may notice it while it
    /// still reads the line before.
    fn tab_in_indentation(&self, from: usize) -> Option<Position> {
        let lines = self.text.lines().enumerate().skip(from - 1);
        let indentations = lines.map(|(n, line)| (n + 1, &line[..line.len() - line.trim_start().len()]));
        let mut tabs = indentations
            .filter_map(|(line, blank)| blank.find('\t').map(|column| Position { line, column: column + 1 }));
        tabs.next()
    }

    /// Whether the line up to a place has a value that begins with a template and no quote: `name: {{ x }}`.
    fn is_template(&self, at: Position) -> bool {
        let line = self.text.lines().nth(at.line - 1).unwrap_or_default();
        let before = line.char_indices().nth(at.column).map_or(line, |(end, _)| &line[..end]);
        [": {{", "- {{", "[{{", "[ {{", ", {{"].iter().any(|sign| before.contains(sign))
            || before.trim_start().starts_with("{{")
    }
}

const QUOTE_TEMPLATE: &str = "quote a value that begins with a template: \"{{ name }}\"";

/// What usually is behind a message of the parser.
fn remedy(message: &str) -> Option<&'static str> {
    if message.contains("mapping values are not allowed") {
        Some("quote a value that has `: ` in it, or mend the indentation")
    } else if ["unexpected end of", "expected ','"].iter().any(|sign| message.contains(sign)) {
        Some("close the quote or bracket that is still open")
    } else {
        None
    }
}

impl Pairs {
    /// Takes over what a merge key brings; false if that is no mapping. As in PyYAML the first mapping of a list
    /// wins, so it comes last.
    fn merge(&mut self, node: Node) -> bool {
        match node.value {
            Value::Mapping(entries) => {
                self.merged.extend(entries);
                true
            }
            Value::Sequence(items) => items.into_iter().rev().all(|item| match item.value {
                Value::Mapping(entries) => {
                    self.merged.extend(entries);
                    true
                }
                _ => false,
            }),
            _ => false,
        }
    }
}

impl Size {
    fn of(node: &Node) -> Self {
        let sum = |parts: &mut dyn Iterator<Item = &Node>| {
            parts.map(Self::of).fold(Self::default(), |sum, part| Self {
                bytes: sum.bytes + part.bytes,
                depth: sum.depth.max(part.depth),
            })
        };
        let within = match &node.value {
            Value::String(text) | Value::Vault(text) => Self { bytes: text.len(), depth: 0 },
            Value::Sequence(items) => sum(&mut items.iter()),
            Value::Mapping(entries) => sum(&mut entries.iter().flat_map(|(key, value)| [key, value])),
            _ => Self::default(),
        };
        let deeper = usize::from(matches!(node.value, Value::Sequence(_) | Value::Mapping(_)));
        Self { bytes: within.bytes + size_of::<Node>(), depth: within.depth + deeper }
    }
}

/// Each key once, where it stood first, with the value that it had last: what assigning to a dictionary does.
fn last_of_each(entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let mut places: HashMap<(u8, Box<str>), usize> = HashMap::with_capacity(entries.len());
    let mut kept: Vec<(Node, Node)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match places.entry(identity(&key.value)) {
            std::collections::hash_map::Entry::Occupied(place) => kept[*place.get()].1 = value,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// Two keys are the same if they are of one type and say the same.
fn identity(key: &Value) -> (u8, Box<str>) {
    match key {
        Value::String(text) => (0, text.clone()),
        Value::Integer(number) => (1, number.to_string().into()),
        Value::Bool(truth) => (2, truth.to_string().into()),
        Value::Float(number) => (3, number.to_bits().to_string().into()),
        Value::Vault(text) => (4, text.clone()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => (5, Box::default()),
    }
}

fn full_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

fn position(span: Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}
