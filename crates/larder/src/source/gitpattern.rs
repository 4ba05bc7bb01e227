//! Rules of `.gitignore` as git reads them: bytes, with character classes, and without braces.
//!
//! Not here: in which files rules stand and what they are for (`ignore`), and how far they have come in a path
//! (`pattern`).

use super::pattern::Component;

/// What stands before a slash and the names between slashes, as they are to be matched.
pub(super) struct GitRule {
    /// One rule may stand for several.
    pub(super) alternatives: Vec<Vec<Component>>,
    /// Whether it is about directories only.
    pub(super) directory_only: bool,
}

/// One name with wildcards in it.
#[derive(Debug)]
pub(super) struct Wild(Box<[Piece]>);

#[derive(Debug, Clone)]
enum Piece {
    Byte(u8),
    AnyByte,
    /// `*`.
    AnyBytes,
    OneOf(Box<Class>),
}

enum Token {
    Slash,
    Piece(Piece),
}

/// A set of bytes.
#[derive(Debug, Clone, Default)]
struct Class([u64; 4]);

impl GitRule {
    /// Reads a line that is neither empty nor a comment, without its `!` and the spaces at its end. One that is not
    /// well formed has no alternatives: it matches nothing.
    pub(super) fn read(line: &[u8]) -> Self {
        let directory_only = line.ends_with(b"/");
        let line = line.strip_suffix(b"/").unwrap_or(line);
        let is_anchored = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        let mut alternatives = Vec::new();
        // No name is empty.
        if line.split(|&byte| byte == b'/').all(|name| !name.is_empty()) {
            let texts = if is_anchored { unglued(line) } else { vec![line.to_vec()] };
            alternatives.extend(texts.iter().filter_map(|text| components(text, is_anchored)));
        }
        Self { alternatives, directory_only }
    }
}

/// What git compares without looking for wildcards is all that stands before the first one, and what follows is a pattern
/// of its own: `a**/b` is `a` and then `**/b`, which also `ab` and `a1/2/b` match. Returns what spells that out.
fn unglued(line: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let mut line = line.to_vec();
    loop {
        let plain = line.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(line.len());
        let (before, rest) = line.split_at(plain);
        let stars = rest.iter().take_while(|&&byte| byte == b'*').count();
        let is_glued = stars > 1 && before.last().is_some_and(|&byte| byte != b'/');
        match rest[stars..].strip_prefix(b"/") {
            Some(after) if is_glued => {
                texts.push([before, b"*/**/", after].concat());
                line = [before, after].concat();
            }
            None if is_glued && rest.len() == stars => {
                texts.push([before, b"*/**"].concat());
                texts.push([before, b"*"].concat());
                return texts;
            }
            _ => {
                texts.push(line);
                return texts;
            }
        }
    }
}

/// `None` if the text is not well formed.
fn components(text: &[u8], is_anchored: bool) -> Option<Vec<Component>> {
    let tokens = tokens(text)?;
    let mut components = Vec::new();
    if !is_anchored {
        components.push(Component::AnyDepth);
    }
    for name in tokens.split(|token| matches!(token, Token::Slash)) {
        let component = component(name)?;
        let is_again =
            matches!((&component, components.last()), (Component::AnyDepth, Some(Component::AnyDepth)));
        if !is_again {
            components.push(component);
        }
    }
    Some(components)
}

fn component(name: &[Token]) -> Option<Component> {
    let pieces: Vec<&Piece> = name
        .iter()
        .filter_map(|token| match token {
            Token::Piece(piece) => Some(piece),
            Token::Slash => None,
        })
        .collect();
    if pieces.is_empty() {
        return None;
    }
    if pieces.len() > 1 && pieces.iter().all(|piece| matches!(piece, Piece::AnyBytes)) {
        return Some(Component::AnyDepth);
    }
    let mut parts = vec![Vec::new()];
    for piece in &pieces {
        match piece {
            Piece::AnyBytes => parts.push(Vec::new()),
            Piece::Byte(byte) => parts.last_mut().expect("starts with one part").push(*byte),
            Piece::AnyByte | Piece::OneOf(_) => {
                return Some(Component::Wild(Wild(pieces.into_iter().cloned().collect())));
            }
        }
    }
    Some(Component::of_parts(parts))
}

