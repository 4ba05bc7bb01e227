//! Scripts that are one command in plain words, for which no shell is needed.
//!
//! Invariant: what is taken for plain means the same to each shell: a program and its arguments. So only characters count
//! as plain that no shell gives a meaning to, and no word that a shell may know by itself.

/// What shells know by themselves, sorted: words of their language, and commands that they carry out, also where there is
/// a program of that name, as the two may differ.
const KNOWN: [&str; 81] = [
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "chdir",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "do",
    "done",
    "echo",
    "elif",
    "else",
    "enable",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "print",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "then",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "whence",
    "while",
];

/// The words of a script that is a program and its arguments and nothing else.
pub(crate) fn words(script: &str) -> Option<Vec<&str>> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./:,+@%= ".contains(char);
    if !script.chars().all(is_plain) {
        return None;
    }
    let words: Vec<&str> = script.split(' ').filter(|word| !word.is_empty()).collect();
    let program = *words.first()?;
    let begins_plainly =
        program.starts_with(|char: char| char.is_ascii_alphanumeric() || "_./".contains(char));
    // One with `=` sets a variable, and one that begins with it is expanded by some.
    let is_known = program.contains('=') || KNOWN.contains(&program);
    let expanded = words.iter().any(|word| word.starts_with('='));
    (begins_plainly && !is_known && !expanded).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_its_arguments_is_plain_and_whatever_means_something_to_a_shell_is_not() {
        for (script, expected) in [
            ("make", &["make"][..]),
            ("  sh   ./build.sh ", &["sh", "./build.sh"]),
            ("/usr/bin/env -i A=b+c,d@1:2% x_y", &["/usr/bin/env", "-i", "A=b+c,d@1:2%", "x_y"]),
            ("../tools/gen.py --out=a/b", &["../tools/gen.py", "--out=a/b"]),
        ] {
            assert_eq!(words(script).as_deref(), Some(expected), "{script}");
        }
        for script in [
            "",
            " ",
            "A=b make",
            "cd src",
            "echo hi",
            "test -e a",
            "exec make",
            ". ./env",
            "-x",
            "%1",
            "make a =b",
            "make\nmake",
            "make\ta",
            "make &",
            "a|b",
            "a;b",
            "a<b",
            "a>b",
            "(a)",
            "{ a",
            "$A",
            "a $A",
            "`a`",
            "a*",
            "a ?",
            "a [b]",
            "a {b,c}",
            "~/a",
            "a ~",
            "a #b",
            "a\\ b",
            "a \"b\"",
            "a 'b'",
            "! a",
            "a ^b",
            "a é",
        ] {
            assert_eq!(words(script), None, "{script}");
        }
        for known in KNOWN {
            assert_eq!(words(&format!("{known} a")), None);
        }
        assert!(KNOWN.is_sorted());
    }
}
