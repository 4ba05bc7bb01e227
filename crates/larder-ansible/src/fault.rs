//! Faults: what is wrong with a value that is known by the way to it and not by its position.
//!
//! What queries answer has no positions. When one fails, the file is read once more and the way walked in it, so
//! that the message points at the line all the same.
//! Not here: how a problem looks (`problem`).

use crate::playbook::PLAYS;
use crate::problem::{Problem, nearest};
use crate::yaml::{self, Node, Position};

/// A step on the way from a document to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Index(usize),
    Key(Box<str>),
}

/// The way from a document to a value in it. A child borrows its parent, so that going on costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    parent: Option<&'a Way<'a>>,
    step: Option<BorrowedStep<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum BorrowedStep<'a> {
    Index(usize),
    Key(&'a str),
}

/// What is wrong, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    steps: Vec<Step>,
    /// Whether it is the key that is wrong, and not what stands under it.
    of_key: bool,
    message: String,
    remedy: Option<String>,
}

impl<'a> Way<'a> {
    /// The document itself.
    pub(crate) const ROOT: Self = Self { parent: None, step: None };

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Some(BorrowedStep::Index(index)) }
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Some(BorrowedStep::Key(key)) }
    }

    /// Something is wrong with the value here.
    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { steps: self.steps(), of_key: false, message: message.into(), remedy: None }
    }

    /// Something is wrong with a key of the mapping here.
    pub(crate) fn fault_of_key(&self, key: &str, message: impl Into<String>) -> Fault {
        Fault { of_key: true, ..self.key(key).fault(message) }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut way = Some(self);
        while let Some(Way { parent, step }) = way {
            steps.extend(step.map(|step| match step {
                BorrowedStep::Index(index) => Step::Index(index),
                BorrowedStep::Key(key) => Step::Key(key.into()),
            }));
            way = *parent;
        }
        steps.reverse();
        steps
    }
}

impl Fault {
    /// Adds what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the likeliest of `known` as what was meant, if one is near.
    pub(crate) fn suggest<'k>(self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.remedy(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// The same with its position in a file's text, as far as the way leads.
    pub(crate) fn located(self, file: &str, text: &[u8]) -> Problem {
        let Self { steps, of_key, message, remedy } = self;
        let document = yaml::parse(file, text).ok().and_then(|documents| documents.into_iter().next());
        let problem = match document.and_then(|document| find(&document, &steps, of_key)) {
            Some(position) => Problem::at(file, text, position, message),
            None => Problem::of_file(file, message),
        };
        match remedy {
            Some(remedy) => problem.remedy(remedy),
            None => problem,
        }
    }
}

/// The position of what the steps lead to. What is not there any more is looked for no further.
fn find(document: &Node, steps: &[Step], of_key: bool) -> Option<Position> {
    let mut node = document;
    // In the JSON form the plays stand under a key, and are known by their numbers all the same.
    if let (Some(Step::Index(_)), Some(plays)) = (steps.first(), document.get(PLAYS)) {
        node = plays;
    }
    for (n, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Index(index) => node.as_sequence().and_then(|items| items.get(*index)),
            Step::Key(key) => {
                let entry = node.as_mapping().and_then(|entries| {
                    entries.iter().find(|(known, _)| crate::plain::key_text(known) == *key)
                });
                if let (Some((known, _)), true) = (entry, of_key && n + 1 == steps.len()) {
                    return Some(known.at);
                }
                entry.map(|(_, value)| value)
            }
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    Some(node.at)
}
