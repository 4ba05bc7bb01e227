//! Scripts that are one command in plain words, for which no shell is needed.
//!
//! Invariant: what is taken for plain means the same to each shell that stands as `sh`: a program and its arguments. So only
//! characters count as plain that none gives a meaning to, no word that one may know by itself, and an environment that
//! none changes.

/// What shells know by themselves, sorted: words of their language, and commands that they carry out, also where there is
/// a program of that name, as the two may differ.
const KNOWN: [&str; 110] = [
    ".",
    ":",
    "[",
    "alias",
    "autoload",
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
    "compound",
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
    "end",
    "enum",
    "esac",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "fi",
    "float",
    "for",
    "foreach",
    "function",
    "functions",
    "getopts",
    "global",
    "hash",
    "help",
    "history",
    "if",
    "in",
    "integer",
    "jobs",
    "kill",
    "let",
    "limit",
    "local",
    "log",
    "logout",
    "mapfile",
    "nameref",
    "namespace",
    "nocorrect",
    "noglob",
    "nohup",
    "popd",
    "print",
    "printf",
    "pushd",
    "pwd",
    "r",
    "read",
    "readarray",
    "readonly",
    "realpath",
    "redirect",
    "rehash",
    "rename",
    "repeat",
    "return",
    "sched",
    "select",
    "set",
    "setopt",
    "shift",
    "shopt",
    "sleep",
    "source",
    "stop",
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
    "vared",
    "wait",
    "whence",
    "where",
    "which",
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

/// Variables that shells set or change for what they start.
const CHANGED: [&str; 18] = [
    "BASHOPTS",
    "BASH_ENV",
    "ENV",
    "EUID",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "POSIXLY_CORRECT",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "PWD",
    "SHELLOPTS",
    "SHLVL",
    "UID",
    "_",
];

/// Whether each shell hands a variable on as it is. One whose name is none in a script is dropped by some, and a function
/// to others.
pub(crate) fn is_handed_on(variable: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let begins_well = variable.first().is_some_and(|byte| !byte.is_ascii_digit());
    begins_well
        && variable.iter().all(is_name)
        && !CHANGED.iter().any(|changed| changed.as_bytes() == variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_shell_changes_is_handed_on() {
        for (variable, expected) in [
            ("HOME", true),
            ("_x1", true),
            ("", false),
            ("1a", false),
            ("a.b", false),
            ("BASH_FUNC_ls%%", false),
        ] {
            assert_eq!(is_handed_on(variable.as_bytes()), expected, "{variable}");
        }
        assert!(CHANGED.iter().all(|changed| !is_handed_on(changed.as_bytes())));
    }

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
