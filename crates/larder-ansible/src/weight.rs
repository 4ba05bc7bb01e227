//! How much memory values take that are kept as they are: several times what they take encoded, as most of a task is
//! room for what it does not say.
//!
//! Counted are what an allocator hands out for what lies behind pointers, rounded up as glibc's does, and the value itself.
//! Not here: what the engine has beside a value.

use crate::compiled::{CompiledPlay, CompiledTask, Phase, RoleRun, Section};
use crate::inventory::{Group, Host, Inventory, Value, Variables, Warning};
use crate::plain::{Mapping, Plain};
use crate::plan::{Batch, Dependency, PlannedLoop, PlannedTask, PlayPlan};
use crate::playbook::{
    Action, ActionKind, Block, Item, Keywords, Loop, Play, RoleCall, RoleMeta, RoleReference, Task,
};
use crate::query::Role;

/// Something that takes memory behind pointers.
pub(crate) trait Weigh {
    /// How many bytes it takes beside itself.
    fn behind(&self) -> usize;
}

/// How many bytes a value takes in all.
pub(crate) fn weight<T: Weigh>(value: &T) -> u64 {
    (size_of::<T>() + value.behind()) as u64
}

/// What an allocator takes for so many bytes.
fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        bytes => (bytes + 8).next_multiple_of(16).max(32),
    }
}

/// What items take that lie in a row.
fn row<T: Weigh>(items: &[T], room: usize) -> usize {
    allocated(room * size_of::<T>()) + items.iter().map(Weigh::behind).sum::<usize>()
}

impl<T: Weigh> Weigh for Vec<T> {
    fn behind(&self) -> usize {
        row(self, self.capacity())
    }
}

impl<T: Weigh> Weigh for Box<T> {
    fn behind(&self) -> usize {
        allocated(size_of::<T>()) + (**self).behind()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn behind(&self) -> usize {
        self.as_ref().map_or(0, Weigh::behind)
    }
}

impl<A: Weigh, B: Weigh> Weigh for (A, B) {
    fn behind(&self) -> usize {
        self.0.behind() + self.1.behind()
    }
}

impl Weigh for String {
    fn behind(&self) -> usize {
        allocated(self.capacity())
    }
}

impl Weigh for Box<str> {
    fn behind(&self) -> usize {
        allocated(self.len())
    }
}

/// Types that have nothing behind them.
macro_rules! flat {
    ($($type:ty),*) => {$(
        impl Weigh for $type {
            fn behind(&self) -> usize {
                0
            }
        }
    )*};
}

flat!(bool, u32, u64, i64, usize, f64, Phase, Section, Dependency);

/// Structs, with all fields that may have something behind them where they are kept.
macro_rules! fields {
    ($($type:ty: $($field:ident)*;)*) => {$(
        impl Weigh for $type {
            fn behind(&self) -> usize {
                0 $(+ self.$field.behind())*
            }
        }
    )*};
}

fields! {
    CompiledPlay: name hosts tags serial strategy order roles tasks handlers;
    CompiledTask: name module args blocks tags when looped notify listen register vars settings own;
    RoleRun: name path;
    Loop: with over;
    PlayPlan: name patterns tags strategy hosts unmatched batches tasks handlers stages;
    Batch: hosts;
    PlannedTask: name module args role blocks when tags looped notify listen register delegate_to vars settings depends_on;
    PlannedLoop: with over;
    Task: name action keywords looped notify listen register own;
    Block: name keywords notify block rescue always;
    Action: module args kind;
    RoleCall: name from;
    Keywords: tags when vars settings collections;
    Role: meta meta_file defaults vars tasks tasks_file handlers handlers_file;
    Warning: file message;
    Play: name hosts keywords vars_files vars_prompt roles pre_tasks tasks post_tasks handlers serial strategy order max_fail_percentage
        gather_facts;
    RoleReference: role keywords params;
    RoleMeta: dependencies collections argument_specs;
    Inventory: groups hosts groups_by_name hosts_by_name warnings;
    Group: name variables hosts children parents;
    Host: name variables groups;
}

impl Weigh for Plain {
    fn behind(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::String(text) | Self::Vault(text) => text.behind(),
            Self::List(items) => items.behind(),
            Self::Map(entries) => entries.behind(),
        }
    }
}

impl Weigh for Mapping {
    fn behind(&self) -> usize {
        let entries = self.iter().map(|(key, value)| allocated(key.len()) + value.behind());
        allocated(self.room() * size_of::<(Box<str>, Plain)>()) + entries.sum::<usize>()
    }
}

impl Weigh for Value {
    fn behind(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
            Self::String(text) | Self::Vault(text) | Self::Digits(text) => text.behind(),
            Self::List(items) => items.behind(),
            Self::Map(entries) => entries.behind(),
        }
    }
}

impl Weigh for Variables {
    fn behind(&self) -> usize {
        let entries = self.iter().map(|(name, value)| allocated(name.len()) + value.behind());
        allocated(self.len() * size_of::<(Box<str>, Value)>()) + entries.sum::<usize>()
    }
}

