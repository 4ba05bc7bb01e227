//! The promise above all: after any edits, a plan equals one that is made from nothing, byte for byte, also in
//! another process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use larder::clock::Clock;
use larder::config::{Machine, Mode, Settings};
use larder::engine::{Larder, LarderOptions, Opened};
use larder::key::Scope;
use larder::stats::{Level, Stats, StatsOptions};
use larder_ansible::inventory::Source;
use larder_ansible::plan::binary;
use larder_ansible::planner::{Planned, Planner, Reuse};
use larder_ansible::problem::Problem;
use larder_ansible::query::{PlanRequest, Strategy};
use larder_ansible::tags::TagSelection;
use proptest::prelude::{Just, ProptestConfig, any, prop_assert_eq, prop_oneof};
use proptest::strategy::Strategy as Drawn;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use crate::lab::{planner, wait};

fn request() -> PlanRequest {
    PlanRequest {
        selection: TagSelection::new::<&str>(&[], &["skipped"]),
        ..PlanRequest::new("site.yml", vec![Source::Path("hosts".to_owned())])
    }
}

/// A plan's bytes and what of it was kept, or what is wrong in words.
fn plan(planner: &Planner, root: &Path, request: &PlanRequest) -> (Vec<u8>, Option<Reuse>) {
    let planned = wait(async { planner.view(root).plan(request).await });
    let reuse = planned.as_ref().ok().map(|planned| planned.reuse.clone());
    (bytes(planned), reuse)
}

fn bytes(planned: Result<Planned, Problem>) -> Vec<u8> {
    match planned {
        Ok(planned) => {
            let bytes = binary::encode(&planned.plan);
            assert_eq!(binary::decode(&bytes).as_ref(), Ok(&*planned.plan));
            bytes
        }
        Err(problem) => problem.render().into_bytes(),
    }
}

/// A larder on a disk, as each process opens it.
fn opened(dir: &Path) -> Opened {
    let settings = Settings::new(dir.to_owned());
    Larder::open(&settings, &Machine::probe(Path::new("/")), Clock::system(), "test")
}

/// A project that edits change: plays, files of tasks, roles, an inventory.
#[derive(Debug, Clone)]
struct Project {
    plays: Vec<Vec<Line>>,
    files: Vec<Vec<Line>>,
    roles: Vec<Vec<Line>>,
    hosts: usize,
    defaults: usize,
}

/// An item of a list of tasks.
#[derive(Debug, Clone)]
enum Line {
    Task { name: u8, module: u8, extra: u8 },
    Import(u8),
    Role(u8),
    Block(Vec<Line>),
    Comment,
}

impl Line {
    fn write(&self, indent: usize, depth: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        match self {
            Self::Task { name, module, extra } => {
                let module = ["ping:", "copy: src=a dest=/etc/{{ x }}", "command: echo hi", "apt: name=x"]
                    [usize::from(*module) % 4];
                let extra = [
                    "",
                    "tags: [skipped]",
                    "when: result is changed",
                    "register: result",
                    "notify: h",
                    "run_once: yes",
                    "unknown: 1",
                ][usize::from(*extra) % 7];
                out.push_str(&format!("{pad}- name: task {name}\n{pad}  {module}\n"));
                if !extra.is_empty() {
                    out.push_str(&format!("{pad}  {extra}\n"));
                }
            }
            // Each file imports only later ones, most of the time.
            Self::Import(file) => {
                out.push_str(&format!(
                    "{pad}- import_tasks: \"{{{{ prefix | default('t') }}}}{}.yml\"\n",
                    usize::from(*file) % 3 + depth
                ));
            }
            Self::Role(role) => out.push_str(&format!("{pad}- import_role: {{name: r{}}}\n", role % 3)),
            Self::Block(lines) => {
                out.push_str(&format!("{pad}- block:\n{pad}    - ping:\n"));
                lines.iter().for_each(|line| line.write(indent + 4, depth, out));
                out.push_str(&format!("{pad}  rescue:\n{pad}    - debug: msg=x\n"));
            }
            Self::Comment => out.push_str(&format!("{pad}# nothing\n\n")),
        }
    }
}

