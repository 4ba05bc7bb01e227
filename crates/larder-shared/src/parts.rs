//! Parts of URLs that several tiers read alike: servers with commas between, and the namespace of whoever shares.

use crate::url::UrlError;

/// The namespace of whoever names none, with the number of the layout.
const NAMESPACE: &str = "larder1";

/// Takes the namespace out of a URL's query.
pub(crate) fn namespace(url: &str) -> Result<(String, String), UrlError> {
    let Some((before, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), NAMESPACE.to_owned()));
    };
    let (mut rest, mut namespace) = (Vec::new(), NAMESPACE.to_owned());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.strip_prefix("namespace=") {
            Some(name) => namespace = format!("{NAMESPACE}-{}", well_formed(name)?),
            None => rest.push(part),
        }
    }
    let url = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    Ok((url, namespace))
}

fn well_formed(name: &str) -> Result<&str, UrlError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good = (1..=64).contains(&name.len()) && name.bytes().all(good);
    if is_good { Ok(name) } else { Err(UrlError::Namespace(name.to_owned())) }
}

/// Servers with commas between, each as `HOST:PORT`; one that names no port has the usual one. An address of version 6
/// stands in brackets.
pub(crate) fn servers(text: &str, port: u16) -> Result<Vec<String>, UrlError> {
    let servers: Option<Vec<String>> = text.split(',').map(|server| one_server(server, port)).collect();
    let malformed = || UrlError::Malformed("servers are written HOST:PORT, with commas between".into());
    servers.ok_or_else(malformed)
}

fn one_server(text: &str, port: u16) -> Option<String> {
    let host_end = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[host_end..].rfind(':') {
        Some(at) => (&text[..host_end + at], text[host_end + at + 1..].parse().ok()?),
        None => (text, port),
    };
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':');
    let is_good =
        !host.is_empty() && host.bytes().all(good) && (!host.contains(':') || host.starts_with('['));
    is_good.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_taken_out_of_the_url_and_has_to_be_well_formed() {
        let taken = |url: &str| namespace(url).unwrap();
        assert_eq!(taken("redis://h"), ("redis://h".into(), "larder1".into()));
        assert_eq!(taken("redis://h/1?namespace=web"), ("redis://h/1".into(), "larder1-web".into()));
        assert_eq!(
            taken("redis://h?protocol=resp3&namespace=a.b"),
            ("redis://h?protocol=resp3".into(), "larder1-a.b".into())
        );
        for bad in ["redis://h?namespace=", "redis://h?namespace=a:b", "redis://h?namespace=a/../b"] {
            assert!(matches!(namespace(bad), Err(UrlError::Namespace(_))), "{bad}");
        }
    }
}
