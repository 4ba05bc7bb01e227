//! Which servers a URL names, and connections to them: to one, to a cluster, or to whichever one sentinels say.

use std::time::Duration;

use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisError, RedisResult, TlsMode,
};
use tokio::sync::Mutex;

use super::steps::Wire;
use crate::parts;
use crate::tls::Tls;
use crate::url::{Options, UrlError};

/// How long making a connection may take; callers have less patience.
const CONNECT: Duration = Duration::from_secs(5);
/// How long making one to a server of a cluster may take, as there are others.
const CONNECT_IN_CLUSTER: Duration = Duration::from_secs(1);
/// How long a server of a cluster may take to answer before its connection counts as broken.
const ANSWER_IN_CLUSTER: Duration = Duration::from_secs(2);
/// How often a cluster's client tries again by itself, and how long it waits at most before that, in milliseconds.
const RETRIES_IN_CLUSTER: (u32, u64) = (3, 100);
/// The ports of a server and of a sentinel that name none.
const PORTS: (u16, u16) = (6379, 26379);

/// The servers that a URL names.
pub(super) enum Servers {
    One(Box<Client>),
    Cluster(Box<redis::cluster::ClusterClient>),
    /// One that sentinels watch; who has it now is asked of them.
    Watched(Box<Mutex<SentinelClient>>),
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster(_) => "Cluster",
            Self::Watched(_) => "Watched",
        })
    }
}

/// What a URL says of servers.
pub(super) struct Named {
    pub(super) servers: Servers,
    pub(super) namespace: String,
    /// What all who share them call their log.
    pub(super) log: String,
}

/// How a URL's scheme says that servers are reached.
struct Scheme {
    encrypted: bool,
    together: Together,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    Alone,
    Cluster,
    Watched,
}

impl Scheme {
    fn parse(scheme: &str) -> Option<Self> {
        let (one, together) = match scheme.split_once('+') {
            None | Some((_, "unix")) => (scheme, Together::Alone),
            Some((one, "cluster")) => (one, Together::Cluster),
            Some((one, "sentinel")) => (one, Together::Watched),
            Some(_) => return None,
        };
        let encrypted = match one {
            "redis" | "valkey" | "redis+unix" | "valkey+unix" => false,
            "rediss" | "valkeys" => true,
            _ => return None,
        };
        Some(Self { encrypted, together })
    }
}

/// Whether a URL with this scheme names servers that are spoken to here.
pub(crate) fn speaks(scheme: &str) -> bool {
    Scheme::parse(scheme).is_some()
}

fn malformed(error: RedisError) -> UrlError {
    UrlError::Malformed(Box::new(error))
}

impl Named {
    pub(super) fn parse(url: &str, options: &Options) -> Result<Self, UrlError> {
        let (url, namespace) = parts::namespace(url)?;
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        let scheme = Scheme::parse(scheme).ok_or_else(|| UrlError::Scheme(scheme.to_owned()))?;
        let tls = if scheme.encrypted { Some(Tls::read(&options.tls)?) } else { None };
        let (servers, name) = match scheme.together {
            Together::Alone => alone(&url, tls)?,
            Together::Cluster => cluster(rest, tls)?,
            Together::Watched => watched(rest, tls)?,
        };
        Ok(Self { servers, log: format!("redis {name} {namespace}"), namespace })
    }
}

fn alone(url: &str, tls: Option<Tls>) -> Result<(Servers, String), UrlError> {
    let client = match tls {
        Some(tls) => Client::build_with_tls(url, tls.of_redis()),
        None => Client::open(url),
    };
    let client = client.map_err(malformed)?;
    let info = client.get_connection_info();
    let name = format!("{}/{}", info.addr(), info.redis_settings().db());
    Ok((Servers::One(Box::new(client)), name))
}

fn cluster(rest: &str, tls: Option<Tls>) -> Result<(Servers, String), UrlError> {
    let several = Several::parse(rest, PORTS.0)?;
    if several.path.is_some() {
        return Err(UrlError::Malformed("a cluster has one database, which has no name".into()));
    }
    let scheme = if tls.is_some() { "rediss" } else { "redis" };
    let urls = several.servers.iter().map(|server| format!("{scheme}://{}{server}", several.account));
    let (retries, most) = RETRIES_IN_CLUSTER;
    let mut builder = ClusterClientBuilder::new(urls)
        .connection_timeout(CONNECT_IN_CLUSTER)
        .response_timeout(ANSWER_IN_CLUSTER)
        .retries(retries)
        .max_retry_wait(most);
    if let Some(tls) = tls {
        builder = builder.tls(TlsMode::Secure).certs(tls.of_redis());
    }
    Ok((
        Servers::Cluster(Box::new(builder.build().map_err(malformed)?)),
        format!("cluster {}", several.name()),
    ))
}

