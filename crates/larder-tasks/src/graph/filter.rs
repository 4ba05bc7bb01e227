//! Filters: which packages a bare task name means.

use larder::glob;

use crate::path::{Pattern, RelPath};
use crate::problem::{Fault, Problem, Problems};
use crate::workspace::Workspace;

/// One filter, read.
struct Filter {
    takes_away: bool,
    dependents: bool,
    dependencies: bool,
    without_itself: bool,
    packages: Vec<usize>,
}

/// For each package, whether the filters choose it.
pub(super) fn choose(
    workspace: &Workspace,
    filters: &[String],
    cwd: &RelPath,
) -> Result<Vec<bool>, Problems> {
    let count = workspace.packages().len();
    let mut problems = Vec::new();
    let mut read = Vec::new();
    for text in filters {
        match parse(workspace, text, cwd) {
            Ok(filter) => read.push(filter),
            Err(problem) => problems.push(problem),
        }
    }
    Problems::check(problems)?;
    let mut chosen = vec![read.iter().all(|filter| filter.takes_away); count];
    // What takes away does so whichever order the filters stand in.
    read.sort_by_key(|filter| filter.takes_away);
    for filter in &read {
        for package in reach(workspace, filter) {
            chosen[package] = !filter.takes_away;
        }
    }
    Ok(chosen)
}

fn parse(workspace: &Workspace, text: &str, cwd: &RelPath) -> Result<Filter, Problem> {
    let refuse =
        |reason: &str| Problem::nowhere(Fault::Filter { filter: text.to_owned(), reason: reason.to_owned() });
    let (takes_away, rest) = strip(text, |text| text.strip_prefix('!'));
    let (dependents, rest) = strip(rest, |text| text.strip_prefix("..."));
    let (before, rest) = if dependents { strip(rest, |text| text.strip_prefix('^')) } else { (false, rest) };
    let (dependencies, rest) = strip(rest, |text| text.strip_suffix("..."));
    let (after, rest) = if dependencies { strip(rest, |text| text.strip_suffix('^')) } else { (false, rest) };
    if rest.is_empty() {
        return Err(refuse("it names no package"));
    }
    if rest.contains('[') && !rest.contains('{') {
        return Err(refuse("a range of commits cannot be given here"));
    }
    let packages = match directory(rest) {
        Some((written, from_root)) => {
            let from = if from_root { RelPath::root() } else { cwd.clone() };
            let pattern = Pattern::new(&from, written).map_err(|error| refuse(&error.to_string()))?;
            let matcher = pattern.matcher();
            positions(workspace, |package| matcher.matches(package.dir()))
        }
        None => {
            let glob = glob::of_names(rest).map_err(|error| refuse(&error.to_string()))?.compile_matcher();
            let mut packages = positions(workspace, |package| glob.is_match(package.name()));
            packages.extend(workspace.package(rest).filter(|_| packages.is_empty()));
            packages
        }
    };
    if packages.is_empty() {
        let problem = Problem::nowhere(Fault::FilterMatchesNothing(text.to_owned()));
        return Err(problem.suggest(rest, workspace.packages().iter().map(|package| package.name())));
    }
    Ok(Filter { takes_away, dependents, dependencies, without_itself: before || after, packages })
}

fn strip<'a>(text: &'a str, part: impl Fn(&'a str) -> Option<&'a str>) -> (bool, &'a str) {
    part(text).map_or((false, text), |rest| (true, rest))
}

/// The directory that a filter names, and whether it starts at the root.
fn directory(text: &str) -> Option<(&str, bool)> {
    if let Some(inside) = text.strip_prefix('{') {
        return inside.strip_suffix('}').map(|written| (written, true));
    }
    (text == "." || text == ".." || text.starts_with("./") || text.starts_with("../"))
        .then_some((text, false))
}

fn positions(workspace: &Workspace, fits: impl Fn(&crate::workspace::Package) -> bool) -> Vec<usize> {
    let packages = workspace.packages().iter().enumerate();
    packages.filter(|(_, package)| fits(package)).map(|(at, _)| at).collect()
}

/// The packages that a filter means, with their dependents and dependencies as far as it says so.
fn reach(workspace: &Workspace, filter: &Filter) -> Vec<usize> {
    let packages = workspace.packages();
    let mut found = vec![false; packages.len()];
    if filter.dependencies {
        follow(&filter.packages, &mut found, |at| packages[at].depends_on().to_vec());
    }
    if filter.dependents {
        let mut dependents = vec![Vec::new(); packages.len()];
        for (at, package) in packages.iter().enumerate() {
            package.depends_on().iter().for_each(|on| dependents[*on].push(at));
        }
        follow(&filter.packages, &mut found, |at| dependents[at].clone());
    }
    for package in &filter.packages {
        found[*package] = !filter.without_itself;
    }
    (0..packages.len()).filter(|at| found[*at]).collect()
}

fn follow(from: &[usize], found: &mut [bool], next: impl Fn(usize) -> Vec<usize>) {
    let mut seen = vec![false; found.len()];
    let mut open = from.to_vec();
    while let Some(at) = open.pop() {
        for other in next(at) {
            if !std::mem::replace(&mut seen[other], true) {
                found[other] = true;
                open.push(other);
            }
        }
    }
}
