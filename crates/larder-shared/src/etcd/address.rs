//! From a URL to where servers are and who asks.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::parts;
use crate::url::UrlError;

/// The port of a server that names none.
const PORT: u16 = 2379;

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) password: String,
}

/// The password is shown to nobody.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) encrypted: bool,
    /// Each as `HOST:PORT`.
    pub(super) servers: Vec<String>,
    pub(super) account: Option<Account>,
    pub(super) namespace: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let (url, namespace) = parts::namespace(url)?;
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (account, servers) = match rest.rsplit_once('@') {
            Some((account, servers)) => (Some(parse_account(account)?), servers),
            None => (None, rest),
        };
        let servers = parts::servers(servers, PORT)?;
        Ok(Self { encrypted: scheme == "etcds", servers, account, namespace })
    }

    /// What all who share the servers call them, in whatever order they name them.
    pub(super) fn log(&self) -> String {
        let mut servers = self.servers.clone();
        servers.sort_unstable();
        format!("etcd {} {}", servers.join(","), self.namespace)
    }
}

fn parse_account(text: &str) -> Result<Account, UrlError> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|error| UrlError::Malformed(Box::new(error)))
    };
    Ok(Account { name: decoded(name)?, password: decoded(password)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_servers_an_account_and_a_namespace() {
        let parsed = Address::parse("etcds://ada:p%40ss@b:1,a,[::1]:7/?namespace=web").unwrap();
        assert!(parsed.encrypted);
        assert_eq!(parsed.servers, ["b:1", "a:2379", "[::1]:7"]);
        assert_eq!(parsed.account, Some(Account { name: "ada".into(), password: "p@ss".into() }));
        assert_eq!(parsed.namespace, "larder1-web");
        assert_eq!(parsed.log(), "etcd [::1]:7,a:2379,b:1 larder1-web");
        assert!(!format!("{parsed:?}").contains("p@ss"));
        for bad in ["etcd://", "etcd://a,", "etcd://a:x", "etcd://a/b", "etcd://a?x=y", "etcd://::1"] {
            assert!(matches!(Address::parse(bad), Err(UrlError::Malformed(_))), "{bad}");
        }
    }
}
