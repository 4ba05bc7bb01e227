//! larder plan against ansible-playbook, on a set of playbooks made for it.
//!
//! Both list the tasks of the same playbook, and after every run it is checked that they list the same.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::measure::{Series, run};
use super::{SETTLING, goal};

/// How many roles the sets have: a usual one, a large one and a very large one.
const ROLES: [usize; 3] = [20, 100, 400];
/// From so many roles on, a round takes half a minute, so that there are fewer.
const MANY_ROLES: usize = 400;
const FEW_ROUNDS: usize = 3;
/// Each role has so many tasks, each play so many roles, and all plays together so many hosts.
const TASKS: usize = 50;
const ROLES_A_PLAY: usize = 4;
const HOSTS: usize = 100;
/// In how many files the tasks of a role are.
const FILES: usize = 2;

/// The set on disk.
struct Set {
    root: PathBuf,
}

impl Set {
    fn write(root: PathBuf, roles: usize) -> Result<Self> {
        let plays = roles / ROLES_A_PLAY;
        fs::create_dir_all(root.join("group_vars"))?;
        let (mut site, mut inventory) = (String::new(), String::new());
        for play in 0..plays {
            write!(
                site,
                "- name: Tier {play}\n  hosts: tier{play}\n  become: true\n  tags: [tier{play}]\n  roles:\n"
            )?;
            (0..roles).filter(|role| role % plays == play).try_for_each(|role| {
                writeln!(site, "    - role: service{role:02}\n      service_port: {}", 8000 + role)
            })?;
            writeln!(inventory, "[tier{play}]")?;
            (0..HOSTS).filter(|host| host % plays == play).try_for_each(|host| {
                writeln!(inventory, "host{host:03}.example.com ansible_port=22 rack={}", host / 10)
            })?;
            fs::write(root.join(format!("group_vars/tier{play}.yml")), format!("tier: {play}\n"))?;
        }
        fs::write(root.join("site.yml"), site)?;
        fs::write(root.join("inventory.ini"), inventory)?;
        let set = Self { root };
        for role in 0..roles {
            set.write_role(role)?;
        }
        Ok(set)
    }

    fn write_role(&self, role: usize) -> Result<()> {
        let directory = self.root.join(format!("roles/service{role:02}"));
        for part in ["tasks", "handlers", "defaults", "meta", "templates"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let handler = format!(
            "- name: restart service{role:02}\n  ansible.builtin.service:\n    name: service{role:02}\n    \
             state: restarted\n"
        );
        fs::write(directory.join("handlers/main.yml"), handler)?;
        fs::write(
            directory.join("defaults/main.yml"),
            format!("service_user: user{role}\nservice_port: 80\n"),
        )?;
        fs::write(directory.join("meta/main.yml"), "dependencies: []\n")?;
        fs::write(directory.join("templates/service.conf.j2"), "port = {{ service_port }}\n")?;
        for file in 0..FILES {
            fs::write(directory.join("tasks").join(task_file(file)), tasks(role, file, "")?)?;
        }
        Ok(())
    }

    /// Gives one task another name, a new one each round.
    fn edit(&self, round: usize) -> Result<()> {
        let path = self.root.join("roles/service10/tasks").join(task_file(1));
        Ok(fs::write(path, tasks(10, 1, &format!(" in round {round}"))?)?)
    }

    /// All files that the plan depends on.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let (mut files, mut directories) = (Vec::new(), vec![self.root.clone()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let list = if entry.file_type()?.is_dir() { &mut directories } else { &mut files };
                list.push(entry.path());
            }
        }
        Ok(files)
    }

    fn list(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.root.with_extension("home")).env("LC_ALL", "C.UTF-8");
        command
    }

    fn ansible(&self, program: &Path) -> Command {
        let mut command = self.list(program);
        command.args(["-i", "inventory.ini", "site.yml", "--list-tasks"]);
        command
    }

    fn larder(&self, program: &Path, cache: &Path) -> Command {
        let mut command = self.list(program);
        command.env("LARDER_DIR", cache).args(["plan", "-i", "inventory.ini", "site.yml", "--list-tasks"]);
        command
    }
}

fn task_file(file: usize) -> String {
    if file == 0 { "main.yml".into() } else { format!("part{file}.yml") }
}

