//! What a plain scalar means: the implicit types of YAML 1.1 with PyYAML's patterns.
//!
//! The patterns are those of PyYAML's `resolver.py`, the conversions those of its `constructor.py`; where the two
//! disagree with the YAML specification, PyYAML is right here.
//! Not here: tags (`build`).

use super::Value;

/// The value of a plain scalar.
pub(super) fn plain(text: &str) -> Value {
    // The first character decides which patterns are tried, so most words cost one look.
    let value = match text.as_bytes().first() {
        None => Some(Value::Null),
        Some(b'~' | b'n' | b'N') if is_null(text) => Some(Value::Null),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') => {
            bool(text).map(Value::Bool)
        }
        Some(b'-' | b'+' | b'.' | b'0'..=b'9') => integer(text).or_else(|| float(text).map(Value::Float)),
        _ => None,
    };
    value.unwrap_or_else(|| Value::String(text.into()))
}

/// Whether a text is one of the words for nothing.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The truth value that a text is a word for.
pub(super) fn bool(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The whole number that a text is.
pub(super) fn integer(text: &str) -> Option<Value> {
    let (sign, digits) = signed(text);
    let (radix, body) = match digits.as_bytes() {
        [b'0', b'b', body @ ..] => (2, body),
        [b'0', b'x', body @ ..] => (16, body),
        [b'0'] => (10, digits.as_bytes()),
        [b'0', body @ ..] => (8, body),
        [b'1'..=b'9', ..] if digits.contains(':') => return sexagesimal(sign, digits),
        [b'1'..=b'9', ..] => (10, digits.as_bytes()),
        _ => return None,
    };
    let digit = |byte: u8| char::from(byte).is_digit(radix) || byte == b'_';
    if body.is_empty() || !body.iter().all(|&byte| digit(byte)) {
        return None;
    }
    let body: String = body.iter().filter(|&&byte| byte != b'_').map(|&byte| char::from(byte)).collect();
    if body.is_empty() {
        return None;
    }
    match i64::from_str_radix(&format!("{sign}{body}"), radix) {
        Ok(value) => Some(Value::Integer(value)),
        // Python's integers have no end. In decimal the digits say it all; the rest never stands in a playbook.
        Err(_) if radix == 10 => Some(Value::String(format!("{sign}{body}").into())),
        Err(_) => Some(Value::String(text.into())),
    }
}

/// `[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+`: hours, minutes, seconds.
fn sexagesimal(sign: &str, digits: &str) -> Option<Value> {
    let (first, rest) = digits.split_once(':')?;
    if !first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') || !rest.split(':').all(is_sixtieth) {
        return None;
    }
    let mut value: i64 = 0;
    for part in digits.replace('_', "").split(':') {
        value = value.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    Some(Value::Integer(if sign == "-" { -value } else { value }))
}

/// `[0-5]?[0-9]`.
fn is_sixtieth(part: &str) -> bool {
    matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9'])
}

/// The number with a point that a text is. Without a point it is none, whatever its exponent says.
pub(super) fn float(text: &str) -> Option<f64> {
    let (sign, digits) = signed(text);
    let factor = if sign == "-" { -1.0 } else { 1.0 };
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(factor * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if text == digits => return Some(f64::NAN),
        _ => {}
    }
    let (whole, fraction) = digits.split_once('.')?;
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if whole.contains(':') {
        let (first, rest) = whole.split_once(':')?;
        let fits = starts_with_digit(first) && is_digits(first) && rest.split(':').all(is_sixtieth);
        return if fits && is_digits(fraction) { sexagesimal_float(factor, digits) } else { None };
    }
    let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (fraction, None),
    };
    if !is_digits(whole) || !is_digits(fraction) || !exponent.is_none_or(is_exponent) {
        return None;
    }
    // Without digits before the point there are some after it, and no sign.
    let well_formed = if whole.is_empty() {
        text == digits && starts_with_digit(fraction)
    } else {
        starts_with_digit(whole)
    };
    if !well_formed {
        return None;
    }
    digits.replace('_', "").parse::<f64>().ok().map(|value| factor * value)
}

fn sexagesimal_float(factor: f64, digits: &str) -> Option<f64> {
    let mut value = 0.0;
    for part in digits.replace('_', "").split(':') {
        value = value * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(factor * value)
}

/// `[-+][0-9]+`: the sign is not optional.
fn is_exponent(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn starts_with_digit(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
}

/// The sign, if it is a minus, and what follows it.
fn signed(text: &str) -> (&'static str, &str) {
    match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    }
}