impl Weigh for Item {
    fn behind(&self) -> usize {
        match self {
            Self::Task(task) => task.behind(),
            Self::Block(block) => block.behind(),
        }
    }
}

impl Weigh for ActionKind {
    fn behind(&self) -> usize {
        match self {
            Self::Module => 0,
            Self::IncludeTasks(file) | Self::ImportTasks(file) => file.behind(),
            Self::IncludeRole(call) | Self::ImportRole(call) => call.behind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::process::Command;

    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::fault::Way;
    use crate::inventory::{Part, assemble};
    use crate::plan::build;
    use crate::plan::modes::Modes;
    use crate::tags::TagSelection;

    const ROLE: &str = "LARDER_TEST_WEIGHT";

    fn document() -> Plain {
        let task = "- name: Configure part N of the application\n  template:\n    src: partN.conf.j2\n    \
                    dest: /etc/application/partN.conf\n    mode: '0644'\n  when: part > 1\n  \
                    loop: [1, 2, a]\n  notify: Restart\n  vars: {part: N, more: {a: 1.5, b: [x, y]}}\n";
        let text: String = (0..200).map(|n| task.replace('N', &n.to_string())).collect();
        Plain::from(&crate::yaml::parse("tasks.yml", text.as_bytes()).unwrap()[0])
    }

    fn compiled(items: &[Item]) -> CompiledPlay {
        let tasks = items.iter().map(|item| {
            let Item::Task(task) = item else { panic!("all are tasks") };
            CompiledTask {
                name: task.name.clone(),
                module: task.action.module.clone(),
                args: task.action.args.clone(),
                role: Some(0),
                phase: Phase::Roles,
                blocks: Vec::new(),
                tags: vec!["web".to_owned()],
                when: task.keywords.when.clone(),
                looped: task.looped.clone(),
                notify: task.notify.clone(),
                listen: Vec::new(),
                register: None,
                vars: task.keywords.vars.clone(),
                settings: Mapping::default(),
                own: Mapping::default(),
                includes_role: false,
            }
        });
        CompiledPlay {
            name: "Site".to_owned(),
            hosts: vec!["all".to_owned()],
            tags: Vec::new(),
            serial: Vec::new(),
            strategy: "linear".to_owned(),
            order: None,
            max_fail_percentage: None,
            gather_facts: true,
            roles: vec![RoleRun {
                name: "web".to_owned(),
                path: "roles/web".to_owned(),
                repeats: None,
                allow_duplicates: false,
            }],
            tasks: tasks.collect(),
            handlers: Vec::new(),
            force_handlers: false,
        }
    }

    fn resident() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * page_bytes()
    }

    fn page_bytes() -> u64 {
        let told = Command::new("getconf").arg("PAGESIZE").output().unwrap().stdout;
        String::from_utf8(told).unwrap().trim().parse().unwrap()
    }

    /// Holds copies, as they are when they were read back, and compares by how much memory grows.
    fn check<T: Weigh + Serialize + DeserializeOwned>(what: &str, value: &T) {
        let encoded = postcard::to_stdvec(value).unwrap();
        let copy = || postcard::from_bytes::<T>(&encoded).unwrap();
        let each = weight(&copy());
        let count = (64 << 20) / each;
        let mut copies = Vec::with_capacity(count as usize);
        let before = resident();
        (0..count).for_each(|_| copies.push(copy()));
        let took = (resident() - before) as f64;
        black_box(&copies);
        let ratio = (each * count) as f64 / took;
        assert!((0.85..1.15).contains(&ratio), "{what}: {ratio} of what it takes");
        assert!(each > encoded.len() as u64, "{what}");
    }

    #[test]
    fn a_process_that_holds_copies() {
        // Nobody's child has nothing to do.
        let Ok(what) = std::env::var(ROLE) else { return };
        let items = || crate::playbook::items(&document(), &Way::ROOT, false).unwrap();
        match what.as_str() {
            "document" => check(&what, &Some(document())),
            "tasks" => check(&what, &Some(items())),
            "compiled" => check(&what, &compiled(&items())),
            "plan" => {
                let selection = TagSelection::new::<&str>(&[], &[]);
                let plan = build::ordered(&compiled(&items()), &selection, None, Modes::default());
                check(&what, &plan.unwrap_or_else(|_| panic!("there is no circle")));
            }
            _ => {
                let hosts: String =
                    (0..500).map(|n| format!("web{n}.example.com rack={n} note=some-text\n")).collect();
                let part = Part::File {
                    name: "hosts".to_owned(),
                    content: format!("[web]\n{hosts}").into_bytes().into(),
                };
                check(&what, &assemble(&[part]).unwrap());
            }
        }
        println!("held");
    }

    #[test]
    fn what_is_counted_is_what_memory_grows_by() {
        for what in ["document", "tasks", "compiled", "plan", "inventory"] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "weight::tests::a_process_that_holds_copies", "--nocapture"]);
            let output = command.env(ROLE, what).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("held"), "{said}");
        }
    }
}