/// `None` if an escape or a class does not end, or a class is not known.
fn tokens(text: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        tokens.push(match byte {
            b'/' => Token::Slash,
            b'*' => Token::Piece(Piece::AnyBytes),
            b'?' => Token::Piece(Piece::AnyByte),
            b'[' => Token::Piece(Piece::OneOf(Box::new(Class::read(text, &mut at)?))),
            b'\\' => {
                let escaped = *text.get(at)?;
                at += 1;
                if escaped == b'/' { Token::Slash } else { Token::Piece(Piece::Byte(escaped)) }
            }
            _ => Token::Piece(Piece::Byte(byte)),
        });
    }
    Some(tokens)
}

impl Wild {
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let pieces = &*self.0;
        let (mut piece, mut at) = (0, 0);
        // The last star, and how far it reaches.
        let mut star = None;
        loop {
            let fits = match (pieces.get(piece), name.get(at)) {
                (None, None) => return true,
                (Some(Piece::AnyBytes), _) => {
                    star = Some((piece, at));
                    piece += 1;
                    continue;
                }
                (Some(Piece::AnyByte), Some(_)) => true,
                (Some(Piece::Byte(own)), Some(byte)) => own == byte,
                (Some(Piece::OneOf(class)), Some(byte)) => class.has(*byte),
                (None, Some(_)) | (Some(_), None) => false,
            };
            if fits {
                piece += 1;
                at += 1;
                continue;
            }
            match star {
                Some((of, reach)) if reach < name.len() => {
                    star = Some((of, reach + 1));
                    (piece, at) = (of + 1, reach + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
        }
    }

    /// Reads a class whose bracket ends before `at`, which is moved behind the class. `None` if it does not end.
    fn read(text: &[u8], at: &mut usize) -> Option<Self> {
        let mut class = Self::default();
        let is_negated = matches!(text.get(*at)?, b'!' | b'^');
        *at += usize::from(is_negated);
        // What a range may start with; a bracket that comes first is a member.
        let (mut before, mut is_first) = (None, true);
        loop {
            let byte = *text.get(*at)?;
            *at += 1;
            if byte == b']' && !is_first {
                break;
            }
            is_first = false;
            let ends_range = text.get(*at).is_some_and(|&next| next != b']');
            match (byte, before) {
                (b'-', Some(from)) if ends_range => {
                    let to = member(text, at)?;
                    class.add(from..=to);
                    before = None;
                }
                (b'[', _) if text.get(*at) == Some(&b':') => {
                    let rest = &text[*at + 1..];
                    let end = rest.iter().position(|&byte| byte == b']')?;
                    // Without a colon before it, that bracket ends the class, and what seemed to be a name is members.
                    if let Some(name) = rest[..end].strip_suffix(b":") {
                        let is_in = named(name)?;
                        class.add((0..=u8::MAX).filter(is_in));
                        *at += 1 + end + 1;
                        before = None;
                    } else {
                        class.add([byte]);
                        before = Some(byte);
                    }
                }
                _ => {
                    *at -= 1;
                    let byte = member(text, at)?;
                    class.add([byte]);
                    before = Some(byte);
                }
            }
        }
        if is_negated {
            class.0 = class.0.map(|bits| !bits);
        }
        Some(class)
    }
}

/// One byte of a class, perhaps quoted.
fn member(text: &[u8], at: &mut usize) -> Option<u8> {
    *at += usize::from(*text.get(*at)? == b'\\');
    let byte = *text.get(*at)?;
    *at += 1;
    Some(byte)
}

/// Which bytes a class has by its name, for git.
fn named(name: &[u8]) -> Option<fn(&u8) -> bool> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => is_space,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}
