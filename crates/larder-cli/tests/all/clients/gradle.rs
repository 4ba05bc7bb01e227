//! Gradle.

use std::path::PathBuf;

use super::{Built, Machine, Served, prove, said};

const BUILD: &str = r"
@CacheableTask
class Numbers extends DefaultTask {
    @OutputFile File numbers = project.file('build/numbers.txt')
    @TaskAction void write() { numbers.text = (1..40000).join('\n') }
}
task numbers(type: Numbers)
";

/// A build in a new checkout, and its checkout.
fn build(machine: &mut Machine) -> (PathBuf, String) {
    let at = machine.checkout();
    // Debian's starter knows where its Java is.
    let mut gradle = machine.command("gradle", &at);
    gradle.args(["--build-cache", "--no-daemon", "--console=plain", "--gradle-user-home"]);
    // What another run left of its own is not what is tested.
    let said = said(gradle.arg(at.with_extension("gradle")).arg("numbers"));
    (at, said)
}

#[test]
fn gradle_builds_from_what_another_checkout_built() {
    let mut served = Served::start();
    let [settings] = served.lines("gradle", ["settings.gradle"]);
    let machine = |settings: &str| {
        Machine::new([("settings.gradle", settings.to_owned()), ("build.gradle", BUILD.to_owned())])
    };
    let mut knowing = machine(&settings);
    prove(&mut served, 1, |_| {
        let (at, said) = build(&mut knowing);
        assert!(!said.contains("Could not"), "{said}");
        let hits = usize::from(said.contains(":numbers FROM-CACHE"));
        Built::with(hits, 1 - hits, &at, &["build/numbers.txt"])
    });
    served.prove_refused(&settings, |settings| drop(build(&mut machine(settings))));
}
