//! Inventories of 50 MB: each is read in a process of its own, with limits to its memory and to the time that it computes.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use larder_ansible::inventory::{Part, assemble};

const ROLE: &str = "LARDER_TEST_LARGE";
const BYTES: usize = 50 << 20;
/// How much memory the process may have at most, with all that it only has addresses of.
const MEMORY_KIB: usize = 1_500_000;
/// How many seconds it may compute, in a debug build on a slow machine.
const SECONDS: usize = 300;

/// The text of an inventory that is large enough, how it is called, and how many hosts it has.
fn inventory(form: &str) -> (&'static str, String, usize) {
    let note = "n".repeat(450);
    let (mut text, mut hosts) = (String::with_capacity(BYTES + 1024), 0);
    let name = match form {
        "ini" => "hosts",
        "yaml" => "hosts.yml",
        _ => "hosts.json",
    };
    let is_json = form == "json";
    while text.len() < BYTES {
        if hosts % 1_000 == 0 {
            let _ = match form {
                "ini" => writeln!(text, "[group{hosts}]"),
                "yaml" => writeln!(text, "group{hosts}:\n  hosts:"),
                _ => {
                    let before = if hosts == 0 { "{" } else { "}}," };
                    writeln!(text, "{before}\"group{hosts}\": {{\"hosts\": {{")
                }
            };
        }
        let comma = if is_json && hosts % 1_000 != 0 { "," } else { "" };
        let _ = match form {
            "ini" => writeln!(text, "host{hosts}.example.com ansible_host=10.0.0.1 x=1 # {note}"),
            "yaml" => writeln!(text, "    host{hosts}.example.com: {{ansible_host: 10.0.0.1, x: '{note}'}}"),
            _ => writeln!(
                text,
                "{comma}\"host{hosts}\": {{\"ansible_host\": \"10.0.0.1\", \"x\": \"{note}\"}}"
            ),
        };
        hosts += 1;
    }
    if is_json {
        text.push_str("}}}");
    }
    (name, text, hosts)
}

/// Reads one in this process.
#[test]
fn a_large_inventory_in_a_process_of_its_own() {
    // Nobody's child has nothing to do.
    let Ok(form) = std::env::var(ROLE) else { return };
    let (name, text, hosts) = inventory(&form);
    let inventory = assemble(&[Part::File { name: name.to_owned(), content: text.into_bytes().into() }]);
    assert_eq!(inventory.unwrap().hosts().len(), hosts);
    println!("read {hosts} hosts");
}

fn check(form: &str) {
    let test = "inventory::large::a_large_inventory_in_a_process_of_its_own";
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {MEMORY_KIB} && ulimit -t {SECONDS} && exec \"$0\" \"$@\""));
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env(ROLE, form).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("read "), "{}\n{said}{problem}", output.status);
}

#[test]
fn an_inventory_of_fifty_megabytes_in_ini_is_read_within_bounds() {
    check("ini");
}

#[test]
fn an_inventory_of_fifty_megabytes_in_yaml_is_read_within_bounds() {
    check("yaml");
}

#[test]
fn an_inventory_of_fifty_megabytes_in_json_is_read_within_bounds() {
    check("json");
}
