//! The access file: who is known to a server, what they may do, what holds in which scope.
//!
//! ```toml
//! anybody = "read"                # what who brings no token may do; without it they are turned away
//!
//! [tokens.ci]
//! digest = "b56d…"                # as `larder serve token` prints it, or one of secret, secret_file, secret_env
//! role = "write"                  # everywhere, but
//! scopes = { release = "read" }   # here that
//! expires = 2027-01-01            # or with a time: 2027-01-01T12:00:00Z
//!
//! [certificates."builder.example"]
//! role = "admin"
//!
//! [scopes.main]
//! quota = "200 GiB"
//! max_age = "30 d"
//! results = "read-only"           # written by admins alone
//! write_once = true
//! wait = "30 s"
//!
//! [limits]                        # of each identity; a token or a certificate may have its own
//! requests_per_second = 500
//! bytes_per_second = "100 MiB"
//! concurrent = 256
//! ```
//!
//! Invariant: all that is wrong is told at once, each with its place and what to do about it; a file with a mistake is
//! not used in part.

mod doubt;
mod problem;
mod reader;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::key::{Digest, Scope};

pub use self::doubt::{Doubt, doubts};
pub use self::problem::{AccessError, Problem};
use self::reader::{Key, Reader, Value};
use super::{Allowance, Identity, Reach, Role, Rules, ScopeRules, Token};

/// A secret that is shorter can be guessed.
const SHORTEST_SECRET: usize = 16;

const FILE_KEYS: &[&str] = &["anybody", "tokens", "certificates", "scopes", "limits"];
const SECRET_KEYS: [&str; 4] = ["digest", "secret", "secret_file", "secret_env"];
const TOKEN_KEYS: &[&str] =
    &["digest", "secret", "secret_file", "secret_env", "role", "scopes", "expires", "limits"];
const CERTIFICATE_KEYS: &[&str] = &["role", "scopes", "limits"];
const SCOPE_KEYS: &[&str] = &["quota", "max_age", "results", "write_once", "wait"];
const LIMIT_KEYS: &[&str] = &["requests_per_second", "bytes_per_second", "concurrent"];
const ROLES: &[&str] = &["read", "write", "admin"];

/// What an access file may look at outside itself.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// A variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file, whose path is relative to the access file's directory.
    pub file: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

/// Reads an access file's text. `path` is where it came from.
pub fn read(path: &Path, text: &str, outside: Outside<'_>) -> Result<Rules, AccessError> {
    let mut reader = Reader::new(path, text);
    let mut file = File { outside, folder: path.parent().unwrap_or(Path::new("")), rules: Rules::default() };
    if let Some(document) = reader.parse() {
        file.read(&mut reader, document.get_ref());
    }
    let mut problems = reader.problems;
    if problems.is_empty() {
        return Ok(file.rules);
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(AccessError { problems })
}

/// What is read of a file so far.
struct File<'a> {
    outside: Outside<'a>,
    folder: &'a Path,
    rules: Rules,
}

impl File<'_> {
    fn read(&mut self, reader: &mut Reader<'_>, document: &toml::de::DeTable<'_>) {
        // The allowance that everybody has unless their own is told.
        let usual = document.iter().find(|(key, _)| key.get_ref() == "limits");
        let usual = usual.map(|(_, value)| allowance(reader, "limits", value)).unwrap_or_default();
        for (key, value) in document {
            match key.get_ref().as_ref() {
                "anybody" => {
                    let role = role(reader, "anybody", value);
                    let somebody = |role| Identity::new("anybody", [(Reach::Everywhere, role)]);
                    self.rules.anybody = role.map(|role| somebody(role).with_allowance(usual));
                }
                "tokens" => reader.each("tokens", value, |reader, key, value| {
                    self.token(reader, key, value, usual);
                }),
                "certificates" => reader.each("certificates", value, |reader, key, value| {
                    let name = key.get_ref().to_string();
                    let identity = certificate(reader, &name, value, usual);
                    self.rules.certificates.extend(identity.map(|identity| (name, identity)));
                }),
                "scopes" => reader.each("scopes", value, |reader, key, value| {
                    let scope = scope(reader, key);
                    let rules = scope_rules(reader, &format!("scopes.{}", key.get_ref()), value);
                    self.rules.scopes.extend(scope.map(|scope| (scope, rules)));
                }),
                "limits" => {}
                _ => reader.unknown(key, "the file", FILE_KEYS),
            }
        }
    }

    fn token(&mut self, reader: &mut Reader<'_>, name: &Key<'_>, value: &Value<'_>, usual: Allowance) {
        let table = format!("tokens.{}", name.get_ref());
        let Some(entries) = reader.table(&table, value) else { return };
        let (mut digests, mut grants, mut expires, mut own) = (Vec::new(), Vec::new(), None, None);
        let mut secrets = 0;
        for (key, value) in entries {
            match key.get_ref().as_ref() {
                word if SECRET_KEYS.contains(&word) => {
                    secrets += 1;
                    digests.extend(self.digest(reader, word, value));
                }
                "role" => grants.extend(role(reader, "role", value).map(|role| (Reach::Everywhere, role))),
                "scopes" => grants.extend(scoped(reader, &format!("{table}.scopes"), value)),
                "expires" => expires = reader.date("expires", value),
                "limits" => own = Some(allowance(reader, &format!("{table}.limits"), value)),
                _ => reader.unknown(key, &format!("[{table}]"), TOKEN_KEYS),
            }
        }
        if secrets != 1 {
            let fault = format!("[{table}] has {secrets} of {}, and needs one", SECRET_KEYS.join(", "));
            reader.report(name.span(), fault, "`larder serve token` makes a secret and its digest");
        }
        let identity = identity(name.get_ref(), grants, own.unwrap_or(usual));
        let Some(digest) = digests.pop() else { return };
        if self.rules.tokens.iter().any(|token| token.digest == digest) {
            let fault = format!("[{table}] has the secret of another token");
            reader.report(name.span(), fault, "give each its own; `larder serve token` makes one");
        }
        self.rules.tokens.push(Token { digest, identity, expires });
    }

    /// The digest of a secret, wherever it stands.
    fn digest(&self, reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<Digest> {
        let text = reader.string(key, value)?;
        let secret = match key {
            "digest" => {
                let fault = "`digest` is not 64 hexadecimal digits";
                let remedy = "`larder serve token` prints a secret and its digest";
                return text.parse().map_err(|_| reader.report(value.span(), fault, remedy)).ok();
            }
            "secret" => text.into_bytes(),
            "secret_env" => match (self.outside.variable)(&text) {
                Some(secret) => secret.into_bytes(),
                None => {
                    let fault = format!("the variable {text} is not set");
                    reader.report(value.span(), fault, "set it where the server is started");
                    return None;
                }
            },
            _ => {
                let path: PathBuf = self.folder.join(&text);
                match (self.outside.file)(&path) {
                    Ok(bytes) => bytes.trim_ascii().to_vec(),
                    Err(error) => {
                        let fault = format!("cannot read {}: {error}", path.display());
                        reader.report(value.span(), fault, "it holds the secret and nothing else");
                        return None;
                    }
                }
            }
        };
        if secret.len() < SHORTEST_SECRET {
            let fault = format!("the secret has fewer than {SHORTEST_SECRET} bytes");
            reader.report(value.span(), fault, "`larder serve token` makes one that nobody guesses");
            return None;
        }
        Some(Digest::of(&secret))
    }
}

