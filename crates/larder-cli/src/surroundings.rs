//! What the process was started with: directories and variables.
//!
//! Read here and nowhere else; everything below gets it as a parameter.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use larder::config::{Secret, Settings};
use larder_shared::{AccessKey, Container, ContainerToken, Profile, S3Options, WebIdentity};

/// Directories that the user's account has.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The user's home.
    pub(crate) home: Option<PathBuf>,
    /// Where larder's cache lives if nobody says otherwise.
    pub(crate) cache: Option<PathBuf>,
    /// Larder's configuration file if nobody says otherwise.
    pub(crate) config: Option<PathBuf>,
    /// Where we are.
    pub(crate) current: PathBuf,
}

impl Surroundings {
    /// Looks at the process. The platform's places are those of the XDG base directory specification, and
    /// `~/Library/Caches` on macOS.
    pub(crate) fn look() -> Result<Self> {
        // A relative path in these variables is to be ignored, says the specification; an empty one is unset.
        let directory = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = directory("HOME");
        let below_home = |rest| home.as_ref().map(|home| home.join(rest));
        let cache = directory("XDG_CACHE_HOME")
            .or_else(|| below_home(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
        let config = directory("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        Ok(Self {
            cache: cache.map(|cache| cache.join("larder")),
            config: config.map(|config| config.join("larder/config.toml")),
            home,
            current: env::current_dir().context("the current directory is not there")?,
        })
    }
}

/// Who computes here, for people: what the configuration says, else the account and the machine.
pub(crate) fn producer(settings: &Settings) -> String {
    if let Some(producer) = &settings.producer {
        return producer.clone();
    }
    let account =
        ["USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok().filter(|name| !name.is_empty()));
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    match account {
        Some(account) => format!("{account}@{machine}"),
        None => machine.into_owned(),
    }
}

/// What the variables of tools for S3 say, for a shared tier there, and where those tools keep their files.
pub(crate) fn s3_options(home: Option<&Path>) -> S3Options {
    let variable =
        |names: &[&str]| names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let secret = |name| variable(&[name]).map(Secret::new);
    let path = |name| variable(&[name]).map(PathBuf::from);
    let (id, secret_key, session_token) =
        (variable(&["AWS_ACCESS_KEY_ID"]), secret("AWS_SECRET_ACCESS_KEY"), secret("AWS_SESSION_TOKEN"));
    let web_identity = path("AWS_WEB_IDENTITY_TOKEN_FILE").zip(variable(&["AWS_ROLE_ARN"]));
    let chosen = variable(&["AWS_PROFILE"]);
    let below_home = |name| home.map(|home| home.join(".aws").join(name));
    let credentials = path("AWS_SHARED_CREDENTIALS_FILE").or_else(|| below_home("credentials"));
    let config = path("AWS_CONFIG_FILE").or_else(|| below_home("config"));
    let (credentials, config) = (credentials.unwrap_or_default(), config.unwrap_or_default());
    let is_profile = chosen.is_some() || credentials.exists() || config.exists();
    let token = secret("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(ContainerToken::Value);
    let token = path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(ContainerToken::File).or(token);
    let container =
        variable(&["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]);
    let says = |name, word: &str| variable(&[name]).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let instance = variable(&["AWS_EC2_METADATA_SERVICE_ENDPOINT"]).unwrap_or_else(|| {
        let is_ipv6 = says("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6");
        (if is_ipv6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" }).to_owned()
    });
    S3Options {
        access_key: id.zip(secret_key).map(|(id, secret)| AccessKey { id, secret, session_token }),
        web_identity: web_identity.map(|(token, role)| WebIdentity {
            token,
            role,
            session: variable(&["AWS_ROLE_SESSION_NAME"]),
        }),
        profile: is_profile.then(|| Profile {
            is_chosen: chosen.is_some(),
            name: chosen.unwrap_or_else(|| "default".to_owned()),
            credentials,
            config,
        }),
        container: container.map(|url| Container::new(&url, token)),
        instance: (!says("AWS_EC2_METADATA_DISABLED", "true")).then_some(instance),
        token_service: variable(&["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]),
        region: variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        endpoint: variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
    }
}
