//! `larder serve token`: a secret that nobody guesses, and what an access file needs to know of it.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use larder::key::Digest;

use crate::console::{Console, stdout};
use crate::failure::{Code, Failure};

/// How long a secret is, before it is written as hexadecimal digits.
const SECRET_BYTES: usize = 32;

/// Make a secret for a client, and the lines that an access file needs for it
#[derive(Debug, Args)]
#[command(after_help = "\
The secret is shown once: give it to the client. The lines go to the access file, which so has no secret.

Examples:
  larder serve token ci
  larder serve token ci --json")]
pub(super) struct Arguments {
    /// The name of who gets it, which stands in the record of what they write
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn run(arguments: &Arguments, console: Console) -> Result<Code, Failure> {
    let mut bytes = [0; SECRET_BYTES];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    // So few bytes come at once.
    filled.map_err(std::io::Error::from).context("cannot get random bytes")?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = Digest::of(secret.as_bytes()).to_string();
    let name = &arguments.name;
    let text = if console.json {
        format!("{}\n", serde_json::json!({ "name": name, "secret": secret, "digest": digest }))
    } else {
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let name = match !name.is_empty() && name.bytes().all(is_bare) {
            true => name.clone(),
            false => toml::Value::String(name.clone()).to_string(),
        };
        format!("secret: {secret}\n\n[tokens.{name}]\ndigest = \"{digest}\"\nrole = \"read\"\n")
    };
    stdout().write_all(text.as_bytes())?;
    Ok(Code::Done)
}
