//! An `nginx` before a remote execution cache, that asks for a token.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::port::{self, on_free_ports};

/// What a gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// Everything.
    All,
    /// No action result that is written.
    Reading,
}

/// A gate that ends with this.
#[derive(Debug)]
pub struct Gate {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Gate {
    /// Starts a gate before a server. It lets through who has the token.
    ///
    /// # Panics
    /// If there is no `nginx`, or if it does not start.
    pub fn start(server: SocketAddr, token: &str, passes: Passes) -> Self {
        Self::with(server, token, passes, "", |_| {})
    }

    /// Starts a gate that speaks TLS, with a certificate for `localhost` that is made for it.
    ///
    /// # Panics
    /// If there is no `nginx` or no `openssl`, or if it does not start.
    pub fn start_encrypted(server: SocketAddr, token: &str) -> Self {
        let certify = |directory: &Path| {
            let status = Command::new("openssl")
                .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '))
                .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
                .args([
                    "-addext",
                    "basicConstraints=critical,CA:FALSE",
                    "-keyout",
                    "key.pem",
                    "-out",
                    "cert.pem",
                ])
                .current_dir(directory)
                .stderr(Stdio::null())
                .status();
            let status = status.unwrap_or_else(|error| {
                panic!("openssl: {error}; install it with: apt-get install openssl");
            });
            assert!(status.success(), "openssl makes no certificate");
        };
        Self::with(server, token, Passes::All, "ssl", certify)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the certificate, for whoever is to trust it.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn with(server: SocketAddr, token: &str, passes: Passes, listens: &str, prepare: impl Fn(&Path)) -> Self {
        let directory = tempfile::Builder::new().prefix("nginx").tempdir().expect("a temporary directory");
        prepare(directory.path());
        let (child, address) = on_free_ports(|[address]| {
            let text = configuration(server, address, token, passes, listens);
            fs::write(directory.path().join("nginx.conf"), text).expect("a file in the directory");
            Some((spawn(directory.path(), address)?, address))
        });
        Self { child, address, directory }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(server: SocketAddr, at: SocketAddr, token: &str, passes: Passes, listens: &str) -> String {
    let certificate = match listens {
        "ssl" => "ssl_certificate cert.pem; ssl_certificate_key key.pem;",
        _ => "",
    };
    let denied = "add_header grpc-status 7; add_header grpc-message denied; return 204;";
    let writes = match passes {
        Passes::All => String::new(),
        Passes::Reading => format!("if ($uri ~ UpdateActionResult) {{ {denied} }}"),
    };
    // The protocol's own way of saying no: an HTTP status would be none of it.
    format!(
        "daemon off; master_process off; pid pid; error_log stderr;
         events {{}}
         http {{
             access_log off; client_max_body_size 0; default_type application/grpc;
             client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
             uwsgi_temp_path uwsgi; scgi_temp_path scgi;
             server {{
                 listen {at} http2 {listens}; {certificate}
                 location / {{
                     if ($http_authorization != \"Bearer {token}\") {{
                         add_header grpc-status 16; add_header grpc-message \"no such token\"; return 204;
                     }}
                     {writes}
                     grpc_pass grpc://{server};
                 }}
             }}
         }}"
    )
}

/// Starts it; `None` if the port is somebody else's.
fn spawn(directory: &Path, address: SocketAddr) -> Option<Child> {
    let mut child = Command::new("nginx")
        .arg("-p")
        .arg(directory)
        .args(["-c", "nginx.conf", "-e", "stderr"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("nginx: {error}; install it with: apt-get install nginx-light"));
    if port::is_taken_by(&mut child, address) {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
