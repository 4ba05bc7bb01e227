//! Which bucket, where, and under which prefix: what a URL says.

use larder::config::Secret;
use percent_encoding::percent_decode_str;

use super::keys::{Container, Profile, WebIdentity};
use crate::url::UrlError;

/// Where requests are signed for, if nobody says otherwise.
const REGION: &str = "us-east-1";

/// What a request for S3 is signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The name of the key, which is no secret.
    pub id: String,
    /// The secret.
    pub secret: Secret,
    /// What comes with a key that ends.
    pub session_token: Option<Secret>,
}

/// What the surroundings say of S3 where a URL does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Options {
    /// The key, which goes before all places where another may be had. Where there is none of them no bucket is opened.
    pub access_key: Option<AccessKey>,
    /// A role whose keys are had for a token.
    pub web_identity: Option<WebIdentity>,
    /// Files with keys.
    pub profile: Option<Profile>,
    /// Where a container has its keys.
    pub container: Option<Container>,
    /// The URL of the instance metadata service.
    pub instance: Option<String>,
    /// The URL of the security token service; without one it is the region's at AWS.
    pub token_service: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The server's URL; without one it is the region's at AWS.
    pub endpoint: Option<String>,
}

/// Why a URL stands for no bucket. A value may hold a secret that is in the wrong place, so names only are told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum PlaceError {
    #[error("the bucket must be 3 to 63 of a-z, 0-9, '.' and '-'")]
    Bucket,
    #[error("the prefix must be up to 200 of a-z, A-Z, 0-9, '.', '_' and '-', with '/' between parts")]
    Prefix,
    #[error("the endpoint must be http://HOST:PORT or https://HOST:PORT")]
    Endpoint,
    #[error("the region must be 1 to 64 of a-z, 0-9 and '-'")]
    Region,
    #[error("path_style must be true or false")]
    PathStyle,
    #[error("{0:?} is none of endpoint, region and path_style")]
    Parameter(String),
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// Empty, or parts with a slash after each.
    pub(super) prefix: String,
    /// Scheme, host and port, with the bucket before the host unless it stands in the path.
    pub(super) endpoint: Option<String>,
    pub(super) region: String,
    pub(super) path_style: bool,
}

impl Place {
    pub(super) fn parse(url: &str, options: &S3Options) -> Result<Self, UrlError> {
        Self::parse_with(url, options).map_err(|error| UrlError::Malformed(Box::new(error)))
    }

    fn parse_with(url: &str, options: &S3Options) -> Result<Self, PlaceError> {
        let rest = url.strip_prefix("s3://").ok_or(PlaceError::Bucket)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let (mut endpoint, mut region) = (options.endpoint.clone(), options.region.clone());
        let mut path_style = None;
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "endpoint" => endpoint = Some(value),
                "region" => region = Some(value),
                "path_style" => path_style = Some(value.parse().map_err(|_| PlaceError::PathStyle)?),
                _ => return Err(PlaceError::Parameter(name.to_owned())),
            }
        }
        let endpoint = endpoint.as_deref();
        let endpoint = endpoint.map(|endpoint| origin(endpoint).ok_or(PlaceError::Endpoint)).transpose()?;
        let path_style = path_style.unwrap_or(endpoint.is_some());
        let region = region.unwrap_or_else(|| REGION.to_owned());
        if !consists_of(&region, 64, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
        }) {
            return Err(PlaceError::Region);
        }
        let bucket = well_formed(bucket)?.to_owned();
        let endpoint = endpoint.map(|(scheme, host)| match path_style {
            true => format!("{scheme}://{host}"),
            false => format!("{scheme}://{bucket}.{host}"),
        });
        Ok(Self { prefix: parts(prefix)?, bucket, endpoint, region, path_style })
    }

    /// Whether what is sent may go without encryption, as the endpoint says so.
    pub(super) fn is_plain(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    /// What people and near tiers tell it by.
    pub(super) fn name(&self) -> String {
        let at = self.endpoint.as_deref().unwrap_or(&self.region);
        format!("s3 {at} {}/{}", self.bucket, self.prefix)
    }
}

/// Scheme and host with its port.
fn origin(endpoint: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (matches!(scheme, "http" | "https") && consists_of(host, 255, good)).then_some((scheme, host))
}

fn well_formed(bucket: &str) -> Result<&str, PlaceError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if bucket.len() >= 3 && consists_of(bucket, 63, good) { Ok(bucket) } else { Err(PlaceError::Bucket) }
}

fn parts(prefix: &str) -> Result<String, PlaceError> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if prefix.is_empty() {
        return Ok(String::new());
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_good = |part: &str| consists_of(part, 200, good) && !part.starts_with('.');
    if prefix.len() > 200 || !prefix.split('/').all(is_good) {
        return Err(PlaceError::Prefix);
    }
    Ok(format!("{prefix}/"))
}

fn consists_of(text: &str, most: usize, good: impl Fn(u8) -> bool) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Place, PlaceError> {
        Place::parse_with(url, &S3Options::default())
    }

    #[test]
    fn a_url_names_a_bucket_a_prefix_and_where_they_are() {
        let place = parse("s3://cache/team/web/?endpoint=https%3A%2F%2Fs3.example:9000&region=eu-1").unwrap();
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("cache", "team/web/"));
        assert_eq!(place.endpoint.as_deref(), Some("https://s3.example:9000"));
        assert!(place.path_style && !place.is_plain());
        assert_eq!(place.name(), "s3 https://s3.example:9000 cache/team/web/");
        let place = parse("s3://cache?endpoint=http://h:1/&path_style=false").unwrap();
        assert_eq!(place.endpoint.as_deref(), Some("http://cache.h:1"));
        assert!(place.is_plain() && place.prefix.is_empty());
        let at_aws = parse("s3://cache").unwrap();
        assert_eq!((at_aws.endpoint, at_aws.region.as_str(), at_aws.path_style), (None, REGION, false));
    }

    #[test]
    fn the_url_goes_before_the_surroundings() {
        let options = S3Options {
            region: Some("eu-2".into()),
            endpoint: Some("http://other".into()),
            ..S3Options::default()
        };
        let place = Place::parse_with("s3://cache?endpoint=https://this", &options).unwrap();
        assert_eq!((place.endpoint.as_deref(), place.region.as_str()), (Some("https://this"), "eu-2"));
    }

    #[test]
    fn what_is_not_well_formed_is_refused_and_not_repeated() {
        for (url, error) in [
            ("s3://ab", PlaceError::Bucket),
            ("s3://id:secret@cache", PlaceError::Bucket),
            ("s3://cache/a//b", PlaceError::Prefix),
            ("s3://cache/../b", PlaceError::Prefix),
            ("s3://cache?endpoint=ftp://h", PlaceError::Endpoint),
            ("s3://cache?endpoint=https://id:secret@h", PlaceError::Endpoint),
            ("s3://cache?endpoint=https://h/path", PlaceError::Endpoint),
            ("s3://cache?region=A", PlaceError::Region),
            ("s3://cache?path_style=yes", PlaceError::PathStyle),
            ("s3://cache?secret=hush", PlaceError::Parameter("secret".into())),
        ] {
            assert_eq!(parse(url), Err(error), "{url}");
        }
    }
}
