//! What of the outside is noticed, and what of it is stored.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use expect_test::expect;
use larder::engine::{Context, LookError, Query};
use serde::{Deserialize, Serialize};

use super::lab::{Lab, ran, take_ran};

#[tokio::test]
async fn an_environment_variable_that_was_looked_at_counts_and_no_other() {
    let mut lab = Lab::new();
    lab.set("a", "$X 1");
    lab.check("a", expect!["1; ran parse(a) value(a)"]).await;
    lab.export("Y", "5");
    lab.check("a", expect!["1; ran nothing"]).await;
    lab.export("X", "5");
    lab.check("a", expect!["6; ran value(a)"]).await;
    lab.export("X", "");
    lab.check("a", expect!["1; ran value(a)"]).await;
    lab.outside.environment.clear();
    lab.check("a", expect!["1; ran nothing"]).await;
}

#[tokio::test]
async fn a_listing_counts_by_its_names() {
    let lab = Lab::new();
    lab.set("a", "#").set("b", "1");
    lab.check("a", expect!["2; ran parse(a) value(a)"]).await;
    lab.set("b", "2");
    lab.check("a", expect!["2; ran nothing"]).await;
    lab.set("c", "1");
    lab.check("a", expect!["3; ran value(a)"]).await;
    lab.remove("c");
    lab.check("a", expect!["2; ran nothing"]).await;
    std::fs::rename(lab.path("b"), lab.path("z")).unwrap();
    lab.check("a", expect!["2; ran value(a)"]).await;
}

#[tokio::test]
async fn a_glob_counts_by_the_paths_that_it_selects() {
    let lab = Lab::new();
    lab.set("a.n", "1").set("deep/b.n", "2").set("c.txt", "40");
    lab.check_sum("**/*.n", expect!["3; ran parse(a.n) parse(deep/b.n) sum value(a.n) value(deep/b.n)"])
        .await;
    lab.set("d.txt", "40").set("c.txt", "50");
    lab.check_sum("**/*.n", expect!["3; ran nothing"]).await;
    lab.set("deep/e.n", "4");
    lab.check_sum("**/*.n", expect!["7; ran parse(deep/e.n) sum value(deep/e.n)"]).await;
    lab.remove("deep/b.n");
    lab.check_sum("**/*.n", expect!["5; ran sum"]).await;
}

#[tokio::test]
async fn a_file_that_appears_or_vanishes_counts() {
    let lab = Lab::new();
    lab.set("a", "b 1");
    lab.check("a", expect!["1; ran parse(a) parse(b) value(a) value(b)"]).await;
    lab.set("b", "5");
    lab.check("a", expect!["6; ran parse(b) value(a) value(b)"]).await;
    lab.remove("b");
    lab.check("a", expect!["1; ran nothing"]).await;
    // What a link leads to is what is read.
    lab.set("c", "5");
    symlink("c", lab.path("b")).unwrap();
    lab.check("a", expect!["6; ran nothing"]).await;
}

/// What all ways of looking see of one name.
#[derive(Serialize, Deserialize)]
struct Look {
    name: String,
}

impl Query for Look {
    type Output = BTreeMap<String, String>;
    type Error = LookError;
    const KIND: &'static str = "look";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<BTreeMap<String, String>, LookError> {
        ran("look".to_owned());
        let mut seen = BTreeMap::new();
        let mut see = |how: &str, what: String| seen.insert(how.to_owned(), what);
        see("read", format!("{:?}", cx.read(&self.name).await?.map(|content| content.len())));
        see("list", format!("{:?}", cx.list(format!("{}.d", self.name)).await?));
        let digest = cx.tool(&self.name).await?.map(|tool| tool.digest.to_string()[..8].to_owned());
        see("tool", format!("{digest:?}"));
        Ok(seen)
    }
}

async fn look(lab: &Lab, name: &str) -> (Vec<String>, bool) {
    let queries = lab.queries.clone().with::<Look>().unwrap();
    let session = queries.session(lab.outside.clone());
    let seen = session.get(Look { name: name.to_owned() }).await.unwrap();
    let seen = seen.iter().map(|(how, what)| format!("{how}: {what}")).collect();
    (seen, !take_ran().is_empty())
}

#[tokio::test]
async fn what_is_there_is_seen_by_each_way_of_looking() {
    let mut lab = Lab::new();
    assert_eq!(
        look(&lab, "it").await,
        (vec!["list: None".into(), "read: None".into(), "tool: None".into()], true)
    );
    lab.set("it.d/b", "").set("it", "12").set("bin/it", "#!/bin/sh\n");
    std::fs::create_dir(lab.path("it.d/a")).unwrap();
    symlink("nowhere", lab.path("it.d/c")).unwrap();
    lab.export("PATH", "missing:bin");
    let (seen, _) = look(&lab, "it").await;
    expect![[r#"
        [
            "list: Some([Listed { name: \"a\", kind: Directory }, Listed { name: \"b\", kind: File }, Listed { name: \"c\", kind: Link }])",
            "read: Some(2)",
            "tool: None",
        ]
    "#]].assert_debug_eq(&seen);
    // A tool is what may be executed, and counts by its content.
    std::fs::set_permissions(lab.path("bin/it"), PermissionsExt::from_mode(0o755)).unwrap();
    let (seen, ran) = look(&lab, "it").await;
    assert!(ran && seen[2].starts_with("tool: Some("), "{seen:?}");
    lab.set("other/it", "#!/bin/sh\n");
    std::fs::set_permissions(lab.path("other/it"), PermissionsExt::from_mode(0o755)).unwrap();
    lab.export("PATH", "other");
    assert_eq!(look(&lab, "it").await, (seen.clone(), false), "the same tool elsewhere");
    lab.set("other/it", "#!/bin/sh\n:");
    assert!(look(&lab, "it").await.1);
}

#[tokio::test]
async fn clones_share_answers_and_neither_paths_nor_variables_are_stored() {
    let mut lab = Lab::new();
    let secret = "hunter2-do-not-store";
    lab.export("X", secret);
    lab.set("here/a", "1").set("here/b", "$X a");
    lab.set("there/a", "1").set("there/b", "$X a");
    let root = lab.outside.root.clone();
    lab.outside.root = root.join("here");
    lab.check("b", expect!["1; ran parse(a) parse(b) value(a) value(b)"]).await;
    lab.outside.root = root.join("there");
    lab.check("b", expect!["1; ran nothing"]).await;
    lab.close().await;
    let mut files = 0;
    for_each_file(lab.cache.path(), &mut |bytes| {
        files += 1;
        for text in [secret, root.to_str().unwrap()] {
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text} is stored");
        }
    });
    assert!(files > 0);
}

fn for_each_file(directory: &Path, look: &mut dyn FnMut(&[u8])) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { for_each_file(&path, look) } else { look(&std::fs::read(path).unwrap()) }
    }
}
