//! Which crate may depend on which.
//!
//! Invariant: `larder` depends on no sibling, jobs do not know each other, nobody depends on `larder-sim`.

use anyhow::Result;

use crate::workspace::Workspace;

/// Each crate and the siblings that it may depend on. A crate that is not listed is a finding.
const TABLE: &[(&str, &[&str])] = &[
    ("larder", &[]),
    ("larder-tasks", &["larder"]),
    ("larder-ansible", &["larder"]),
    // Its own tests take it with its test servers.
    ("larder-shared", &["larder", "larder-shared"]),
    ("larder-server", &["larder", "larder-shared"]),
    ("larder-cli", &["larder", "larder-ansible", "larder-server", "larder-shared", "larder-tasks"]),
    ("larder-sim", &["larder", "larder-ansible", "larder-tasks"]),
    ("xtask", &[]),
];

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut edges = Vec::new();
    let members = workspace.metadata.workspace_packages();
    let is_member = |name: &str| members.iter().any(|member| member.name.as_str() == name);
    for member in &members {
        edges.push((member.name.to_string(), None));
        for dependency in &member.dependencies {
            if is_member(&dependency.name) {
                edges.push((member.name.to_string(), Some(dependency.name.clone())));
            }
        }
    }
    Ok(findings(&edges))
}

/// Looks up each edge; a crate alone is an edge to `None`.
fn findings(edges: &[(String, Option<String>)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (from, to) in edges {
        let allowed = TABLE.iter().find(|(name, _)| name == from).map(|(_, allowed)| *allowed);
        match (allowed, to) {
            (None, _) => findings.push(format!("{from}: not in the table of xtask/src/check/crates.rs")),
            (Some(allowed), Some(to)) if !allowed.contains(&to.as_str()) => {
                findings.push(format!("{from} must not depend on {to}"));
            }
            _ => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_against_the_table_and_an_unknown_crate_are_found() {
        let edge = |from: &str, to: &str| (from.to_owned(), Some(to.to_owned()));
        assert_eq!(findings(&[edge("larder-tasks", "larder"), edge("larder-cli", "larder-tasks")]), [""; 0]);
        assert_eq!(
            findings(&[
                edge("larder", "larder-tasks"),
                edge("larder-cli", "larder-sim"),
                ("new".into(), None)
            ]),
            [
                "larder must not depend on larder-tasks",
                "larder-cli must not depend on larder-sim",
                "new: not in the table of xtask/src/check/crates.rs",
            ]
        );
    }
}
