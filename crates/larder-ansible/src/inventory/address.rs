//! Names of hosts: which texts are addresses, where a port is, and which hosts a range stands for.
//!
//! A port of `ansible/parsing/utils/addresses.py` and of `expand_hostname_range`, quirks included, by hand and not
//! with its regular expressions: those backtrack, and inventories have millions of lines.

/// How many hosts one expression stands for at most, and all of an inventory.
pub(super) const RANGE_LIMIT: usize = 1 << 20;
/// How long their names are together at most.
const RANGE_LIMIT_BYTES: usize = 1 << 27;

/// A host or a range of hosts, perhaps with a port; `None` if it is no address.
pub(super) fn parse(text: &str) -> Option<(&str, Option<u32>)> {
    let (mut text, mut port) = (text, None);
    // Ansible tries both, the second on what the first has left.
    if let Some((inside, number)) = bracketed_port(text) {
        (text, port) = (inside, Some(number));
    }
    if let Some((before, number)) = plain_port(text) {
        (text, port) = (before, Some(number));
    }
    // An IPv4 address is a host name too.
    (is_ipv6(text) || is_host_name(text)).then_some((text, port))
}

/// `[anything]:22`.
fn bracketed_port(text: &str) -> Option<(&str, u32)> {
    let (inside, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    (!inside.is_empty()).then_some((inside, number(port)?))
}

/// `name:22`, where colons of the name stand in brackets.
fn plain_port(text: &str) -> Option<(&str, u32)> {
    let (before, port) = text.rsplit_once(':')?;
    let port = number(port)?;
    let mut rest = before;
    while let Some(at) = rest.find([':', '[', ']']) {
        rest = rest[at..].strip_prefix('[')?.split_once(']')?.1;
    }
    Some((before, port))
}

fn number(digits: &str) -> Option<u32> {
    // A number that does not fit is no port; that it is refused later is all that matters.
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().unwrap_or(u32::MAX))
}

/// The length of `[0:9]`, `[a:f]` or `[0:9:2]` at the start of a text; hexadecimal numbers where `is_hex`.
fn range_len(text: &str, is_hex: bool) -> Option<usize> {
    let inside = &text[1..text.starts_with('[').then(|| text.find(']'))??];
    let mut bounds = inside.split(':');
    let (begin, end) = (bounds.next()?, bounds.next()?);
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| is(&byte));
    let both = |is: fn(&u8) -> bool| all(begin, is) && all(end, is);
    let is_letter = || begin.len() == 1 && end.len() == 1 && both(u8::is_ascii_alphabetic);
    let is_range = if is_hex { both(u8::is_ascii_hexdigit) } else { is_letter() || both(u8::is_ascii_digit) };
    let has_step = bounds.next().is_none_or(|step| all(step, u8::is_ascii_digit));
    (is_range && has_step && bounds.next().is_none()).then_some(inside.len() + 2)
}

fn is_host_name(text: &str) -> bool {
    let mut rest = text;
    let mut may_end = false;
    let mut starts_label = true;
    while let Some(c) = rest.chars().next() {
        if let Some(len) = range_len(rest, false) {
            rest = &rest[len..];
            (may_end, starts_label) = (true, false);
            continue;
        }
        match c {
            '.' if may_end => (may_end, starts_label) = (false, true),
            '-' if !starts_label => may_end = false,
            '_' => (may_end, starts_label) = (false, false),
            c if c.is_alphanumeric() => (may_end, starts_label) = (true, false),
            _ => return false,
        }
        rest = &rest[c.len_utf8()..];
    }
    may_end
}

/// An IPv6 address; each of its parts may be a range.
fn is_ipv6(text: &str) -> bool {
    // The parts before and after `::`.
    let (mut counts, mut gap) = ([0usize; 2], false);
    let mut rest = text;
    if is_ipv4_in_ipv6(text) {
        return true;
    }
    if let Some(after) = rest.strip_prefix("::") {
        (gap, rest) = (true, after);
        if rest.is_empty() {
            return true;
        }
    }
    loop {
        let Some(len) = part_len(rest) else { return false };
        counts[usize::from(gap)] += 1;
        rest = &rest[len..];
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix("::") {
            if gap {
                return false;
            }
            (gap, rest) = (true, after);
            if rest.is_empty() {
                break;
            }
        } else if let Some(after) = rest.strip_prefix(':') {
            rest = after;
        } else {
            return false;
        }
    }
    match (gap, counts) {
        (false, [parts, _]) => parts == 8,
        (true, [before, 0]) => (1..=6).contains(&before),
        (true, [0, after]) => (1..=6).contains(&after),
        (true, [before, after]) => before + after <= 7,
    }
}

fn part_len(text: &str) -> Option<usize> {
    let digits = text.bytes().take(5).take_while(u8::is_ascii_hexdigit).count();
    if (1..=4).contains(&digits) { Some(digits) } else { range_len(text, true) }
}