fn identity(name: &str, mut grants: Vec<(Reach, Role)>, allowance: Allowance) -> Identity {
    // What holds in one scope is looked for first anyway; the order only makes equal files give equal rules.
    grants.sort_by_key(|(reach, _)| matches!(reach, Reach::Everywhere));
    Identity::new(Arc::from(name), grants).with_allowance(allowance)
}

fn certificate(reader: &mut Reader<'_>, name: &str, value: &Value<'_>, usual: Allowance) -> Option<Identity> {
    let table = format!("certificates.{name}");
    let (mut grants, mut own) = (Vec::new(), usual);
    for (key, value) in reader.table(&table, value)? {
        match key.get_ref().as_ref() {
            "role" => grants.extend(role(reader, "role", value).map(|role| (Reach::Everywhere, role))),
            "scopes" => grants.extend(scoped(reader, &format!("{table}.scopes"), value)),
            "limits" => own = allowance(reader, &format!("{table}.limits"), value),
            _ => reader.unknown(key, &format!("[{table}]"), CERTIFICATE_KEYS),
        }
    }
    Some(identity(name, grants, own))
}

fn role(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<Role> {
    let text = reader.choice(key, value, ROLES)?;
    Some(match text.as_str() {
        "read" => Role::Read,
        "write" => Role::Write,
        _ => Role::Admin,
    })
}

fn scope(reader: &mut Reader<'_>, key: &Key<'_>) -> Option<Scope> {
    let remedy = "a scope's name has letters, digits, '.', '_' and '-'";
    Scope::new(key.get_ref()).map_err(|error| reader.report(key.span(), error.to_string(), remedy)).ok()
}

/// Roles by scope.
fn scoped(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Vec<(Reach, Role)> {
    let mut grants = Vec::new();
    reader.each(name, value, |reader, key, value| {
        let (scope, role) = (scope(reader, key), role(reader, key.get_ref(), value));
        grants.extend(scope.zip(role).map(|(scope, role)| (Reach::In(scope), role)));
    });
    grants
}

fn scope_rules(reader: &mut Reader<'_>, table: &str, value: &Value<'_>) -> ScopeRules {
    let mut rules = ScopeRules::default();
    let Some(entries) = reader.table(table, value) else { return rules };
    for (key, value) in entries {
        match key.get_ref().as_ref() {
            "quota" => rules.quota_bytes = reader.size("quota", value),
            "max_age" => rules.max_age = reader.duration("max_age", value),
            "results" => {
                let choice = reader.choice("results", value, &["read-only", "read-write"]);
                rules.results_are_protected = choice.as_deref() == Some("read-only");
            }
            "write_once" => rules.writes_once = reader.boolean("write_once", value).unwrap_or_default(),
            "wait" => rules.wait = reader.duration("wait", value),
            _ => reader.unknown(key, &format!("[{table}]"), SCOPE_KEYS),
        }
    }
    rules
}

fn allowance(reader: &mut Reader<'_>, table: &str, value: &Value<'_>) -> Allowance {
    let mut allowance = Allowance::default();
    let Some(entries) = reader.table(table, value) else { return allowance };
    for (key, value) in entries {
        match key.get_ref().as_ref() {
            "requests_per_second" => {
                allowance.requests_per_second = reader.number("requests_per_second", value);
            }
            "bytes_per_second" => allowance.bytes_per_second = reader.size("bytes_per_second", value),
            "concurrent" => allowance.concurrent = reader.number("concurrent", value),
            _ => reader.unknown(key, &format!("[{table}]"), LIMIT_KEYS),
        }
    }
    allowance
}