impl Project {
    /// Writes what is not there as it should be.
    fn write(&self, root: &Path, written: &mut BTreeMap<String, String>) {
        let mut put = |path: String, text: String| {
            if written.get(&path) == Some(&text) {
                return;
            }
            let file = root.join(&path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &text).unwrap();
            written.insert(path, text);
        };
        let mut site = String::new();
        for (n, play) in self.plays.iter().enumerate() {
            site.push_str(&format!("- name: play {n}\n  hosts: h*\n  serial: 2\n  roles: [r{}]\n  handlers:\n    - name: h\n      ping:\n  tasks:\n    - ping:\n", n % 3));
            play.iter().for_each(|line| line.write(4, 0, &mut site));
        }
        put("site.yml".to_owned(), site);
        for n in 0..8 {
            let mut text = "- debug: msg=file\n".to_owned();
            if let Some(lines) = self.files.get(n) {
                lines.iter().for_each(|line| line.write(0, n + 1, &mut text));
            }
            put(format!("t{n}.yml"), text);
        }
        for (n, role) in self.roles.iter().enumerate() {
            let mut text = "- debug: msg=role\n".to_owned();
            for line in
                role.iter().filter(|line| !matches!(line, Line::Import(_) | Line::Role(_) | Line::Block(_)))
            {
                line.write(0, 0, &mut text);
            }
            put(format!("roles/r{n}/tasks/main.yml"), text);
            put(format!("roles/r{n}/defaults/main.yml"), format!("value: {}\n", self.defaults));
        }
        let host = |n: usize| format!("h{n} ansible_architecture=arch{}\n", n % 2);
        put("hosts".to_owned(), (0..=self.hosts).map(host).collect());
    }
}

fn lines() -> impl Drawn<Value = Vec<Line>> {
    let task = (0..6_u8, 0..4_u8, 0..40_u8).prop_map(|(name, module, extra)| {
        // A task that is wrong is rare, so that most plans are made.
        let extra = if extra == 6 { 6 } else { extra % 6 };
        Line::Task { name, module, extra }
    });
    let leaf = prop_oneof![8 => task, 2 => any::<u8>().prop_map(Line::Import), 1 => any::<u8>().prop_map(Line::Role), 2 => Just(Line::Comment)];
    let item =
        leaf.prop_recursive(2, 6, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(Line::Block));
    proptest::collection::vec(item, 0..5)
}

/// One part of the project written anew.
#[derive(Debug, Clone)]
enum Edit {
    Play(usize, Vec<Line>),
    Insert(usize, Vec<Line>),
    Remove(usize),
    File(usize, Vec<Line>),
    Role(usize, Vec<Line>),
    Hosts(usize),
    Defaults(usize),
    Options(bool, usize),
    Restart,
}

fn edit() -> impl Drawn<Value = Edit> {
    prop_oneof![
        3 => (0..4_usize, lines()).prop_map(|(n, lines)| Edit::Play(n, lines)),
        1 => (0..4_usize, lines()).prop_map(|(n, lines)| Edit::Insert(n, lines)),
        1 => (0..4_usize).prop_map(Edit::Remove),
        3 => (0..3_usize, lines()).prop_map(|(n, lines)| Edit::File(n, lines)),
        2 => (0..3_usize, lines()).prop_map(|(n, lines)| Edit::Role(n, lines)),
        1 => (0..5_usize).prop_map(Edit::Hosts),
        1 => (0..3_usize).prop_map(Edit::Defaults),
        1 => (any::<bool>(), 0..8_usize).prop_map(|(check, strategy)| Edit::Options(check, strategy)),
        1 => Just(Edit::Restart),
    ]
}

impl Project {
    fn apply(&mut self, edit: &Edit) {
        let plays = self.plays.len();
        match edit {
            Edit::Play(n, lines) => self.plays[n % plays].clone_from(lines),
            Edit::Insert(n, lines) => self.plays.insert(n % plays, lines.clone()),
            Edit::Remove(n) if plays > 1 => drop(self.plays.remove(n % plays)),
            Edit::File(n, lines) => self.files[*n].clone_from(lines),
            Edit::Role(n, lines) => self.roles[*n].clone_from(lines),
            Edit::Hosts(n) => self.hosts = *n,
            Edit::Defaults(n) => self.defaults = *n,
            Edit::Remove(_) | Edit::Options(..) | Edit::Restart => {}
        }
    }
}

fn project() -> impl Drawn<Value = Project> {
    let three = || proptest::collection::vec(lines(), 3);
    (proptest::collection::vec(lines(), 1..4), three(), three(), 0..4_usize, 0..3_usize)
        .prop_map(|(plays, files, roles, hosts, defaults)| Project { plays, files, roles, hosts, defaults })
}