/// `::ffff:192.0.2.3` and its like; Ansible lets each part be up to four hexadecimal digits or a range.
fn is_ipv4_in_ipv6(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let starts = ["0:0:0:0:0:0:", "0:0:0:0:0:ffff:", "::ffff:", "::"];
    starts.iter().filter_map(|start| lower.strip_prefix(start)).any(|mut rest| {
        for part in 0..4 {
            let Some(len) = part_len(rest) else { return false };
            rest = &rest[len..];
            match (part, rest.strip_prefix('.')) {
                (3, _) => return rest.is_empty(),
                (_, Some(after)) => rest = after,
                (_, None) => return false,
            }
        }
        false
    })
}

/// Why a range does not expand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RangeError {
    #[error("a bracket of `{}` is not closed", shortened(.0))]
    Unclosed(String),
    #[error("`{}` has a `|` beside a range", shortened(.0))]
    Bar(String),
    #[error("range [{0}] must be [begin:end] or [begin:end:step]")]
    Bounds(String),
    #[error("range [{0}] has no end")]
    NoEnd(String),
    #[error("range [{0}] has a begin and an end of different length after a leading zero")]
    Lengths(String),
    #[error("range [{0}] ends before it begins")]
    Reversed(String),
    #[error("range [{0}] has bounds that are neither numbers nor letters")]
    NotNumbers(String),
    #[error("{0} stands for too many hosts: {RANGE_LIMIT} are the most")]
    TooMany(String),
}

impl RangeError {
    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Unclosed(_) => "close it, as in web[01:20]",
            Self::Bar(_) => "a name with a range can't have `|` in it",
            Self::Bounds(_) | Self::NoEnd(_) | Self::NotNumbers(_) => {
                "write a range as web[01:20], db[a:f] or web[0:10:2]"
            }
            Self::Lengths(_) => "pad both to one length, as in web[01:20]",
            Self::Reversed(_) => "write the lower bound first",
            Self::TooMany(_) => "narrow the range, or split the inventory",
        }
    }
}

/// The hosts that a text with ranges stands for, the last range counting fastest.
pub(super) fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    let mut pieces = Vec::new();
    let (mut rest, mut count) = (text, 1usize);
    while let Some((head, after)) = rest.split_once('[') {
        // Python takes the first closing bracket of all, and it then stands before the opening one.
        let range = after.split_once(']').filter(|_| !head.contains(']'));
        let Some((range, tail)) = range else { return Err(RangeError::Unclosed(shortened(text))) };
        let items = sequence(range)?;
        count = count.saturating_mul(items.len());
        if count > RANGE_LIMIT || count.saturating_mul(text.len()) > RANGE_LIMIT_BYTES {
            return Err(RangeError::TooMany(format!("`{}`", shortened(text))));
        }
        pieces.push((head, items));
        rest = tail;
    }
    if !pieces.is_empty() && text.contains('|') {
        return Err(RangeError::Bar(shortened(text)));
    }
    let name = |mut number: usize| {
        // The digits of a number whose places have the lengths of the ranges as their bases.
        let mut chosen: Vec<&str> = Vec::with_capacity(pieces.len());
        for (_, items) in pieces.iter().rev() {
            chosen.push(&items[number % items.len()]);
            number /= items.len();
        }
        let mut name = String::with_capacity(text.len());
        for ((head, _), item) in pieces.iter().zip(chosen.iter().rev()) {
            name.push_str(head);
            name.push_str(item);
        }
        name + rest
    };
    Ok((0..count).map(name).collect())
}

/// The start of a text that may be very long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn sequence(range: &str) -> Result<Vec<String>, RangeError> {
    let bounds: Vec<&str> = range.split(':').collect();
    let (begin, end, step) = match bounds[..] {
        [begin, end] => (begin, end, "1"),
        [begin, end, step] => (begin, end, step),
        _ => return Err(RangeError::Bounds(shortened(range))),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(RangeError::NoEnd(shortened(range)));
    }
    let width = if begin.starts_with('0') && begin.len() > 1 { begin.chars().count() } else { 0 };
    if width > 0 && width != end.chars().count() {
        return Err(RangeError::Lengths(shortened(range)));
    }
    let number = |text: &str| whole(text).ok_or_else(|| RangeError::NotNumbers(shortened(range)));
    if let (Some(first), Some(last)) = (LETTERS.find(begin), LETTERS.find(end)) {
        if first > last {
            return Err(RangeError::Reversed(shortened(range)));
        }
        return match number(step)? {
            0 => Err(RangeError::NotNumbers(shortened(range))),
            step @ 1.. => {
                let step = usize::try_from(step).unwrap_or(usize::MAX);
                Ok(LETTERS[first..=last].chars().step_by(step).map(String::from).collect())
            }
            _ => Ok(Vec::new()),
        };
    }
    let (first, last, step) = (number(begin)?, number(end)?, number(step)?);
    if step == 0 {
        return Err(RangeError::NotNumbers(shortened(range)));
    }
    // Python counts up to the end, and down to what is above it.
    let (mut number, count) = match step {
        1.. => (first, if first > last { 0 } else { (last - first) / step + 1 }),
        _ => (first, if first > last + 1 { (first - last - 2) / -step + 1 } else { 0 }),
    };
    if count > RANGE_LIMIT as i128 {
        return Err(RangeError::TooMany(format!("`[{}]`", shortened(range))));
    }
    let mut items = Vec::with_capacity(count as usize);
    for _ in 0..count {
        items.push(format!("{number:0width$}"));
        number += step;
    }
    Ok(items)
}

