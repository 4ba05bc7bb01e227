//! Checks that look at several definitions at once: what a task writes must be neither read nor written by
//! another hand.
//!
//! Literal paths decide nearly all cases; a glob is compiled only where it could overlap, and each text once.
//! Whether two globs choose a common file cannot be told without files: that shows when they are kept or given back.
//! Not here: anything that looks at the disk.

use std::collections::{BTreeMap, HashMap};

use globset::GlobMatcher;
use larder::glob;

use crate::path::{Pattern, RelPath};
use crate::place::Located;
use crate::problem::{Fault, Problem, Problems};
use crate::task::{Inputs, Task};
use crate::workspace::Workspace;

/// Stands for a file in a directory of which nothing else is known.
const SOME_FILE: &str = "\u{1}some file";

/// Checks the tasks of one run.
pub fn tasks<'a>(workspace: &Workspace, tasks: impl IntoIterator<Item = &'a Task>) -> Result<(), Problems> {
    let tasks: Vec<&Task> = tasks.into_iter().collect();
    let mut check = Check { globs: HashMap::new(), problems: Vec::new() };
    for task in &tasks {
        check.outputs_are_no_sources(workspace, task);
        check.outputs_are_no_inputs(task);
    }
    check.each_output_has_one_writer(&tasks);
    Problems::check(check.problems)
}

struct Check {
    /// Compiled globs by their text below their base.
    globs: HashMap<Box<str>, GlobMatcher>,
    problems: Vec<Problem>,
}

type Patterns = [Located<Pattern>];

fn positive(patterns: &Patterns) -> impl Iterator<Item = &Located<Pattern>> {
    patterns.iter().filter(|pattern| !pattern.value.is_negated())
}

impl Check {
    /// Whether a pattern covers a path, its `!` aside.
    fn covers(&mut self, pattern: &Pattern, path: &RelPath) -> bool {
        if !path.is_in(pattern.base()) {
            return false;
        }
        let Some(glob) = pattern.glob() else { return true };
        let matcher = self.globs.entry(glob.into()).or_insert_with(|| {
            glob::of_paths(glob).expect("a pattern holds a glob that parses").compile_matcher()
        });
        matcher.is_match(path.as_str()[pattern.base().as_str().len()..].trim_start_matches('/'))
    }

    /// Whether a list takes a path away again.
    fn drops(&mut self, patterns: &Patterns, path: &RelPath) -> bool {
        patterns.iter().any(|one| one.value.is_negated() && self.covers(&one.value, path))
    }

    fn outputs_are_no_sources(&mut self, workspace: &Workspace, task: &Task) {
        for output in positive(&task.outputs) {
            let base = output.value.base();
            let what = if output.value.glob().is_none() {
                let held = workspace.packages().iter().find(|package| package.dir().is_in(base));
                held.map(|package| match package.dir() == &task.package {
                    true => "its package".to_owned(),
                    false => format!("package `{}`", package.name()),
                })
            } else if task.package.is_in(base) {
                let manifest = task.package.child("larder.toml");
                let held = self.covers(&output.value, &manifest) && !self.drops(&task.outputs, &manifest);
                held.then(|| format!("{manifest}, where tasks are defined"))
            } else {
                None
            };
            if let Some(what) = what {
                let (task, output_text) = (task.id.to_string(), output.value.written().to_owned());
                let fault = Fault::OutputHoldsSources { task, output: output_text, what };
                self.problems.push(Problem::at(&output.place, fault));
            }
        }
    }

