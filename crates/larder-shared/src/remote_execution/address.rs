//! From a URL to a server and the instance on it.

use tonic::transport::{Endpoint, Uri};

use crate::url::UrlError;

/// Where a cache is.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) endpoint: Endpoint,
    pub(super) encrypted: bool,
    /// Host and port, as they are written.
    pub(super) host: String,
    pub(super) instance: String,
}

impl Address {
    /// Takes `grpc://HOST:PORT/INSTANCE` or `grpcs://…`, or one that ends in `?instance=INSTANCE`.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = |why: &'static str| UrlError::Malformed(why.into());
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        let encrypted = scheme == "grpcs";
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        if host.contains('@') {
            return Err(malformed("a token stands in shared_token, and not in the URL"));
        }
        let mut instance = path.trim_end_matches('/');
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let named = part.strip_prefix("instance=").filter(|_| instance.is_empty());
            instance = named.ok_or_else(|| malformed("behind '?' stands one instance=NAME"))?;
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
        if !instance.bytes().all(good) {
            return Err(malformed("an instance's name is of a-z, A-Z, 0-9, '.', '_', '-' and '/'"));
        }
        let uri = format!("{}://{host}", if encrypted { "https" } else { "http" });
        let uri: Uri = uri.parse().map_err(|error| UrlError::Malformed(Box::new(error)))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(malformed("it names no host"));
        }
        let (host, instance) = (host.to_owned(), instance.to_owned());
        Ok(Self { endpoint: Endpoint::from(uri), encrypted, host, instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_stands_in_the_path_or_behind_it() {
        let parsed = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.host, address.instance, address.encrypted)
        };
        let is = |host: &str, instance: &str, encrypted| (host.to_owned(), instance.to_owned(), encrypted);
        assert_eq!(parsed("grpc://cache:9092"), is("cache:9092", "", false));
        assert_eq!(parsed("grpc://cache:9092/"), is("cache:9092", "", false));
        assert_eq!(parsed("grpcs://cache/main/a"), is("cache", "main/a", true));
        assert_eq!(parsed("grpc://[::1]:9092?instance=main"), is("[::1]:9092", "main", false));
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for bad in [
            "grpc://",
            "grpc://:1",
            "grpc:///main",
            "grpc://me:pw@cache",
            "grpc://cache/a?instance=b",
            "grpc://cache?instance=a&instance=b",
            "grpc://cache?token=x",
            "grpc://cache/a b",
            "grpc://ca che",
        ] {
            assert!(matches!(Address::parse(bad), Err(UrlError::Malformed(_))), "{bad}");
        }
    }
}
