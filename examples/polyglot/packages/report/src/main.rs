//! Prints words, lines and the longest line of each file that it is given, tab-separated.

use std::path::Path;

#[repr(C)]
#[derive(Default)]
struct Tally {
    words: usize,
    lines: usize,
    longest_line: usize,
}

extern "C" {
    fn tally_count(text: *const u8, length: usize, result: *mut Tally);
}

fn main() -> std::io::Result<()> {
    for path in std::env::args().skip(1) {
        let text = std::fs::read(&path)?;
        let mut tally = Tally::default();
        // SAFETY: the pointer and the length are those of one buffer, and `Tally` has the layout of `struct tally`.
        unsafe { tally_count(text.as_ptr(), text.len(), &mut tally) };
        let name = Path::new(&path).file_stem().unwrap_or_default().to_string_lossy();
        println!("{name}\t{}\t{}\t{}", tally.words, tally.lines, tally.longest_line);
    }
    Ok(())
}
