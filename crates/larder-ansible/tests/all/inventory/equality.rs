//! What is kept equals what reading anew gives, after whatever edits.

use proptest::prelude::*;

use super::lab::Lab;

/// Files that an edit writes or removes, and what they may have in them.
const FILES: &[(&str, &[&str])] = &[
    (
        "inv/a",
        &[
            "[web]\nw1 x=1\nw2\n",
            "[web]\nw1 x=2\n[db]\nd1\n",
            "w1\n# nothing else\n",
            "[web:children]\nnone\n",
        ],
    ),
    (
        "inv/b.yml",
        &["web: {hosts: {w3: {y: 1}}, vars: {z: 1}}\n", "db: {children: {web: }}\n", "all: {hosts: d1}\n"],
    ),
    ("inv/sub/c", &["[prod:children]\nweb\n[web]\n", "[web]\nw1\n[web:vars]\nansible_group_priority=5\n"]),
    ("inv/notes.md", &["ignored", "[broken"]),
    ("inv/group_vars/web.yml", &["g: 1\n", "g: 2\nx: group\n", "[1]\n"]),
    ("inv/group_vars/all/one.yml", &["one: 1\n", ""]),
    ("inv/group_vars/all/two.yml", &["one: 2\n", "$ANSIBLE_VAULT;1.1;AES256\n6162\n"]),
    ("inv/host_vars/w1", &["h: 1\n", "h: {deep: [1, 2]}\n"]),
    ("group_vars/db.yaml", &["p: 1\n", "p: 2\n"]),
    ("host_vars/w1.json", &["{\"p\": 1e3}", "{}"]),
];

/// Which file, and which of its contents; none removes it.
fn edit() -> impl Strategy<Value = (usize, Option<usize>)> {
    (0..FILES.len())
        .prop_flat_map(|file| (Just(file), proptest::option::weighted(0.8, 0..FILES[file].1.len())))
}

fn listed(lab: &Lab) -> String {
    match lab.list(&["inv", "extra,"], Some(""), None) {
        Ok(text) => text,
        Err(error) => format!("{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_inventory_lists_after_any_edits_as_if_nothing_had_been_kept(
        rounds in proptest::collection::vec(proptest::collection::vec(edit(), 1..4), 1..12),
    ) {
        let lab = Lab::new();
        lab.write("inv/a", FILES[0].1[0]);
        for edits in rounds {
            for (file, content) in edits {
                let (path, contents) = FILES[file];
                match content {
                    Some(content) => {
                        lab.write(path, contents[content]);
                    }
                    None => drop(std::fs::remove_file(lab.root.join(path))),
                }
            }
            prop_assert_eq!(listed(&lab), listed(&Lab::at(&lab.root)));
        }
    }
}
