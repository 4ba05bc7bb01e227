//! The promise above all: after any edits, a plan equals one that is made from nothing, byte for byte, also in
//! another process.

use std::fs;
use std::path::Path;

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Larder, Opened};
use larder::key::Scope;
use larder_ansible::inventory::Source;
use larder_ansible::plan::binary;
use larder_ansible::planner::{Planner, Reuse};
use larder_ansible::query::PlanRequest;
use larder_ansible::tags::TagSelection;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::lab::{planner, wait};

fn request() -> PlanRequest {
    PlanRequest {
        selection: TagSelection::new::<&str>(&[], &["skipped"]),
        ..PlanRequest::new("site.yml", vec![Source::Path("hosts".to_owned())])
    }
}

/// A plan's bytes, or what is wrong in words.
fn plan(planner: &Planner, root: &Path) -> (Vec<u8>, Option<Reuse>) {
    wait(async {
        match planner.view(root).plan(&request()).await {
            Ok(planned) => {
                assert_eq!(binary::decode(&binary::encode(&planned.plan)).as_ref(), Ok(&*planned.plan));
                (binary::encode(&planned.plan), Some(planned.reuse))
            }
            Err(problem) => (problem.render().into_bytes(), None),
        }
    })
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
    fn write(&self, root: &Path) {
        let put = |path: String, text: String| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
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
        put("hosts".to_owned(), (0..=self.hosts).map(|n| format!("h{n}\n")).collect());
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
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
    Restart,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        3 => (0..4_usize, lines()).prop_map(|(n, lines)| Edit::Play(n, lines)),
        1 => (0..4_usize, lines()).prop_map(|(n, lines)| Edit::Insert(n, lines)),
        1 => (0..4_usize).prop_map(Edit::Remove),
        3 => (0..3_usize, lines()).prop_map(|(n, lines)| Edit::File(n, lines)),
        2 => (0..3_usize, lines()).prop_map(|(n, lines)| Edit::Role(n, lines)),
        1 => (0..5_usize).prop_map(Edit::Hosts),
        1 => (0..3_usize).prop_map(Edit::Defaults),
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
            Edit::Remove(_) | Edit::Restart => {}
        }
    }
}

fn project() -> impl Strategy<Value = Project> {
    let three = || proptest::collection::vec(lines(), 3);
    (proptest::collection::vec(lines(), 1..4), three(), three(), 0..4_usize, 0..3_usize)
        .prop_map(|(plays, files, roles, hosts, defaults)| Project { plays, files, roles, hosts, defaults })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_after_edits_is_the_plan_from_nothing(mut project in project(), edits in proptest::collection::vec(edit(), 1..8)) {
        let root = TempDir::new().unwrap();
        let disk = TempDir::new().unwrap();
        let scope = Scope::new("test").unwrap();
        let mut larder = opened(disk.path());
        let mut kept = Planner::new(&larder.larder, &scope).unwrap();
        project.write(root.path());
        prop_assert_eq!(plan(&kept, root.path()).0, plan(&planner(), root.path()).0);
        for edit in edits {
            project.apply(&edit);
            project.write(root.path());
            if matches!(edit, Edit::Restart) {
                wait(larder.close());
                larder = opened(disk.path());
                kept = Planner::new(&larder.larder, &scope).unwrap();
            }
            prop_assert_eq!(plan(&kept, root.path()).0, plan(&planner(), root.path()).0);
        }
        wait(larder.close());
    }
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
    project.write(root.path());
    let planner = planner();
    let before = plan(&planner, root.path()).0;
    assert_eq!(plan(&planner, root.path()), (before.clone(), Some(Reuse::Whole)));

    let site = fs::read_to_string(root.path().join("site.yml")).unwrap();
    fs::write(root.path().join("site.yml"), format!("---\n# A comment.\n\n{site}")).unwrap();
    let (after, reuse) = plan(&planner, root.path());
    assert_eq!((after, reuse), (before.clone(), Some(Reuse::Whole)));

    project.plays[1] = vec![task(9)];
    project.write(root.path());
    let (after, reuse) = plan(&planner, root.path());
    assert_ne!(after, before);
    let Some(Reuse::Parts(parts)) = reuse else { panic!("the plan was kept as a whole") };
    let of = |kind: &str| {
        let part = parts.iter().find(|part| part.kind == kind).unwrap();
        (part.kept, part.computed)
    };
    assert_eq!(
        (of("ansible.play@3"), of("ansible.order@3"), of("ansible.compile@2")),
        ((1, 1), (1, 1), (1, 1))
    );
}
