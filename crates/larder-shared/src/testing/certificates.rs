//! Certificates for loopback, made anew each time, and the files that they are in.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

/// An authority, a server's certificate and a client's; the files go with this.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn make() -> Self {
        let directory = tempfile::Builder::new().prefix("tls").tempdir().expect("a temporary directory");
        let key = || KeyPair::generate().expect("a key");
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        // Who trusts several looks them up by their names.
        let mut params = named(&format!("authority {}", directory.path().display()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let certificates = Self { directory };
        certificates.write("authority", &authority.pem());
        certificates.write("trusted", &authority.pem());
        for name in ["server", "client"] {
            let mut params = named(name);
            params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
            let key = key();
            let signed = params.signed_by(&key, &authority).expect("a certificate");
            certificates.write(name, &signed.pem());
            certificates.write(&format!("{name}-key"), &key.serialize_pem());
        }
        certificates
    }

    fn write(&self, name: &str, pem: &str) {
        fs::write(self.path(name), pem).expect("a file that can be written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.pem"))
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("authority")
    }

    /// Whom servers trust: the authority, and those of [`trust`](Self::trust).
    pub fn trusted(&self) -> PathBuf {
        self.path("trusted")
    }

    /// Has servers that are started from now on trust another authority, too.
    ///
    /// # Panics
    /// If the files cannot be read and written.
    pub fn trust(&self, others: &Self) {
        let all = [self.trusted(), others.authority()].map(|path| fs::read_to_string(path).expect("a file"));
        self.write("trusted", &all.concat());
    }

    /// The server's certificate.
    pub fn server(&self) -> PathBuf {
        self.path("server")
    }

    /// The server's key.
    pub fn server_key(&self) -> PathBuf {
        self.path("server-key")
    }

    /// The client's certificate.
    pub fn client(&self) -> PathBuf {
        self.path("client")
    }

    /// The client's key.
    pub fn client_key(&self) -> PathBuf {
        self.path("client-key")
    }
}
