//! `cargo xtask compare`: larder against ninja, against turbo where it is installed, and against ansible-playbook, on
//! trees made for it.
//!
//! Every tool has its own copy of each tree and builds the same outputs in it, which is checked after every
//! run. Tools take turns within each round, in another order each time, so that whatever else the machine does
//! hits all alike. Trust the ratios, not the milliseconds.
//! Not here: how a run is measured (`measure`), what the trees are (`tree`), how each tool is set up (`rival`),
//! plans of playbooks (`plan`).

mod measure;
mod plan;
mod rival;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::measure::{Series, run};
use self::rival::{Name, Rival};
use self::tree::{SHAPES, Shape, Tree};
use crate::tools;
use crate::workspace::Workspace;

/// Times of files written just before a run are not believed by the next one, so that it reads them again.
/// This long after, they are.
const SETTLING: Duration = Duration::from_millis(2_100);

/// No clock of a file system ticks slower than this.
const TICK: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(crate) struct Arguments {
    /// How often each run is measured.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Only the trees whose letter is given; S is the one of start and miss, which are always measured.
    #[arg(long)]
    shape: Vec<char>,
    /// Only plans of playbooks, against ansible-playbook.
    #[arg(long, conflicts_with_all = ["shape", "tool", "turbo"])]
    plans: bool,
    /// Only these tools, besides ninja.
    #[arg(long)]
    tool: Vec<Name>,
    /// This larder instead of one that is built for the purpose.
    #[arg(long)]
    larder: Option<PathBuf>,
    /// This turbo instead of one on the PATH.
    #[arg(long)]
    turbo: Option<PathBuf>,
}

pub(crate) fn compare(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("compare-").tempdir_in(workspace.root.join("target"))?;
    let larder = || match &arguments.larder {
        Some(program) => program.canonicalize().with_context(|| program.display().to_string()),
        None => build_larder(workspace),
    };
    println!("median / least of {} rounds in ms; ratio to the first median", arguments.rounds);
    if !arguments.plans {
        compare_tasks(workspace, arguments, larder, scratch.path())?;
    }
    if arguments.plans || (arguments.shape.is_empty() && arguments.tool.is_empty()) {
        let ansible = tools::require(workspace, &tools::ANSIBLE)?;
        plan::compare(&larder()?, &ansible, &scratch.path().join("plans"), arguments.rounds)?;
    }
    Ok(())
}

fn compare_tasks(
    workspace: &Workspace,
    arguments: &Arguments,
    program: impl Fn() -> Result<PathBuf>,
    scratch: &Path,
) -> Result<()> {
    for letter in &arguments.shape {
        let is_known = SHAPES.iter().chain([&tree::SLOW]).any(|shape| shape.letter == *letter);
        ensure!(is_known, "there is no tree {letter}");
    }
    let ninja = tools::require(workspace, &tools::NINJA)?;
    let mut rivals = vec![Rival { name: Name::Ninja, program: ninja }];
    let wanted = |name| arguments.tool.is_empty() || arguments.tool.contains(&name);
    if wanted(Name::Larder) {
        rivals.push(Rival { name: Name::Larder, program: program()? });
    }
    let turbo = arguments.turbo.clone().unwrap_or_else(|| PathBuf::from("turbo"));
    let turbo = Rival { name: Name::Turbo, program: turbo.canonicalize().unwrap_or(turbo) };
    if wanted(Name::Turbo) && turbo.starts() {
        rivals.push(turbo);
    } else {
        println!("without turbo: none on the PATH, none given by --turbo, or not asked for\n");
    }
    // First: the disk is busy with the trees' files for a while after these were written.
    if let Some(larder) = rivals.iter().find(|rival| rival.name == Name::Larder) {
        start_up(larder, arguments.rounds)?;
        overhead(larder, &scratch.join("slow"), arguments.rounds)?;
    }
    for shape in
        SHAPES.iter().filter(|shape| arguments.shape.is_empty() || arguments.shape.contains(&shape.letter))
    {
        let root = scratch.join(shape.letter.to_string());
        compare_on(shape, &rivals, &root, arguments.rounds)?;
        std::fs::remove_dir_all(root)?;
    }
    Ok(())
}

/// Builds a release, and tells where it is.
pub(crate) fn build_larder(workspace: &Workspace) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--locked", "--package", "larder-cli", "--bin", "larder"];
    ensure!(workspace.succeeds("cargo", &arguments)?, "larder does not build");
    Ok(workspace.metadata.target_directory.join("release/larder").into())
}

/// A tool on its own copy of a tree.
struct Contender<'a> {
    rival: &'a Rival,
    tree: Tree,
    no_op: Series,
    restore: Series,
    edit: Series,
}

