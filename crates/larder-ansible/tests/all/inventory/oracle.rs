//! The same groups, hosts, order and variables as Ansible's own commands print.

use larder_ansible::inventory::Chosen;
use larder_ansible::listing::{self, Listed, ListedPlay};
use larder_ansible::query::Options;

use super::ansible::{Job, run};
use super::lab::{Lab, block_on, inventories};

/// Sources, the playbook's directory, a limit.
type Listing = (&'static [&'static str], Option<&'static str>, Option<&'static str>);

const LISTINGS: &[Listing] = &[
    (&["ini/hosts"], None, None),
    (&["ini/hosts"], None, Some("web*:!web5")),
    (&["yaml/hosts.yml"], None, None),
    (&["json/hosts.json"], None, None),
    (&["directory"], None, None),
    (&["directory/"], None, Some("prod")),
    (&["play/inventory/hosts"], None, None),
    (&["play/inventory/hosts"], Some("play"), None),
    (&["play/inventory"], Some("play"), Some("h1")),
    (&["several/first/hosts", "several/second"], None, None),
    (&["several/second", "several/first/hosts"], None, None),
    (&["several/first/hosts", "w1,extra:22,w[1:2],::1,"], None, None),
    (&["localhost,"], None, None),
    (&["literals/hosts"], None, None),
];

#[test]
fn inventories_list_byte_for_byte_as_ansible_inventory_lists_them() {
    let lab = Lab::at(&inventories());
    let job = |(sources, playbook, limit): &Listing| {
        let mut arguments = vec!["ansible-inventory", "--list"];
        sources.iter().for_each(|source| arguments.extend(["-i", source]));
        playbook.iter().for_each(|playbook| arguments.extend(["--playbook-dir", playbook]));
        limit.iter().for_each(|limit| arguments.extend(["--limit", limit]));
        Job::new(&inventories(), &arguments)
    };
    let theirs = run(&LISTINGS.iter().map(job).collect::<Vec<_>>());
    for ((sources, playbook, limit), theirs) in LISTINGS.iter().zip(theirs) {
        assert_eq!(theirs.code, 0, "{sources:?} {}", theirs.stderr);
        let ours = lab.list(sources, *playbook, *limit).unwrap();
        assert!(ours == theirs.stdout, "{sources:?}:\n{}", first_difference(&ours, &theirs.stdout));
    }
}

#[test]
fn programs_that_are_run_list_as_ansible_inventory_lists_them() {
    let cases: [&[&str]; 3] = [&["programs/whole"], &["programs/piecewise"], &["programs", "several/second"]];
    let lab = Lab::at(&inventories());
    let job = |sources: &&[&str]| {
        let mut arguments = vec!["ansible-inventory", "--list"];
        sources.iter().for_each(|source| arguments.extend(["-i", source]));
        Job::new(&inventories(), &arguments)
    };
    let theirs = run(&cases.iter().map(job).collect::<Vec<_>>());
    for (sources, theirs) in cases.iter().zip(theirs) {
        let ours = lab.list_running(sources).unwrap();
        assert!(ours == theirs.stdout, "{sources:?}:\n{}", first_difference(&ours, &theirs.stdout));
    }
}

#[test]
fn the_hosts_of_plays_are_those_that_ansible_playbook_lists() {
    let planner = crate::lab::planner();
    let cases: [Option<&str>; 3] = [None, Some("web:dbs[0]"), Some("localhost")];
    let job = |limit: &Option<&str>| {
        let mut arguments = vec!["ansible-playbook", "hosts.yml", "-i", "ini/hosts", "--list-hosts"];
        limit.iter().for_each(|limit| arguments.extend(["--limit", limit]));
        Job::new(&inventories(), &arguments)
    };
    let options = Options::default();
    let view = planner.view(inventories());
    let plays = crate::lab::wait(async { view.listed("hosts.yml", &options).await }).unwrap();
    let lab = Lab::at(&inventories());
    for (limit, theirs) in cases.iter().zip(run(&cases.iter().map(job).collect::<Vec<_>>())) {
        let chosen = |play: &ListedPlay| {
            let patterns: Vec<&str> = play.hosts.iter().map(String::as_str).collect();
            block_on(Lab::choose(&lab.session(), &["ini/hosts"], &patterns, *limit)).unwrap()
        };
        let hosts: Vec<Chosen> = plays.iter().map(chosen).collect();
        let selection = listing::selection::<&str>(Listed::default(), &[], &[]);
        let ours = listing::text("hosts.yml", &plays, Some(&hosts), Listed::default(), &selection);
        assert_eq!(
            with_sorted_hosts(&ours),
            with_sorted_hosts(&theirs.stdout),
            "{limit:?} {}",
            theirs.stderr
        );
    }
}

