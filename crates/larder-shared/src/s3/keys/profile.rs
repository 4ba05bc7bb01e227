//! Keys in the files that the tools for AWS share: one for keys, and one for settings.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use larder::config::Secret;

use super::ask::{Why, read};
use super::role::WebIdentity;
use crate::AccessKey;

/// Ways to a key that are not gone here, by what a profile says where it goes them: before a key, and after it.
const BEFORE: [&str; 3] = ["role_arn", "sso_session", "sso_start_url"];
const AFTER: [&str; 2] = ["login_session", "credential_process"];

/// What a key consists of.
const KEY: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/// A section of those files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What it is called.
    pub name: String,
    /// Whether somebody chose it: then it has to be there.
    pub is_chosen: bool,
    /// The file with keys; empty if nobody knows of one.
    pub credentials: PathBuf,
    /// The file with settings, where a key may stand too; empty if nobody knows of one.
    pub config: PathBuf,
}

/// What a profile has.
#[derive(Debug)]
pub(super) enum Found {
    Key(AccessKey),
    Role(WebIdentity),
}

impl Profile {
    /// `None` if there is none, and nobody says there were.
    pub(super) async fn look(&self) -> Result<Option<Found>, Why> {
        let (credentials, config) = (contents(&self.credentials).await?, contents(&self.config).await?);
        let of_config = |head: &str| match head.split_once([' ', '\t']) {
            Some(("profile", name)) => name.trim() == self.name,
            _ => self.name == "default" && head == "default",
        };
        let (mut settings, own) =
            (section(&config, of_config), section(&credentials, |head| head == self.name));
        // A key is of one file: a part of another's makes it none.
        if own.keys().any(|name| KEY.contains(&name.as_str())) {
            settings.retain(|name, _| !KEY.contains(&name.as_str()));
        }
        settings.extend(own);
        match found(&settings)? {
            None if self.is_chosen => Err(Why::Nothing),
            found => Ok(found),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, credentials, config, .. } = self;
        let known = [credentials, config].into_iter().filter(|path| !path.as_os_str().is_empty());
        let known: Vec<_> = known.map(|path| path.display().to_string()).collect();
        write!(
            f,
            "profile {name:?} of {}",
            if known.is_empty() { "no file".to_owned() } else { known.join(" and ") }
        )
    }
}

/// Nothing if the file is not there.
async fn contents(path: &Path) -> Result<String, Why> {
    let is_absent = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory);
    match read(path).await {
        Err(Why::Unreadable { source, .. }) if is_absent(source.kind()) => Ok(String::new()),
        contents => contents,
    }
}

/// The settings of the sections that are meant, whose names are the same in large and small letters.
fn section(text: &str, is_meant: impl Fn(&str) -> bool) -> BTreeMap<String, &str> {
    let (mut settings, mut is_within) = (BTreeMap::new(), false);
    // How far the setting above is indented.
    let mut above = None;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if let Some(head) = line.strip_prefix('[') {
            let (head, _) = head.split_once(']').unwrap_or((head, ""));
            (is_within, above) = (is_meant(head.trim()), None);
            continue;
        }
        // What is indented further than the setting above belongs to that.
        let indented = line.len() - line.trim_start().len();
        if !is_within || above.is_some_and(|above| indented > above) {
            continue;
        }
        above = Some(indented);
        if let Some((name, value)) = line.split_once('=') {
            let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|comment| value.find(comment)).min();
            settings.insert(name.trim().to_ascii_lowercase(), value[..end.unwrap_or(value.len())].trim());
        }
    }
    settings
}

fn found(settings: &BTreeMap<String, &str>) -> Result<Option<Found>, Why> {
    let setting = |name| settings.get(name).copied();
    if let (Some(role), Some(token)) = (setting("role_arn"), setting("web_identity_token_file")) {
        let session = setting("role_session_name").map(str::to_owned);
        return Ok(Some(Found::Role(WebIdentity { token: token.into(), role: role.to_owned(), session })));
    }
    let otherwise = |ways: &[&'static str]| ways.iter().find(|name| settings.contains_key(**name)).copied();
    if let Some(way) = otherwise(&BEFORE) {
        return Err(Why::Otherwise(way));
    }
    match (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(Some(Found::Key(AccessKey {
            id: id.to_owned(),
            secret: Secret::new(secret),
            session_token: setting("aws_session_token").map(Secret::new),
        }))),
        (None, None) => otherwise(&AFTER).map_or(Ok(None), |way| Err(Why::Otherwise(way))),
        _ => Err(Why::Form),
    }
}