fn compare_on(shape: &'static Shape, rivals: &[Rival], root: &Path, rounds: usize) -> Result<()> {
    let mut contenders = Vec::new();
    for rival in rivals {
        let tree = Tree::write(shape, &root.join(rival.name.to_string()).join("tree"))?;
        rival.prepare(&tree)?;
        run(&mut rival.command(&tree)).with_context(|| format!("the first run of {}", rival.name))?;
        let [no_op, restore, edit] = Default::default();
        contenders.push(Contender { rival, tree, no_op, restore, edit });
    }
    thread::sleep(SETTLING);
    for contender in &contenders {
        run(&mut contender.rival.command(&contender.tree))?;
    }
    let mut expected = contenders[0].tree.outputs()?;
    for round in 0..rounds {
        let outputs = each(&mut contenders, round, |contender| {
            contender.no_op.push(run(&mut contender.rival.command(&contender.tree))?);
            Ok(())
        })?;
        ensure!(outputs == expected, "outputs changed although nothing was to be done");
    }
    for round in 0..rounds {
        let outputs = each(&mut contenders, round, |contender| {
            contender.tree.take_outputs_away(round)?;
            contender.restore.push(run(&mut contender.rival.command(&contender.tree))?);
            Ok(())
        })?;
        ensure!(outputs == expected, "outputs came back as something else");
    }
    for round in 0..rounds {
        let outputs = each(&mut contenders, round, |contender| {
            // Ninja takes a source for older than the output that was written in the same tick of the clock.
            thread::sleep(TICK);
            contender.tree.edit(round)?;
            contender.edit.push(run(&mut contender.rival.command(&contender.tree))?);
            Ok(())
        })?;
        ensure!(outputs != expected, "an edit made no difference to the outputs");
        expected = outputs;
    }
    print(shape, &contenders);
    Ok(())
}

/// Lets each contender act once, beginning with another one each round, and returns what all of them built.
fn each(
    contenders: &mut [Contender<'_>],
    round: usize,
    mut act: impl FnMut(&mut Contender<'_>) -> Result<()>,
) -> Result<Vec<Vec<u8>>> {
    let count = contenders.len();
    for turn in 0..count {
        let contender = &mut contenders[(turn + round) % count];
        act(contender).with_context(|| format!("{} failed", contender.rival.name))?;
    }
    let outputs = contenders[0].tree.outputs()?;
    for Contender { rival, tree, .. } in &contenders[1..] {
        ensure!(tree.outputs()? == outputs, "{} left other outputs than ninja in round {round}", rival.name);
    }
    Ok(outputs)
}

fn print(shape: &Shape, contenders: &[Contender<'_>]) {
    println!("\n{}: {}", shape.letter, shape.title);
    println!("  {:<8} {:>22} {:>22} {:>22} {:>8}", "", "no-op", "restore", "one edit", "peak MB");
    let (no_op, edit) = (contenders[0].no_op.median(), contenders[0].edit.median());
    for contender in contenders {
        let Contender { rival, no_op: own_no_op, restore, edit: own_edit, .. } = contender;
        let peak = [own_no_op, restore, own_edit].map(Series::peak_megabytes).into_iter().fold(0.0, f64::max);
        println!(
            "  {:<8} {:>22} {:>22} {:>22} {peak:>8.1}",
            rival.name.to_string(),
            own_no_op.against(no_op),
            // Ninja restores nothing and builds anew, so its time of doing nothing is the measure.
            restore.against(no_op),
            own_edit.against(edit),
        );
    }
    if let Some(larder) = contenders.iter().find(|contender| contender.rival.name == Name::Larder) {
        let peak = [&larder.no_op, &larder.restore, &larder.edit].map(Series::peak_megabytes);
        println!("  goals for larder:");
        goal("no-op against ninja's", larder.no_op.median() / no_op, 1.5);
        goal("restore against ninja's no-op", larder.restore.median() / no_op, 3.0);
        goal("one edit against ninja's", larder.edit.median() / edit, 3.0);
        goal("peak memory in MB", peak.into_iter().fold(0.0, f64::max), 40.0);
        if let Some(turbo) = contenders.iter().find(|contender| contender.rival.name == Name::Turbo) {
            goal("no-op against turbo's", larder.no_op.median() / turbo.no_op.median(), 1.0 / 8.0);
            goal("restore against turbo's", larder.restore.median() / turbo.restore.median(), 1.0 / 5.0);
        }
    }
}

fn goal(what: &str, is: f64, at_most: f64) {
    let met = if is <= at_most { "met" } else { "MISSED" };
    println!("    {what:<32} {is:>8.3}, at most {at_most:.3}: {met}");
}

/// How long larder takes to start, against the shell.
fn start_up(larder: &Rival, rounds: usize) -> Result<()> {
    let (mut own, mut shell) = (Series::default(), Series::default());
    for _ in 0..rounds * 4 {
        shell.push(run(Command::new("sh").args(["-c", ":"]))?);
        own.push(run(Command::new(&larder.program).arg("--version"))?);
    }
    println!(
        "\nstart: sh -c : {}, larder --version {}",
        shell.against(shell.median()),
        own.against(shell.median())
    );
    goal("larder --version against sh", own.median() / shell.median(), 2.0);
    Ok(())
}

/// What larder adds to a task that takes 100 ms and has to be run.
fn overhead(larder: &Rival, root: &Path, rounds: usize) -> Result<()> {
    let bare = Tree::write(&tree::SLOW, &root.join("bare"))?;
    let kept = Tree::write(&tree::SLOW, &root.join("larder").join("tree"))?;
    larder.prepare(&kept)?;
    run(&mut larder.command(&kept))?;
    run(&mut bare.task())?;
    let (mut without, mut with) = (Series::default(), Series::default());
    for round in 0..rounds {
        bare.edit(round)?;
        kept.edit(round)?;
        for is_larders_turn in [round % 2 == 1, round % 2 == 0] {
            match is_larders_turn {
                true => with.push(run(&mut larder.command(&kept))?),
                false => without.push(run(&mut bare.task())?),
            }
        }
        ensure!(bare.outputs()? == kept.outputs()?, "larder left a wrong output in round {round}");
    }
    println!(
        "\nmiss of a task of 100 ms: bare {}, larder {}",
        without.against(without.median()),
        with.against(without.median())
    );
    goal("larder against the bare task", with.median() / without.median(), 1.05);
    Ok(())
}