/// The hosts of each play in order: Ansible prints them in the order of a set, which no two starts agree on.
fn with_sorted_hosts(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        lines.push(line.to_owned());
        let hosts = lines.iter().rev().take_while(|line| line.starts_with("      ")).count();
        let at = lines.len() - hosts;
        lines[at..].sort_unstable();
    }
    lines
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let at = ours.lines().zip(theirs.lines()).position(|(ours, theirs)| ours != theirs).unwrap_or(0);
    let around = |text: &str| text.lines().skip(at.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
    format!("ours, line {}:\n{}\ntheirs:\n{}", at + 1, around(ours), around(theirs))
}

/// An inventory, and patterns with the limits that are set.
type Choices = (&'static str, &'static [(&'static str, Option<&'static str>)]);

const PATTERNS: &[Choices] = &[
    (
        "ini/hosts",
        &[
            ("all", None),
            ("*", None),
            ("ungrouped", None),
            ("web", None),
            ("web:dbs", None),
            ("dbs:web", None),
            ("web,dbs", None),
            ("production:!web", None),
            ("!web:production", None),
            ("web:&staging:!web5", None),
            ("!web", None),
            ("&web", None),
            ("web*", None),
            ("web0?.example.com", None),
            ("web0[12].example.com", None),
            ("web0[!12].example.com", None),
            ("*.example.com", None),
            ("~web\\d$", None),
            ("~(web|db).*\\.example\\.com", None),
            ("~(?!web)", None),
            ("~(?i)WEB0", None),
            ("web[0]", None),
            ("web[0:2]", None),
            ("web[-1]", None),
            ("web[-2]", None),
            ("web[1:]", None),
            ("web[0:0]", None),
            ("web[0-1]", None),
            ("web[5:1]", None),
            ("web[2:99]", None),
            ("web*[0:2]", None),
            ("all[3]", None),
            ("fe80::1", None),
            ("fe80::1,fe80::2", None),
            ("fe80*", None),
            ("10.1.*", None),
            ("localhost", None),
            ("127.0.0.1", None),
            ("nothing", None),
            ("web1:nothing", None),
            ("alone,localhost", None),
            ("quoted name", None),
            ("web5,web,web5", None),
            ("production", Some("staging")),
            ("all", Some("web[0]:dbs[0]")),
            ("all", Some("!web")),
            ("all", Some("@limit")),
            ("web", Some("db*")),
        ],
    ),
    (
        "several/first/hosts",
        &[("localhost", None), ("127.0.0.1:web", None), ("::1", None), ("localhost,::1", None)],
    ),
    ("directory", &[("all", None), ("prod", None), ("late:nested", None), ("prod[0]:db", None)]),
    (
        "yaml/hosts.yml",
        &[("all", None), ("web", None), ("second_top", None), ("inner[0]", None), ("w*:&web", None)],
    ),
];

#[test]
fn patterns_choose_the_hosts_that_ansible_lists_in_its_order() {
    let lab = Lab::at(&inventories());
    let mut cases = Vec::new();
    let mut jobs = Vec::new();
    for (inventory, patterns) in PATTERNS {
        for (pattern, limit) in *patterns {
            let mut arguments = vec!["ansible", pattern, "-i", inventory, "--list-hosts"];
            limit.iter().for_each(|limit| arguments.extend(["--limit", limit]));
            jobs.push(Job::new(&inventories(), &arguments));
            cases.push((inventory, pattern, limit));
        }
    }
    for ((inventory, pattern, limit), theirs) in cases.into_iter().zip(run(&jobs)) {
        let ours = lab.hosts(&[inventory], pattern, *limit);
        if theirs.code == 0 {
            let ours = ours.unwrap_or_else(|problem| panic!("{inventory} {pattern} {limit:?}: {problem}"));
            let mut text = format!("  hosts ({}):\n", ours.len());
            ours.iter().for_each(|host| text.push_str(&format!("    {host}\n")));
            assert_eq!(text, theirs.stdout, "{inventory} {pattern} {limit:?}");
        } else {
            // No hosts are left, or the subscript leads nowhere.
            assert!(
                ours.is_err() || ours.is_ok_and(|hosts| hosts.is_empty()),
                "{inventory} {pattern}: {theirs:?}"
            );
        }
    }
}
