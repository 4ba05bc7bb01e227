//! Servers that run for as long as they are measured.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// How long a server may take to begin.
const BEGINS: Duration = Duration::from_secs(30);

pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Running {
    /// A larder server that keeps what it has in a directory.
    pub(super) fn larder(program: &Path, directory: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--connections", "10000", "--dir"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start larder")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("its stdout is piped")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.context("it does not say where it listens")?.parse()?;
        Ok(Self { child, address })
    }

    /// An nginx that gives and takes files below a directory.
    pub(super) fn nginx(program: &Path, directory: &Path) -> Result<Self> {
        super::fresh(&directory.join("files"))?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let root = directory.display();
        let config = format!(
            "daemon off; user root; worker_processes auto; error_log {root}/errors; pid {root}/pid;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n\
             client_body_temp_path {root}/bodies; client_max_body_size 0; open_file_cache max=20000;\n\
             proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen {address}; root {root}/files; location / {{\n\
             dav_methods PUT; create_full_put_path on; }} }} }}\n"
        );
        let path = directory.join("nginx.conf");
        fs::write(&path, config)?;
        let child = Command::new(program)
            .arg("-p")
            .arg(directory)
            .arg("-c")
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        Self { child, address }.begun("nginx")
    }

    /// A buildbox-casd that keeps what it has in a directory.
    pub(super) fn casd(program: &Path, directory: &Path) -> Result<Self> {
        super::fresh(directory)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(program)
            .args(["--bind", &address.to_string()])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start buildbox-casd")?;
        Self { child, address }.begun("buildbox-casd")
    }

    fn begun(self, name: &str) -> Result<Self> {
        let until = Instant::now() + BEGINS;
        while TcpStream::connect(self.address).is_err() {
            ensure!(Instant::now() < until, "{name} does not begin");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    /// What it takes of memory now, and the most that it took.
    pub(super) fn memory(&self) -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
        };
        let (now, most) = (megabytes("VmRSS:"), megabytes("VmHWM:"));
        Ok(format!("{:.0} MiB, at most {:.0} MiB", now.unwrap_or(f64::NAN), most.unwrap_or(f64::NAN)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nginx ends its workers when it is asked to, and not when it is killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
