//! TLS with real certificates: curl and a gRPC client against the server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use larder_server::TlsOptions;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use reapi::action_cache_client::ActionCacheClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::{Lab, digest_of, guard, hash_of, until};

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, common: &str, also: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([also.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

impl Pair {
    fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.pem")), &self.certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}

const ACCESS: &str = r#"
[tokens.ci]
secret = "ci-ci-ci-ci-ci-ci-ci"
role = "read"

[certificates.builder]
role = "write"

[certificates."reader.example"]
role = "read"
"#;

/// A server with TLS, whose authority is in `ca.pem` of its folder.
async fn lab(authority: &Authority) -> Lab {
    Lab::with(|folder, options| {
        fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
        authority.sign("server", "localhost", |_| {}).write(folder, "server");
        options.guard = guard(ACCESS);
        options.tls = Some(TlsOptions {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_authority: Some(folder.join("ca.pem")),
        });
    })
    .await
}

impl Lab {
    /// curl, which trusts the authority in `trusted` and comes with these arguments.
    fn curl(&self, trusted: &str, arguments: &[&str], path: &str) -> Output {
        let mut curl = Command::new("curl");
        let port = self.address.port();
        curl.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]);
        curl.arg(self.folder.path().join(trusted)).args(["--write-out", "%{http_code} %{http_version}"]);
        curl.args(["--resolve", &format!("localhost:{port}:127.0.0.1")]).args(arguments);
        curl.arg(format!("https://localhost:{port}{path}")).current_dir(self.folder.path());
        curl.env_clear().env("PATH", std::env::var("PATH").unwrap());
        curl.output().expect("curl is installed: apt-get install curl")
    }

    fn check_curl(&self, arguments: &[&str], path: &str, expected: &str) {
        let output = self.curl("ca.pem", arguments, path);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with(expected), "{said} {}", String::from_utf8_lossy(&output.stderr));
    }

    async fn ask_with_tls(&self, tls: ClientTlsConfig) -> Result<Code, String> {
        let address = format!("https://localhost:{}", self.address.port());
        let endpoint = Channel::from_shared(address).unwrap().tls_config(tls).unwrap();
        let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
        let request = reapi::UpdateActionResultRequest {
            action_digest: Some(digest_of(b"an action")),
            action_result: Some(reapi::ActionResult { exit_code: 1, ..reapi::ActionResult::default() }),
            ..reapi::UpdateActionResultRequest::default()
        };
        let answer = ActionCacheClient::new(channel).update_action_result(request).await;
        match answer.map_err(|status| (status.code(), status)) {
            Ok(_) => Ok(Code::Ok),
            Err((code @ (Code::Unauthenticated | Code::PermissionDenied), _)) => Ok(code),
            // What goes wrong with the connection after it was made is told with the first request.
            Err((_, status)) => Err(format!("{status:?}")),
        }
    }
}

fn tls(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem))
}

fn tls_as(authority: &Authority, pair: &Pair) -> ClientTlsConfig {
    tls(authority).identity(Identity::from_pem(&pair.certificate, &pair.key))
}

const TOKEN: [&str; 2] = ["--header", "Authorization: Bearer ci-ci-ci-ci-ci-ci-ci"];

#[tokio::test(flavor = "multi_thread")]
async fn http_1_http_2_and_grpc_go_over_tls_and_who_does_not_know_the_authority_gets_nothing() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let lab = lab(&authority).await;
    let path = format!("/cas/{}", hash_of(b"nothing"));
    lab.check_curl(&["--http1.1", TOKEN[0], TOKEN[1]], &path, "404 1.1");
    lab.check_curl(&["--http2", TOKEN[0], TOKEN[1]], &path, "404 2");
    lab.check_curl(&["--http2"], &path, "401 2");
    assert_eq!(lab.ask_with_tls(tls(&authority)).await, Ok(Code::Unauthenticated));
    fs::write(lab.folder.path().join("other.pem"), &other.pem).unwrap();
    let refused = lab.curl("other.pem", &TOKEN, &path);
    assert_eq!(refused.status.code(), Some(60), "curl does not trust the server: {refused:?}");
    assert!(lab.ask_with_tls(tls(&other)).await.is_err());
    // Plain HTTP gets no answer of HTTP.
    assert_eq!(lab.get(&path, None).await.status, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_s_names_are_who_a_client_is_for_http_and_grpc() {
    let authority = Authority::new("ours");
    let lab = lab(&authority).await;
    let folder = lab.folder.path();
    let builder = authority.sign("builder", "x.example", |_| {});
    builder.write(folder, "builder");
    authority.sign("somebody", "reader.example", |_| {}).write(folder, "reader");
    authority.sign("stranger", "stranger.example", |_| {}).write(folder, "stranger");
    fs::write(folder.join("content"), "content").unwrap();
    let path = format!("/cas/{}", hash_of(b"content"));
    for (name, put, get) in [("stranger", "401", "401"), ("reader", "403", "404"), ("builder", "200", "200")]
    {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let with = ["--cert", &cert, "--key", &key, "--http1.1"];
        lab.check_curl(&[&with[..], &["--upload-file", "content"]].concat(), &path, &format!("{put} 1.1"));
        lab.check_curl(&with, &path, &format!("{get} 1.1"));
    }
    assert_eq!(lab.ask_with_tls(tls_as(&authority, &builder)).await, Ok(Code::Ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_another_authority_or_that_have_expired_end_the_connection() {
    let (authority, other) = (Authority::new("ours"), Authority::new("other"));
    let lab = lab(&authority).await;
    let foreign = other.sign("builder", "x.example", |_| {});
    let expired = authority.sign("builder", "x.example", |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    foreign.write(lab.folder.path(), "foreign");
    expired.write(lab.folder.path(), "expired");
    for (name, pair) in [("foreign", foreign), ("expired", expired)] {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let with = ["--cert", &cert, "--key", &key, TOKEN[0], TOKEN[1]];
        let output = lab.curl("ca.pem", &with, "/cas/00");
        assert!(!output.status.success(), "{name}: {output:?}");
        assert!(lab.ask_with_tls(tls_as(&authority, &pair)).await.is_err(), "{name}");
    }
    // The server's own.
    authority
        .sign("server", "localhost", |params| params.not_after = date_time_ymd(2020, 1, 1))
        .write(lab.folder.path(), "server");
    lab.reload.notify_one();
    until("the expired certificate", async || {
        lab.curl("ca.pem", &TOKEN, "/healthz").status.code() == Some(60)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_taken_over_and_connections_stay() {
    let (authority, next) = (Authority::new("ours"), Authority::new("next"));
    let lab = lab(&authority).await;
    let folder = lab.folder.path();
    fs::write(folder.join("next.pem"), &next.pem).unwrap();
    // A connection from before.
    let roots = {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        roots
    };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut before = connector.connect(name, lab.connect().await).await.unwrap();
    // Half a pair is not taken over.
    let pair = next.sign("server", "localhost", |_| {});
    fs::write(folder.join("server.key"), &pair.key).unwrap();
    lab.reload.notify_one();
    let asked = ["/healthz"];
    until("a look at the files", async || lab.curl("ca.pem", &[], asked[0]).status.success()).await;
    pair.write(folder, "server");
    lab.reload.notify_one();
    until("the new certificate", async || lab.curl("next.pem", &[], asked[0]).status.success()).await;
    assert_eq!(lab.curl("ca.pem", &[], asked[0]).status.code(), Some(60));
    before.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = String::new();
    before.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}
