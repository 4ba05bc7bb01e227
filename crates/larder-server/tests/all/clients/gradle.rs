//! Gradle.

use super::{Built, Machine, lines, prove, said, server};

const BUILD: &str = r"
@CacheableTask
class Numbers extends DefaultTask {
    @OutputFile File numbers = project.file('build/numbers.txt')
    @TaskAction void write() { numbers.text = (1..40000).join('\n') }
}
task numbers(type: Numbers)
";

#[test]
fn gradle_builds_from_what_another_checkout_built() {
    let mut lab = server();
    let [settings] = lines(&lab, "gradle", ["settings.gradle"]);
    let mut machine = Machine::new([("settings.gradle", settings), ("build.gradle", BUILD.to_owned())]);
    prove(&mut lab, 1, |nth| {
        let at = machine.checkout();
        // Debian's starter knows where its Java is.
        let mut gradle = machine.command("gradle", &at);
        gradle.args(["--build-cache", "--no-daemon", "--console=plain", "--gradle-user-home"]);
        // What another run left of its own is not what is tested.
        let said = said(gradle.arg(machine.path(&format!("gradle-{nth}"))).arg("numbers"));
        assert!(!said.contains("Could not"), "{said}");
        let hits = usize::from(said.contains(":numbers FROM-CACHE"));
        Built::with(hits, 1 - hits, &at, &["build/numbers.txt"])
    });
}
