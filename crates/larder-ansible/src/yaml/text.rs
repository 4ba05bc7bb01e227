//! From bytes to text: what is not YAML before there is any syntax.
//!
//! Not here: syntax (`build`).

use super::Position;
use crate::problem::Problem;

/// The text without its byte order mark, if all of it is UTF-8 and allowed in YAML.
pub(super) fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Problem::of_file(name, "the file is UTF-16").remedy("save it as UTF-8"));
    }
    let stripped = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(stripped) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&stripped[..error.valid_up_to()]);
            let byte = stripped[error.valid_up_to()];
            let message = format!("byte 0x{byte:02x} is not UTF-8");
            return Err(Problem::at(name, bytes, end_of(&valid), message).remedy("save the file as UTF-8"));
        }
    };
    if let Some((offset, found)) = text.char_indices().find(|(_, c)| !allowed(*c)) {
        let message = format!("character U+{:04X} is not allowed in YAML", u32::from(found));
        let remedy = format!("write it as an escape in double quotes: \"\\u{:04x}\"", u32::from(found));
        return Err(Problem::at(name, bytes, end_of(&text[..offset]), message).remedy(remedy));
    }
    Ok(text)
}

/// Characters that may stand in a YAML text, as libyaml has it.
fn allowed(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{20}'..='\u{7e}' | '\u{85}' => true,
        '\u{a0}'.. => !matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}'),
        _ => false,
    }
}

/// The position after a text.
fn end_of(text: &str) -> Position {
    let (mut line, mut column) = (1, 1);
    let mut previous = '\0';
    for c in text.chars() {
        match c {
            '\n' if previous == '\r' => {}
            '\n' | '\r' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
        previous = c;
    }
    Position { line, column }
}