fn watched(rest: &str, tls: Option<Tls>) -> Result<(Servers, String), UrlError> {
    let several = Several::parse(rest, PORTS.1)?;
    let path = several.path.as_deref().unwrap_or_default();
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(UrlError::Malformed(
            "sentinels are asked for a name, as in redis+sentinel://HOST/NAME".into(),
        ));
    }
    // Account and database are read as those of one server are.
    let like =
        format!("redis://{}host/{database}", several.account).into_connection_info().map_err(malformed)?;
    let like = like.redis_settings();
    let mut sentinels = Vec::new();
    for server in &several.servers {
        let info = format!("redis://{server}").into_connection_info().map_err(malformed)?;
        sentinels.push(match (info.addr(), &tls) {
            (ConnectionAddr::Tcp(host, port), Some(_)) => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
            (address, _) => address.clone(),
        });
    }
    let builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master);
    let mut builder = builder.map_err(malformed)?.set_client_to_redis_db(like.db());
    if let Some(username) = like.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = like.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(tls) = tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(tls.of_redis())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(tls.of_redis());
    }
    let name = format!("{master}/{database} of {}", several.name());
    Ok((Servers::Watched(Box::new(Mutex::new(builder.build().map_err(malformed)?))), name))
}

/// Several servers in one URL.
struct Several {
    /// Who asks, as it stands before the servers.
    account: String,
    servers: Vec<String>,
    path: Option<String>,
}

impl Several {
    fn parse(rest: &str, port: u16) -> Result<Self, UrlError> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (account, rest) = match rest.rsplit_once('@') {
            Some((account, rest)) => (format!("{account}@"), rest),
            None => (String::new(), rest),
        };
        let (servers, path) = match rest.split_once('/') {
            Some((servers, path)) => (servers, Some(path.to_owned())),
            None => (rest, None),
        };
        Ok(Self { account, servers: parts::servers(servers, port)?, path })
    }

    /// The servers, in whatever order they are named.
    fn name(&self) -> String {
        let mut servers = self.servers.clone();
        servers.sort_unstable();
        servers.join(",")
    }
}

impl Servers {
    pub(super) async fn connect(&self) -> RedisResult<Wire> {
        // Whoever waits for an answer says how long.
        let config =
            || AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        match self {
            Self::One(client) => {
                client.get_multiplexed_async_connection_with_config(&config()).await.map(Wire::One)
            }
            Self::Cluster(client) => {
                let connection: ClusterConnection = client.get_async_connection().await?;
                Ok(Wire::Cluster(connection))
            }
            Self::Watched(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&config()).await.map(Wire::One)
            }
        }
    }

    /// Whether what one server acknowledged may be lost, as another takes its place.
    pub(super) fn take_over(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// Whether its connections mend themselves.
    pub(super) fn mends(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

#[cfg(test)]
mod tests {
    use larder::clock::Clock;

    use super::*;

    #[test]
    fn a_url_names_one_server_a_cluster_or_one_that_is_watched() {
        let options = Options::new(Duration::from_secs(1), Clock::system());
        let log = |url| Named::parse(url, &options).map(|named| named.log);
        assert_eq!(log("redis://h/1").unwrap(), "redis h:6379/1 larder1");
        assert_eq!(
            log("redis+cluster://u:p@b,a:1?namespace=x").unwrap(),
            "redis cluster a:1,b:6379 larder1-x"
        );
        assert_eq!(log("valkey+sentinel://a,b:7/main/2").unwrap(), "redis main/2 of a:26379,b:7 larder1");
        for bad in ["redis+cluster://a,/", "redis+cluster://a/1", "redis+sentinel://a", "redis+sentinel://a/"]
        {
            assert!(matches!(log(bad), Err(UrlError::Malformed(_))), "{bad}");
        }
        assert!(speaks("rediss+sentinel") && speaks("redis+unix"));
        assert!(!speaks("redis+other") && !speaks("etcd") && !speaks("rediss+unix"));
    }
}
