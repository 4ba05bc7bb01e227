//! Python literals, as `ast.literal_eval` reads them: INI inventories write values so.
//!
//! What is no literal is a string as it stands; so there are no errors here, only `None`. Sets and tuples become
//! lists, bytes become text, `...` becomes a string, as Ansible's ini plugin does it.
//!
//! Not here: the mark of untrusted text that Ansible puts on what was bytes; names of characters (`\N{...}`) and
//! tuples as keys, which leave the text a string; that `1` and `True` are one key.

use super::value::{Value, float};

/// How deep brackets nest at most, as in Python's own tokenizer.
const DEPTH_LIMIT: usize = 200;
/// How many digits a decimal number has at most, as in Python.
const DIGITS_LIMIT: usize = 4300;

/// The literal that a text is; `None` if it is none.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.expression_list(None)?;
    reader.skip_space();
    reader.is_done().then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\u{c}')) {
            self.at += 1;
        }
        // A comment goes on to the end of the text, which has one line.
        if self.peek() == Some('#') {
            self.at = self.text.len();
        }
    }

    fn is_done(&self) -> bool {
        self.at == self.text.len()
    }

    /// One expression, or several with commas between, which make a tuple.
    fn expression_list(&mut self, close: Option<char>) -> Option<Value> {
        let first = self.expression()?;
        let mut items = vec![first];
        let mut is_tuple = false;
        loop {
            self.skip_space();
            if !self.take(",") {
                break;
            }
            is_tuple = true;
            self.skip_space();
            if self.peek() == close {
                break;
            }
            items.push(self.expression()?);
        }
        if is_tuple { Some(Value::List(items)) } else { items.pop() }
    }

    fn expression(&mut self) -> Option<Value> {
        self.skip_space();
        let value = match self.peek()? {
            '+' | '-' => self.signed()?,
            '0'..='9' | '.' => self.number_or_ellipsis()?,
            '(' => self.bracketed(|reader| reader.tuple())?,
            '[' => self.bracketed(|reader| Some(Value::List(reader.items(']')?)))?,
            '{' => self.bracketed(|reader| reader.map_or_set())?,
            _ => self.word()?,
        };
        self.skip_space();
        match (&value, self.peek()) {
            (Value::Integer(_) | Value::Digits(_) | Value::Float(_), Some('+' | '-')) => self.complex(&value),
            _ => Some(value),
        }
    }

    fn bracketed(&mut self, read: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return None;
        }
        let value = read(self)?;
        self.depth -= 1;
        Some(value)
    }

    fn tuple(&mut self) -> Option<Value> {
        self.skip_space();
        if self.take(")") {
            return Some(Value::List(Vec::new()));
        }
        let value = self.expression_list(Some(')'))?;
        self.skip_space();
        self.take(")").then_some(value)
    }

    fn items(&mut self, close: char) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.peek()? == close {
                self.at += 1;
                return Some(items);
            }
            items.push(self.expression()?);
            self.skip_space();
            if !self.take(",") && self.peek()? != close {
                return None;
            }
        }
    }

    fn map_or_set(&mut self) -> Option<Value> {
        self.skip_space();
        if self.take("}") {
            return Some(Value::Map(Vec::new()));
        }
        let mut entries: Vec<(Value, Value)> = Vec::new();
        let first = self.expression()?;
        if !self.take(":") {
            return self.set(first);
        }
        let mut key = first;
        loop {
            let value = self.expression()?;
            if matches!(key, Value::List(_) | Value::Map(_)) {
                return None;
            }
            match entries.iter_mut().find(|(known, _)| *known == key) {
                Some((_, old)) => *old = value,
                None => entries.push((key, value)),
            }
            let more = self.take(",");
            self.skip_space();
            if self.take("}") {
                return Some(Value::Map(entries));
            }
            if !more {
                return None;
            }
            key = self.expression()?;
            if !self.take(":") {
                return None;
            }
        }
    }

    /// Python's order of a set differs from run to run; here it is that of the text.
    fn set(&mut self, first: Value) -> Option<Value> {
        let mut items = vec![first];
        if self.take(",") {
            items.extend(self.items('}')?);
        } else if !self.take("}") {
            return None;
        }
        // Lists can't be in a set, and `{{ x }}` is meant for a template.
        if items.iter().any(|item| matches!(item, Value::List(_) | Value::Map(_))) {
            return None;
        }
        let mut distinct: Vec<Value> = Vec::with_capacity(items.len());
        for item in items {
            if !distinct.contains(&item) {
                distinct.push(item);
            }
        }
        Some(Value::List(distinct))
    }

    fn signed(&mut self) -> Option<Value> {
        let minus = self.next()? == '-';
        self.skip_space();
        if !matches!(self.peek()?, '0'..='9' | '.') {
            return None;
        }
        let number = self.number_or_ellipsis()?;
        Some(match number {
            Value::Integer(number) if minus => Value::Integer(-number),
            Value::Digits(digits) if minus && &*digits == "9223372036854775808" => Value::Integer(i64::MIN),
            Value::Digits(digits) if minus => Value::Digits(format!("-{digits}").into()),
            Value::Float(number) if minus => Value::Float(-number),
            // An imaginary number has become the text that Python prints.
            Value::String(text) if minus && &*text != "..." => Value::String(format!("(-0-{text})").into()),
            Value::String(text) if &*text == "..." => return None,
            number => number,
        })
    }

    /// A number and an imaginary one: the text that Python prints for it.
    fn complex(&mut self, real: &Value) -> Option<Value> {
        let sign = self.next()?;
        self.skip_space();
        if !matches!(self.peek()?, '0'..='9' | '.') {
            return None;
        }
        let Value::String(imaginary) = self.number_or_ellipsis()? else { return None };
        let real = match real {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return None,
        };
        if &*imaginary == "..." {
            return None;
        }
        Some(Value::String(format!("({}{sign}{imaginary})", part(real)).into()))
    }

    fn number_or_ellipsis(&mut self) -> Option<Value> {
        if self.take("...") {
            return Some("...".into());
        }
        let start = self.at;
        let text = self.rest().as_bytes();
        let radix = match (text.first(), text.get(1).map(u8::to_ascii_lowercase)) {
            (Some(b'0'), Some(b'x')) => 16,
            (Some(b'0'), Some(b'o')) => 8,
            (Some(b'0'), Some(b'b')) => 2,
            _ => 10,
        };
        let value = if radix == 10 { self.decimal(start)? } else { self.whole(radix)? };
        // What follows a number directly would make it a name or another number.
        let follows = self.peek();
        (!follows.is_some_and(|c| c == '_' || c == '.' || c.is_alphanumeric())).then_some(value)
    }

    fn whole(&mut self, radix: u32) -> Option<Value> {
        self.at += 2;
        self.take("_");
        let digits = self.digits(radix)?;
        match i64::from_str_radix(&digits, radix) {
            Ok(number) => Some(Value::Integer(number)),
            Err(_) => Some(Value::Digits(decimal_digits(&digits, radix)?.into())),
        }
    }

    /// Digits with single underscores between them, which are left out.
    fn digits(&mut self, radix: u32) -> Option<String> {
        let mut digits = String::new();
        let mut may_underscore = false;
        while let Some(c) = self.peek() {
            if c.is_digit(radix) {
                digits.push(c);
                may_underscore = true;
            } else if c == '_' && may_underscore {
                may_underscore = false;
            } else {
                break;
            }
            self.at += 1;
        }
        (may_underscore && !digits.is_empty()).then_some(digits)
    }

    fn decimal(&mut self, start: usize) -> Option<Value> {
        let mut is_whole = true;
        let mut spelled = String::new();
        if self.peek() != Some('.') {
            spelled.push_str(&self.digits(10)?);
        }
        if self.take(".") {
            is_whole = false;
            spelled.push('.');
            if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                spelled.push_str(&self.digits(10)?);
            } else if self.at - start == 1 {
                return None;
            }
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            is_whole = false;
            spelled.push('e');
            self.at += 1;
            if let Some(sign @ ('+' | '-')) = self.peek() {
                spelled.push(sign);
                self.at += 1;
            }
            spelled.push_str(&self.digits(10)?);
        }
        if matches!(self.peek(), Some('j' | 'J')) {
            self.at += 1;
            return Some(Value::String(format!("{}j", part(spelled.parse().ok()?)).into()));
        }
        if !is_whole {
            return Some(Value::Float(spelled.parse().ok()?));
        }
        let trimmed = spelled.trim_start_matches('0');
        // `010` is no number in Python, `00` is.
        if spelled.len() > DIGITS_LIMIT || (trimmed.len() < spelled.len() && !trimmed.is_empty()) {
            return None;
        }
        if trimmed.is_empty() {
            return Some(Value::Integer(0));
        }
        Some(trimmed.parse().map_or_else(|_| Value::Digits(trimmed.into()), Value::Integer))
    }

    fn word(&mut self) -> Option<Value> {
        let is_name = |c: char| c == '_' || c.is_alphanumeric();
        let end = self.rest().find(|c| !is_name(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..end];
        if matches!(self.rest()[end..].chars().next(), Some('"' | '\'')) && end <= 2 {
            return self.strings();
        }
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            "set" => {
                self.at += end;
                self.skip_space();
                if !self.take("(") {
                    return None;
                }
                self.skip_space();
                return self.take(")").then(|| Value::List(Vec::new()));
            }
            _ => return None,
        };
        self.at += end;
        Some(value)
    }

    /// String literals side by side, which are one.
    fn strings(&mut self) -> Option<Value> {
        let mut text = String::new();
        let mut all_bytes = None;
        loop {
            let quote = self.rest().find(['"', '\''])?;
            let prefix = self.rest()[..quote].to_ascii_lowercase();
            let (raw, bytes) = match prefix.as_str() {
                "" | "u" => (false, false),
                "r" => (true, false),
                "b" => (false, true),
                "br" | "rb" => (true, true),
                _ => return None,
            };
            if *all_bytes.get_or_insert(bytes) != bytes {
                return None;
            }
            self.at += quote;
            self.string(raw, bytes, &mut text)?;
            self.skip_space();
            let rest = self.rest();
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            if end > 2 || !rest[end..].starts_with(['"', '\'']) {
                return Some(Value::String(text.into()));
            }
        }
    }

    fn string(&mut self, raw: bool, bytes: bool, text: &mut String) -> Option<()> {
        let quote = self.next()?;
        let double = [quote, quote].iter().collect::<String>();
        let is_triple = self.take(&double);
        let mut units: Vec<u8> = Vec::new();
        loop {
            let c = self.next()?;
            if c == quote && (!is_triple || self.take(&double)) {
                break;
            }
            if bytes && !c.is_ascii() {
                return None;
            }
            if c != '\\' {
                units.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let next = self.next()?;
            if raw {
                units.push(b'\\');
                units.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                self.escape(next, bytes, &mut units)?;
            }
        }
        text.push_str(&String::from_utf8(units).ok()?);
        Some(())
    }

    fn escape(&mut self, c: char, bytes: bool, units: &mut Vec<u8>) -> Option<()> {
        let code = match c {
            '\\' | '\'' | '"' => c as u32,
            'a' => 7,
            'b' => 8,
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            '0'..='7' => {
                let mut code = c.to_digit(8)?;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.at += 1;
                }
                code
            }
            'x' => self.hexadecimal(2)?,
            'u' if !bytes => self.hexadecimal(4)?,
            'U' if !bytes => self.hexadecimal(8)?,
            'N' if !bytes => return None,
            _ => {
                units.push(b'\\');
                units.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
        };
        if bytes {
            units.push(code as u8);
        } else {
            units.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Some(())
    }

    fn hexadecimal(&mut self, len: usize) -> Option<u32> {
        let digits = self.rest().get(..len).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        self.at += len;
        Some(code)
    }
}

/// A part of a complex number, which Python prints without `.0`.
fn part(number: f64) -> String {
    let text = float(number);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// A whole number of a radix below 17 in decimal digits; `None` beyond what Python prints.
fn decimal_digits(digits: &str, radix: u32) -> Option<String> {
    if digits.len() > DIGITS_LIMIT {
        return None;
    }
    // Groups of nine decimal digits, lowest first.
    let mut groups: Vec<u32> = vec![0];
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        let mut carry = u64::from(digit);
        for group in &mut groups {
            let value = u64::from(*group) * u64::from(radix) + carry;
            *group = (value % 1_000_000_000) as u32;
            carry = value / 1_000_000_000;
        }
        if carry > 0 {
            groups.push(carry as u32);
        }
    }
    let (highest, rest) = groups.split_last()?;
    let rest: String = rest.iter().rev().map(|group| format!("{group:09}")).collect();
    let decimal = format!("{highest}{rest}");
    (decimal.len() <= DIGITS_LIMIT).then_some(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let Some(value) = read(text) else { return "no literal".to_owned() };
        let mut out = String::new();
        value.write_json(&mut out, 0);
        out.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_python_takes_for_a_literal_is_one() {
        for (text, value) in [
            ("1", "1"),
            (" -5 ", "-5"),
            ("1_000", "1000"),
            ("00", "0"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("99999999999999999999", "99999999999999999999"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("0xffffffffffffffffffff", "1208925819614629174706175"),
            ("09.5", "9.5"),
            ("1e3", "1000.0"),
            (".5", "0.5"),
            ("1e999", "Infinity"),
            ("True", "true"),
            ("None", "null"),
            ("1,2", "[ 1, 2 ]"),
            ("(1,)", "[ 1 ]"),
            ("(1)", "1"),
            ("()", "[]"),
            ("['a', \"b\",]", "[ \"a\", \"b\" ]"),
            ("{'b': 1, 'a': {}, 'b': 2}", "{ \"a\": {}, \"b\": 2 }"),
            ("{1, 2, 1}", "[ 1, 2 ]"),
            ("set()", "[]"),
            ("'a' 'b'", "\"ab\""),
            ("r'\\n' '\\n\\x41\\101\\u00fc\\q'", "\"\\\\n\\nAAü\\\\q\""),
            ("b'\\xc3\\xbc'", "\"ü\""),
            ("'''a'b'''", "\"a'b\""),
            ("8080 # the port", "8080"),
            ("...", "\"...\""),
            ("3j", "\"3j\""),
            ("1+2j", "\"(1+2j)\""),
        ] {
            assert_eq!(json(text), value, "{text}");
        }
    }

    #[test]
    fn what_python_does_not_take_for_a_literal_stays_text() {
        let deep = "[".repeat(100_000);
        for text in [
            "{{1}}",
            "",
            "yes",
            "true",
            "010",
            "1__0",
            "1_",
            "0x",
            "1.2.3",
            "10.0.0.1",
            "--5",
            "-True",
            "1+2",
            "a b",
            "'a",
            "f'x'",
            "'a' b'b'",
            "[1",
            "{1: 2, 3}",
            "{[1]: 2}",
            "(",
            "1e",
            "5m",
            "not True",
            "'\\ud800'",
            "'\\N{BULLET}'",
            "a,b",
            ",",
            "1,,2",
            "[,]",
            "set(1)",
            "%",
            "-...",
            "{{ x }}",
            &deep,
        ] {
            assert_eq!(read(text), None, "{text:.40}");
        }
    }
}