fn tasks(role: usize, file: usize, change: &str) -> Result<String> {
    let mut text = String::new();
    for task in (file * TASKS / FILES)..((file + 1) * TASKS / FILES) {
        let change = if task + 1 == TASKS { change } else { "" };
        writeln!(text, "- name: Step {task} of service{role:02}{change}")?;
        match task % 4 {
            0 => write!(text, "  ansible.builtin.package:\n    name: package{task}\n    state: present\n")?,
            1 => write!(
                text,
                "  ansible.builtin.template:\n    src: service.conf.j2\n    dest: /etc/service{role:02}/{task}.conf\n    \
                 owner: \"{{{{ service_user }}}}\"\n    mode: \"0644\"\n  notify: restart service{role:02}\n"
            )?,
            2 => write!(
                text,
                "  ansible.builtin.command: /usr/bin/true {task}\n  register: done{task}\n  changed_when: false\n"
            )?,
            _ => write!(
                text,
                "  ansible.builtin.service:\n    name: service{role:02}\n    enabled: true\n  when: done{}.rc == 0\n  \
                 tags: [services]\n",
                task - 1
            )?,
        }
    }
    if file == 0 {
        (1..FILES)
            .try_for_each(|file| writeln!(text, "- ansible.builtin.import_tasks: {}", task_file(file)))?;
    }
    Ok(text)
}

fn said(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?}: {}",
        command.get_program(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Times fresh, cached and edited plans.
pub(super) fn compare(larder: &Path, ansible: &Path, root: &Path, rounds: usize) -> Result<()> {
    ROLES.iter().try_for_each(|&roles| {
        let root = root.join(format!("{roles}-roles"));
        let rounds = if roles >= MANY_ROLES { rounds.min(FEW_ROUNDS) } else { rounds };
        compare_one(larder, ansible, &root, roles, rounds)
    })
}

fn compare_one(larder: &Path, ansible: &Path, root: &Path, roles: usize, rounds: usize) -> Result<()> {
    let set = Set::write(root.join("set"), roles)?;
    let (kept, files) = (root.join("kept"), set.files()?);
    let check = || -> Result<()> {
        let (wanted, is) = (said(&mut set.ansible(ansible))?, said(&mut set.larder(larder, &kept))?);
        ensure!(wanted == is, "larder lists other tasks than ansible-playbook");
        Ok(())
    };
    check()?;
    std::thread::sleep(SETTLING);
    check()?;
    let [mut judge, mut fresh, mut cached, mut edited, mut start] = [(); 5].map(|()| Series::default());
    let mut stats = Vec::new();
    for round in 0..rounds {
        judge.push(run(&mut set.ansible(ansible))?);
        fresh.push(run(&mut set.larder(larder, &root.join(format!("fresh-{round}"))))?);
        cached.push(run(&mut set.larder(larder, &kept))?);
        start.push(run(Command::new(larder).arg("--version"))?);
        let began = Instant::now();
        files.iter().try_for_each(|file| fs::symlink_metadata(file).map(drop))?;
        stats.push(began.elapsed().as_secs_f64() * 1e3);
    }
    for round in 0..rounds {
        set.edit(round)?;
        edited.push(run(&mut set.larder(larder, &kept))?);
    }
    check()?;
    stats.sort_by(f64::total_cmp);
    let floor = start.median() + stats[stats.len() / 2];
    let tasks = roles * TASKS;
    println!(
        "\nplan: {tasks} tasks of {roles} roles in {} files for {HOSTS} hosts, {rounds} rounds",
        files.len()
    );
    println!("  ansible-playbook {}", judge.against(judge.median()));
    let rows = [("fresh", &fresh), ("cached", &cached), ("one task edited", &edited)];
    for (what, series) in rows {
        println!(
            "  larder, {what:<16} {}, {:.1} MB",
            series.against(judge.median()),
            series.peak_megabytes()
        );
    }
    goal("fresh against ansible-playbook", fresh.median() / judge.median(), 1.0 / 20.0);
    goal("cached against start and stat", cached.median() / floor, 3.0);
    goal("cached in ms", cached.median(), 100.0);
    goal("edited against fresh", edited.median() / fresh.median(), 0.1);
    Ok(())
}
