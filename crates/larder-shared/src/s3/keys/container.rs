//! Keys that a container is given, as by ECS and EKS.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use larder::config::Secret;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::ask::{Given, Why, client, given, read, send};
use crate::tls::TlsFiles;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// Who answers at a path without a host.
const HOST: &str = "http://169.254.170.2";
/// Who may be asked without encryption beside this machine: what containers reach of ECS and EKS.
const HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Where a container has its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    url: String,
    token: Option<ContainerToken>,
}

/// What a container says to be given its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerToken {
    /// This.
    Value(Secret),
    /// What stands in a file at that time.
    File(PathBuf),
}

impl Container {
    /// Takes a path, such as ECS names, or a URL, such as EKS does.
    pub fn new(path_or_url: &str, token: Option<ContainerToken>) -> Self {
        let url = match path_or_url.starts_with('/') {
            true => format!("{HOST}{path_or_url}"),
            false => path_or_url.to_owned(),
        };
        Self { url, token }
    }

    pub(super) async fn take(&self, tls: &TlsFiles) -> Result<Given, Why> {
        if !is_safe(&self.url) {
            return Err(Why::Open);
        }
        let mut request = client(&self.url, tls, CONNECT)?.get(&self.url);
        if let Some(token) = &self.token {
            let token = match token {
                ContainerToken::Value(token) => token.reveal().to_owned(),
                ContainerToken::File(path) => read(path).await?,
            };
            let mut token = HeaderValue::from_str(&token).map_err(|_| Why::Form)?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        given(&send(request, PATIENCE).await?)
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the container's URL")
    }
}

/// Whether a token may be sent there: encrypted, or no further than what the container runs on.
fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match url.scheme() {
        "https" => true,
        "http" => {
            let is_loopback = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
            is_loopback || host == "localhost" || HOSTS.contains(&host)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_at_the_host_that_ecs_has() {
        assert_eq!(Container::new("/v2/credentials/1", None).url, "http://169.254.170.2/v2/credentials/1");
        assert_eq!(Container::new("https://h/x", None).url, "https://h/x");
    }

    #[test]
    fn a_token_goes_unencrypted_to_nobody_but_this_machine_and_what_it_runs_on() {
        for (url, expected) in [
            ("https://keys.example/v1", true),
            ("http://127.0.0.1:4/x", true),
            ("http://localhost:4/x", true),
            ("http://[::1]:4/x", true),
            ("http://169.254.170.2/x", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.169.254/x", false),
            ("http://keys.example/v1", false),
            ("http://127.0.0.1@keys.example/v1", false),
            ("ftp://127.0.0.1/x", false),
            ("keys", false),
        ] {
            assert_eq!(is_safe(url), expected, "{url}");
        }
    }
}