/// A planner that keeps nothing.
fn forgetful() -> Planner {
    let clock = Clock::system();
    let stats = Stats::new(StatsOptions { level: Level::Off, ..StatsOptions::default() }, clock.clone());
    let larder =
        Larder::new(LarderOptions { mode: Mode::Off, memory: None, ..LarderOptions::new(clock, stats) });
    Planner::new(&larder, &Scope::new("test").unwrap()).unwrap()
}

/// The plan of several views that ask at the same time, which is the same for all of them.
fn plan_at_once(planner: &Planner, root: &Path, request: &PlanRequest) -> Vec<u8> {
    let ask = || async { bytes(planner.view(root).plan(request).await) };
    let (a, b, c) = wait(async { tokio::join!(ask(), ask(), ask()) });
    assert_eq!((&a, &b), (&b, &c));
    a
}

#[test]
fn a_plan_after_edits_is_the_plan_from_nothing() {
    // One engine for all cases, as opening one takes longer than planning; each case has a scope of its own.
    let disk = TempDir::new().unwrap();
    let opened_now = std::cell::RefCell::new(opened(disk.path()));
    let case = std::cell::Cell::new(0);
    let fresh = forgetful();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
    let edits = proptest::collection::vec(edit(), 1..8);
    let outcome = runner.run(&(project(), edits), |(mut project, edits)| {
        case.set(case.get() + 1);
        let scope = Scope::new(&format!("case{}", case.get())).unwrap();
        let root = TempDir::new().unwrap();
        let kept_by = |opened: &Opened| Planner::new(&opened.larder, &scope).unwrap();
        let mut kept = kept_by(&opened_now.borrow());
        let mut written = BTreeMap::new();
        let mut request = request();
        project.write(root.path(), &mut written);
        prop_assert_eq!(plan_at_once(&kept, root.path(), &request), plan(&fresh, root.path(), &request).0);
        for edit in edits {
            project.apply(&edit);
            project.write(root.path(), &mut written);
            match edit {
                Edit::Restart => {
                    wait(opened_now.borrow().close());
                    opened_now.replace(opened(disk.path()));
                    kept = kept_by(&opened_now.borrow());
                }
                Edit::Options(check, strategy) => {
                    request.options.modes.check = check;
                    request.strategy = Strategy::ALL.get(strategy).copied();
                }
                _ => {}
            }
            let now = plan_at_once(&kept, root.path(), &request);
            prop_assert_eq!(now, plan(&fresh, root.path(), &request).0);
        }
        Ok(())
    });
    outcome.unwrap();
    wait(opened_now.borrow().close());
}

#[test]
fn a_line_above_and_a_comment_change_nothing_that_is_built_on_them() {
    let root = TempDir::new().unwrap();
    let task = |name| Line::Task { name, module: 0, extra: 0 };
    let mut project = Project {
        plays: vec![vec![task(1), Line::Import(0)], vec![task(2)]],
        files: vec![vec![task(3)]; 3],
        roles: vec![vec![task(4)]; 3],
        hosts: 3,
        defaults: 0,
    };
    let mut written = BTreeMap::new();
    project.write(root.path(), &mut written);
    let planner = planner();
    let plan = |planner, root| plan(planner, root, &request());
    let before = plan(&planner, root.path()).0;
    assert_eq!(plan(&planner, root.path()), (before.clone(), Some(Reuse::Whole)));

    let site = fs::read_to_string(root.path().join("site.yml")).unwrap();
    fs::write(root.path().join("site.yml"), format!("---\n# A comment.\n\n{site}")).unwrap();
    let (after, reuse) = plan(&planner, root.path());
    assert_eq!((after, reuse), (before.clone(), Some(Reuse::Whole)));

    project.plays[1] = vec![task(9)];
    project.write(root.path(), &mut written);
    let (after, reuse) = plan(&planner, root.path());
    assert_ne!(after, before);
    let Some(Reuse::Parts(parts)) = reuse else { panic!("the plan was kept as a whole") };
    let of = |kind: &str| {
        let part = parts.iter().find(|part| part.kind == kind).unwrap();
        (part.kept, part.computed)
    };
    assert_eq!(
        (of("ansible.play@6"), of("ansible.order@5"), of("ansible.compile@3")),
        ((1, 1), (1, 1), (1, 1))
    );
}
