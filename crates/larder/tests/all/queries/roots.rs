//! Directories with a name, beside the main root.

use std::os::unix::fs::symlink;

use larder::engine::{Context, LookError, Outside, Query};
use larder::query::RootPath;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, ran, take_ran, words};

/// What there is to see by a path: as a file, as a directory, and by a pattern.
#[derive(Serialize, Deserialize)]
struct There(String);

impl Query for There {
    type Output = String;
    type Error = LookError;
    const KIND: &'static str = "there";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<String, LookError> {
        ran(format!("there({})", self.0));
        let listed = cx.list(&self.0).await?.map(|names| names.len());
        let mut seen = format!("{listed:?}");
        for path in cx.glob([format!("{}/**/*.yml", self.0), format!("!{}/**/no.yml", self.0)]).await?.iter()
        {
            // What a glob finds can be read as it is spelled.
            let content = cx.read(path).await?.expect("the glob found it");
            seen += &format!(" {path}={}", String::from_utf8_lossy(&content));
        }
        Ok(seen)
    }
}

async fn ask(lab: &Lab, outside: &Outside, path: &str) -> String {
    let session = lab.queries.clone().with::<There>().unwrap().session(outside.clone());
    let outcome = match session.get(There(path.to_owned())).await {
        Ok(seen) => seen.answer.entry.value.clone(),
        Err(error) => words(&error),
    };
    format!("{outcome}; ran {}", take_ran().join(" "))
}

#[tokio::test]
async fn what_is_below_a_named_root_is_read_listed_and_globbed_and_shared_wherever_the_root_is() {
    let mut lab = Lab::settled();
    for place in ["main", "roles", "elsewhere"] {
        lab.set(&format!("{place}/a/x.yml"), "1").set(&format!("{place}/a/no.yml"), "2");
    }
    let outside = |roles: &str| Outside::new(lab.path("main")).with_root("roles", lab.path(roles)).unwrap();
    let (here, there) = (outside("roles"), outside("elsewhere"));
    assert_eq!(ask(&lab, &here, "/@roles/a").await, "Some(2) /@roles/a/x.yml=1; ran there(/@roles/a)");
    assert_eq!(ask(&lab, &here, "a").await, "Some(2) a/x.yml=1; ran there(a)");
    assert_eq!(ask(&lab, &there, "/@roles/a").await, "Some(2) /@roles/a/x.yml=1; ran ");
    lab.set("main/a/x.yml", "3");
    assert_eq!(ask(&lab, &here, "/@roles/a").await, "Some(2) /@roles/a/x.yml=1; ran ");
    lab.set("roles/a/x.yml", "4").set("roles/a/deep/z.yml", "5");
    let now = "Some(3) /@roles/a/deep/z.yml=5 /@roles/a/x.yml=4; ran ";
    assert_eq!(ask(&lab, &here, "/@roles/a").await, format!("{now}there(/@roles/a)"));
    assert_eq!(ask(&lab, &there, "/@roles/a").await, "Some(2) /@roles/a/x.yml=1; ran ");
    let here = here.clone();
    lab.restart().await;
    assert_eq!(ask(&lab, &here, "/@roles/a").await, now);
}

#[tokio::test]
async fn nothing_below_the_main_root_passes_for_something_below_another() {
    let lab = Lab::new();
    lab.set("main/@roles/x.yml", "main").set("roles/x.yml", "roles");
    let outside = Outside::new(lab.path("main")).with_root("roles", lab.path("roles")).unwrap();
    assert_eq!(ask(&lab, &outside, "@roles").await, "Some(1) @roles/x.yml=main; ran there(@roles)");
    assert_eq!(ask(&lab, &outside, "/@roles").await, "Some(1) /@roles/x.yml=roles; ran there(/@roles)");
    let of = |path| RootPath::new(path).unwrap();
    assert_ne!(of("@roles/x"), of("/@roles/x"));
}

#[tokio::test]
async fn a_root_that_is_not_known_is_an_error_and_an_answer_from_it_does_not_hold_without_it() {
    let lab = Lab::new();
    lab.set("roles/x.yml", "1");
    let without = Outside::new(lab.path("main"));
    let with = without.clone().with_root("roles", lab.path("roles")).unwrap();
    assert_eq!(ask(&lab, &with, "/@roles").await, "Some(1) /@roles/x.yml=1; ran there(/@roles)");
    let error = "computation failed: root roles is not known; ran there(/@roles)";
    assert_eq!(ask(&lab, &without, "/@roles").await, error);
    assert_eq!(ask(&lab, &with, "/@roles").await, "Some(1) /@roles/x.yml=1; ran ");
    for path in ["/@roles/../main", "/etc", "/@", "/@Ro les/x"] {
        let error = ask(&lab, &with, path).await;
        assert!(
            error.contains("must be relative to the root or begin with `/@` and a root's name"),
            "{error}"
        );
    }
    assert_eq!(
        Outside::new("/").with_root("a/b", "/").unwrap_err().to_string(),
        "root name \"a/b\" must be 1 to 64 of `a-z A-Z 0-9 . _ -`, and not begin with a dot"
    );
}

/// Links are followed wherever they lead, and count by what is found there.
#[tokio::test]
async fn a_link_out_of_a_root_is_followed_and_a_change_behind_it_shows() {
    let lab = Lab::new();
    lab.set("outside/x.yml", "1").set("main/keep", "");
    symlink(lab.path("outside"), lab.path("main/link")).unwrap();
    let outside = Outside::new(lab.path("main"));
    assert_eq!(ask(&lab, &outside, "link").await, "Some(1) link/x.yml=1; ran there(link)");
    lab.set("outside/x.yml", "2");
    assert_eq!(ask(&lab, &outside, "link").await, "Some(1) link/x.yml=2; ran there(link)");
    lab.set("other/x.yml", "2");
    std::fs::remove_file(lab.path("main/link")).unwrap();
    symlink(lab.path("other"), lab.path("main/link")).unwrap();
    assert_eq!(ask(&lab, &outside, "link").await, "Some(1) link/x.yml=2; ran ", "the same is found there");
}

/// Mixes two roots in one glob.
#[derive(Serialize, Deserialize)]
struct Mixed;

impl Query for Mixed {
    type Output = ();
    type Error = LookError;
    const KIND: &'static str = "mixed";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<(), LookError> {
        cx.glob(["*.yml", "/@roles/*.yml"]).await.map(drop)
    }
}

#[tokio::test]
async fn a_glob_below_two_roots_is_refused() {
    let lab = Lab::new();
    let outside = lab.outside.clone().with_root("roles", lab.path("")).unwrap();
    let session = lab.queries.clone().with::<Mixed>().unwrap().session(outside);
    let error = words(&session.get(Mixed).await.unwrap_err());
    assert_eq!(error, "computation failed: patterns of one glob must be below one root");
}