/// Python's `int` of a text.
fn whole(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number =
        digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let number: i64 = is_number.then(|| digits.replace('_', "").parse().ok())??;
    Some(i128::from(if text.starts_with('-') { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_from_ranges_and_from_addresses() {
        for (text, parsed) in [
            ("web", Some(("web", None))),
            ("web:22", Some(("web", Some(22)))),
            ("web[1:3]:22", Some(("web[1:3]", Some(22)))),
            ("web[1:3]", Some(("web[1:3]", None))),
            ("web[1:3].example.com:2222", Some(("web[1:3].example.com", Some(2222)))),
            ("10.0.0.1:22", Some(("10.0.0.1", Some(22)))),
            ("10.0.[0:3].1", Some(("10.0.[0:3].1", None))),
            ("[fe80::1]:22", Some(("fe80::1", Some(22)))),
            ("[web:22]:33", Some(("web", Some(22)))),
            ("fe80::1", Some(("fe80::1", None))),
            ("::1", Some(("::1", None))),
            ("1:2:3:4:5:6:7:8", Some(("1:2:3:4:5:6:7:8", None))),
            ("fe80::[1:ff]", Some(("fe80::[1:ff]", None))),
            ("::ffff:192.0.2.3", Some(("::ffff:192.0.2.3", None))),
            ("a_b-c.d", Some(("a_b-c.d", None))),
            ("_a", Some(("_a", None))),
            ("größe", Some(("größe", None))),
            ("a_", None),
            ("a-", None),
            ("-a", None),
            ("a..b", None),
            ("a.", None),
            ("a:b", None),
            ("web:", None),
            ("web[1:3", None),
            ("web[a:ff]", None),
            ("1:2:3", None),
            ("1::2::3", None),
            ("1:2:3:4:5:6:7::", None),
            ("user@host", None),
            ("", None),
            (":22", None),
        ] {
            assert_eq!(parse(text), parsed, "{text}");
        }
    }

    #[test]
    fn ranges_count_as_python_counts() {
        let check = |text: &str| expand(text).map(|hosts| hosts.join(" ")).map_err(|error| error.to_string());
        assert_eq!(check("web[01:03]").as_deref(), Ok("web01 web02 web03"));
        assert_eq!(check("web[1:10:4]x").as_deref(), Ok("web1x web5x web9x"));
        assert_eq!(check("[a:c][0:1]").as_deref(), Ok("a0 a1 b0 b1 c0 c1"));
        assert_eq!(check("h[:2]").as_deref(), Ok("h0 h1 h2"));
        assert_eq!(check("h[y:B]").as_deref(), Ok("hy hz hA hB"));
        assert_eq!(check("h[5:1]").as_deref(), Ok(""));
        assert_eq!(check("h[3:0:-1]").as_deref(), Ok("h3 h2"));
        assert_eq!(check("h[008:010]").as_deref(), Ok("h008 h009 h010"));
    }

    #[test]
    fn a_bad_range_is_named() {
        let check = |text: &str| expand(text).unwrap_err().to_string();
        assert_eq!(check("web[1:3"), "a bracket of `web[1:3` is not closed");
        assert_eq!(check("web]1:3["), "a bracket of `web]1:3[` is not closed");
        assert_eq!(check("web[1]"), "range [1] must be [begin:end] or [begin:end:step]");
        assert_eq!(check("web[1:]"), "range [1:] has no end");
        assert_eq!(
            check("web[01:3]"),
            "range [01:3] has a begin and an end of different length after a leading zero"
        );
        assert_eq!(check("web[c:a]"), "range [c:a] ends before it begins");
        assert_eq!(check("web[a:3]"), "range [a:3] has bounds that are neither numbers nor letters");
        assert_eq!(check("web[1:3:0]"), "range [1:3:0] has bounds that are neither numbers nor letters");
        assert_eq!(check("a|b[1:3]"), "`a|b[1:3]` has a `|` beside a range");
    }

    #[test]
    fn a_range_that_would_fill_the_memory_is_refused() {
        for text in ["a[0:99999999999]", "a[0:1000][0:1000][0:1000]", "a[0:9][0:9][0:9][0:9][0:9][0:9][0:9]"]
        {
            assert!(matches!(expand(text), Err(RangeError::TooMany(_))), "{text}");
        }
        let many = format!("a{}", "[0:9]".repeat(100_000));
        assert!(matches!(expand(&many), Err(RangeError::TooMany(_))));
    }
}
