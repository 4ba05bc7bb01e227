//! The code of an answer that is an error, for people.

use std::fmt;

use object_store::Error;
use serde::Deserialize;

/// A word, so that nothing else of an answer is told; none if it has none.
#[derive(Debug)]
pub(super) struct Code(Option<String>);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |code| write!(f, ": {code}"))
    }
}

impl Code {
    /// Takes what should be one.
    pub(super) fn new(word: &str) -> Self {
        let is_good = (1..=64).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        Self(is_good.then(|| word.to_owned()))
    }

    /// Whether it says that the access key is none, and not that it may not do something.
    pub(super) fn is_of_the_key(&self) -> bool {
        let word = self.0.as_deref();
        matches!(word, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken"))
    }

    /// Finds `<Code>Word</Code>` in what a store says, or its status.
    pub(super) fn of(error: &Error) -> Self {
        let text = error.to_string();
        let code = in_xml(&text);
        match code.0 {
            Some(_) => code,
            None => between(&text, "status code: ", " "),
        }
    }

    /// Finds it in an answer in XML or JSON.
    pub(super) fn in_answer(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Failed {
            #[serde(alias = "Code")]
            code: String,
        }
        match serde_json::from_slice::<Failed>(bytes) {
            Ok(Failed { code }) => Self::new(&code),
            Err(_) => in_xml(&String::from_utf8_lossy(bytes)),
        }
    }
}

fn in_xml(text: &str) -> Code {
    between(text, "<Code>", "</Code>")
}

fn between(text: &str, before: &str, after: &str) -> Code {
    let rest = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    rest.map_or(Code(None), |(word, _)| Code::new(word))
}
