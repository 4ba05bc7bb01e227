//! Other processes: this test binary, started again with a role.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{faults, processes};

const ROLE: &str = "LARDER_TEST_ROLE";
const FOLDER: &str = "LARDER_TEST_FOLDER";

/// A process that plays `role` on the cache directory `folder`.
pub(super) fn process(role: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    as_child(&mut command, role, folder);
    command
}

/// Like [`process`], but in a mount namespace of its own, after `sh` ran `mounts` in it. Fails where the system does
/// not let this user make one: a test that did not run is no test that passed.
pub(super) fn process_with_mounts(role: &str, folder: &Path, mounts: &str) -> Command {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec"]);
        command
    };
    let probe = unshare().arg("mount -t tmpfs tmpfs /mnt").output().unwrap();
    assert!(
        probe.status.success(),
        "this test makes a mount namespace, which is not allowed here; run it as root, or allow it with\n    \
         sysctl -w kernel.unprivileged_userns_clone=1\n{}",
        String::from_utf8_lossy(&probe.stderr)
    );
    let mut command = unshare();
    command.arg(format!("{mounts}\nexec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
    as_child(&mut command, role, folder);
    command
}

fn as_child(command: &mut Command, role: &str, folder: &Path) {
    command.args(["--exact", "disk::child::a_role_in_another_test", "--nocapture"]);
    command
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Runs a process to its end, which must be a good one.
pub(super) fn run_well(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_role_in_another_test() {
    // Nobody's child has nothing to do.
    let (Ok(role), Ok(folder)) = (std::env::var(ROLE), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    match role.as_str() {
        "full disk" => faults::on_a_full_disk(folder),
        "read only" => faults::where_nothing_can_be_written(folder),
        "read only, log" => faults::where_a_log_can_not_be_read(folder),
        "hammer" => processes::hammer(folder),
        role => panic!("{role}"),
    }
}
