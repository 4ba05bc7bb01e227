//! Cutting what a command prints into whole lines with a name before each.

/// A line that is longer is cut, so that a command without line breaks is still shown, in bounded memory.
const MAX_LINE_BYTES: usize = 64 << 10;

/// One stream of one task.
pub(super) struct Lines {
    prefix: String,
    /// The start of a line whose end has not come yet; always empty without a prefix.
    open: Vec<u8>,
}

impl Lines {
    /// Without a prefix, everything passes as it is.
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix, open: Vec::new() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Takes what came and returns the lines that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.prefix.is_empty() {
            return bytes.to_vec();
        }
        let mut whole = Vec::with_capacity(bytes.len() + self.prefix.len());
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                whole.extend_from_slice(self.prefix.as_bytes());
                whole.append(&mut self.open);
            } else if self.open.len() >= MAX_LINE_BYTES {
                whole.extend(self.finish());
            }
        }
        whole
    }

    /// Ends a line that was left open.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let mut line = self.prefix.clone().into_bytes();
        line.append(&mut self.open);
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, pieces: &[&str], expected: &str) {
        let mut lines = Lines::new(prefix.to_owned());
        let mut text: Vec<u8> = pieces.iter().flat_map(|piece| lines.push(piece.as_bytes())).collect();
        text.extend(lines.finish());
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn each_line_has_the_name_once_wherever_it_is_cut() {
        check("a: ", &["x\ny", "y\n", "", "\n", "z"], "a: x\na: yy\na: \na: z\n");
        check("a: ", &["x\n"], "a: x\n");
    }

    #[test]
    fn without_a_name_every_byte_passes_as_it_is() {
        check("", &["x\ny", "y", "\r\n\n"], "x\nyy\r\n\n");
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_without_bound() {
        let mut lines = Lines::new("a: ".to_owned());
        let shown = lines.push(&vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(shown.len(), MAX_LINE_BYTES + 4);
    }
}
