//! Files and what they say, without positions.

use larder::engine::{Context, Query, QueryError};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::inventory::json;
use crate::plain::Plain;
use crate::problem::Problem;
use crate::weight::weight;
use crate::yaml;

/// What a YAML file says; `None` if there is no such file. A file that is encrypted as a whole is a
/// [`Plain::Vault`].
///
/// Comments, blank lines and the position of everything are left out, so what is built on it is not computed anew
/// when only those change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    /// Relative to the root.
    pub(crate) path: String,
}

impl Query for Document {
    type Output = Option<Plain>;
    type Error = Problem;
    const KIND: &'static str = "ansible.document";
    const VERSION: u32 = 3;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<Option<Plain>, Problem> {
        let read =
            cx.read(&self.path).await.map_err(|error| Problem::of_file(&self.path, described(&error)))?;
        let Some(text) = read else { return Ok(None) };
        if text.starts_with(b"$ANSIBLE_VAULT;") {
            return Ok(Some(Plain::Vault(String::from_utf8_lossy(&text).into())));
        }
        // As Ansible does: some escapes of JSON mean something else in YAML.
        if let Some(document) = json::parse(&text) {
            return Ok(Some(with_vaults(&Plain::from(&document))));
        }
        let documents = yaml::parse(&self.path, &text)?;
        match &documents[..] {
            [] => Ok(Some(Plain::Null)),
            [document] => Ok(Some(Plain::from(document))),
            [_, second, ..] => {
                let message = "a second document begins here, and Ansible reads files with one";
                Err(Problem::at(&self.path, &text, second.at, message))
            }
        }
    }
}

/// The same with what is encrypted as such: JSON has no tag to say so, and says it with a key.
fn with_vaults(value: &Plain) -> Plain {
    match value {
        Plain::List(items) => Plain::List(items.iter().map(with_vaults).collect()),
        Plain::Map(entries) => match entries.get("__ansible_vault") {
            Some(Plain::String(text)) if entries.len() == 1 => Plain::Vault(text.clone()),
            _ => Plain::Map(entries.iter().map(|(key, value)| (key.into(), with_vaults(value))).collect()),
        },
        other => other.clone(),
    }
}

/// What a file says; `None` if there is no such file.
pub(super) async fn document(cx: &Context, path: &str) -> Result<Option<Plain>, Problem> {
    let answer = cx.get(Document { path: path.to_owned() }).await.map_err(problem)?;
    Ok(answer.value.clone())
}

/// The problem with its position in the file.
pub(super) async fn located(cx: &Context, path: &str, fault: Fault) -> Problem {
    match cx.read(path).await {
        Ok(Some(text)) => fault.located(path, &text),
        _ => fault.located(path, b""),
    }
}

/// What went wrong in another query goes wrong in this one.
pub(crate) fn problem(error: QueryError<Problem>) -> Problem {
    match error {
        QueryError::Computation(problem) => (*problem).clone(),
        other => Problem::nowhere(described(&other)),
    }
}

/// An error with what it was caused by.
pub(super) fn described(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        out = format!("{out}: {cause}");
        source = cause.source();
    }
    out
}