    fn outputs_are_no_inputs(&mut self, task: &Task) {
        let declared: &Patterns = match &task.inputs {
            Inputs::Declared(declared) => declared,
            Inputs::Package | Inputs::Undeclared => &[],
        };
        for output in positive(&task.outputs) {
            for input in positive(declared).chain(positive(&task.extra_inputs)) {
                let Some(path) = self.common(&output.value, &input.value) else { continue };
                let dropped = self.drops(declared, &path)
                    || self.drops(&task.extra_inputs, &path)
                    || task.ignored_inputs.iter().any(|one| self.covers(&one.value, &path))
                    || self.drops(&task.outputs, &path);
                if !dropped {
                    let fault = Fault::OutputIsInput {
                        task: task.id.to_string(),
                        output: output.value.written().to_owned(),
                        input: input.value.written().to_owned(),
                    };
                    let hint = format!("add \"!{}\" to the inputs", output.value.written());
                    self.problems.push(Problem::at(&output.place, fault).hint(hint));
                    break;
                }
            }
        }
    }

    /// A path that both patterns certainly cover.
    fn common(&mut self, output: &Pattern, input: &Pattern) -> Option<RelPath> {
        if output.glob().is_some() {
            // Of a glob only the text is known: it overlaps for sure where it is the same, or the input is a
            // path that it covers, or a directory around all it could cover.
            if output.base() == input.base() && output.glob() == input.glob() {
                return Some(output.base().child(SOME_FILE));
            }
            let inside = input.glob().is_none() && output.base().is_in(input.base());
            let covered = input.glob().is_none() && self.covers(output, input.base());
            return match (inside, covered) {
                (true, _) => Some(output.base().child(SOME_FILE)),
                (_, true) => Some(input.base().clone()),
                _ => None,
            };
        }
        let path = output.base();
        if input.base().is_in(path) {
            return Some(if input.glob().is_none() {
                input.base().clone()
            } else {
                input.base().child(SOME_FILE)
            });
        }
        let inside = path.child(SOME_FILE);
        [path.clone(), inside].into_iter().find(|path| self.covers(input, path))
    }

    fn each_output_has_one_writer(&mut self, tasks: &[&Task]) {
        let mut paths: BTreeMap<&str, Vec<(usize, &Located<Pattern>)>> = BTreeMap::new();
        let mut globs: Vec<(usize, &Located<Pattern>)> = Vec::new();
        let mut same_glob: HashMap<(&RelPath, &str), usize> = HashMap::new();
        for (at, task) in tasks.iter().enumerate() {
            for output in positive(&task.outputs) {
                match output.value.glob() {
                    None => paths.entry(output.value.base().as_str()).or_default().push((at, output)),
                    Some(glob) => {
                        globs.push((at, output));
                        let first = *same_glob.entry((output.value.base(), glob)).or_insert(at);
                        if first != at {
                            self.two_writers(tasks[first], task, output, output.value.base().child(glob));
                        }
                    }
                }
            }
        }
        let all = paths.values().flatten().chain(&globs);
        for (at, output) in all {
            let path = output.value.base();
            // The path itself and each directory above it may be somebody else's output.
            let mut above = Some(path.as_str());
            while let Some(held) = above {
                for (other, _) in paths.get(held).into_iter().flatten() {
                    // Two tasks with the very same path meet twice; one telling is enough.
                    let told = held == path.as_str() && output.value.glob().is_none() && other >= at;
                    if other != at && !told && !self.drops(&tasks[*other].outputs, path) {
                        self.two_writers(tasks[*other], tasks[*at], output, path.clone());
                    }
                }
                above = held.rsplit_once('/').map(|(parent, _)| parent);
            }
        }
        for (at, output) in globs {
            let base = output.value.base().as_str();
            let below = paths.range(base..).take_while(|(path, _)| path.starts_with(base));
            for (other, path) in below.flat_map(|(_, writers)| writers) {
                let path = path.value.base();
                if *other != at && self.covers(&output.value, path) && !self.drops(&tasks[at].outputs, path) {
                    self.two_writers(tasks[*other], tasks[at], output, path.clone());
                }
            }
        }
    }

    fn two_writers(&mut self, first: &Task, second: &Task, output: &Located<Pattern>, path: RelPath) {
        let fault = Fault::TwoWriters {
            first: first.id.to_string(),
            second: second.id.to_string(),
            path: path.to_string(),
        };
        self.problems.push(Problem::at(&output.place, fault));
    }
}
