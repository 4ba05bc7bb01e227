//! What looking at the outside costs: what is unchanged is neither read nor listed.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use larder::engine::{Context, LookError, Query};
use larder::source::Counts;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, Sum, Value, take_ran};

/// Asks in a new session, and tells how many files were read and directories listed for it.
async fn cost_of(lab: &Lab, cell: &str, expected: i64) -> (usize, usize) {
    let session = lab.session();
    let value = session.get(Value { cell: cell.to_owned() }).await.unwrap();
    assert_eq!(*value, expected);
    let Counts { read, directories, .. } = session.counts();
    (read, directories)
}

#[tokio::test]
async fn a_file_that_is_unchanged_is_not_read_by_another_process_either() {
    let mut lab = Lab::settled();
    lab.set("a", "1").set("b", "a #");
    assert_eq!(
        cost_of(&lab, "b", 3).await,
        (2, 1),
        "each once, although looked at again after the computation"
    );
    assert_eq!(cost_of(&lab, "b", 3).await, (0, 0));
    lab.restart().await;
    assert_eq!(cost_of(&lab, "b", 3).await, (0, 0));
    lab.set("a", "2");
    assert_eq!(cost_of(&lab, "b", 4).await, (2, 1), "once to see that it changed, once for its content");
    // A new name, and so a new stamp.
    lab.set("c", "2");
    assert_eq!(cost_of(&lab, "b", 5).await, (0, 2), "once to see, once for the names");
    lab.restart().await;
    assert_eq!(cost_of(&lab, "b", 5).await, (0, 0));
}

#[tokio::test]
async fn what_changed_a_moment_ago_is_read_again() {
    let lab = Lab::new();
    lab.set("a", "1");
    assert_eq!(cost_of(&lab, "a", 1).await, (2, 0), "once more when the computation has ended");
    assert_eq!(cost_of(&lab, "a", 1).await, (1, 0));
}

#[tokio::test]
async fn after_a_step_of_the_clock_everything_is_read_again() {
    let mut lab = Lab::settled();
    lab.set("a", "1");
    cost_of(&lab, "a", 1).await;
    lab.restart().await;
    let now = SystemTime::now() + Duration::from_secs(600);
    lab.clock.step_wall(now.into());
    assert_eq!(cost_of(&lab, "a", 1).await, (1, 0));
    assert_eq!(cost_of(&lab, "a", 1).await, (0, 0));
}

#[tokio::test]
async fn no_way_of_changing_a_file_hides_from_its_stat_data() {
    let lab = Lab::settled();
    lab.set("a", "1").set("b", "2");
    assert_eq!(cost_of(&lab, "a", 1).await, (1, 0));
    let times = |cell: &str| {
        let metadata = lab.path(cell).metadata().unwrap();
        FileTimes::new().set_modified(metadata.modified().unwrap())
    };
    let set_times = |cell: &str, times| {
        File::options().write(true).open(lab.path(cell)).unwrap().set_times(times).unwrap()
    };
    let before = times("a");
    lab.set("a", "3");
    set_times("a", before);
    assert_eq!(cost_of(&lab, "a", 3).await, (2, 0), "same size, same time");
    set_times("b", times("a"));
    std::fs::rename(lab.path("b"), lab.path("a")).unwrap();
    assert_eq!(cost_of(&lab, "a", 2).await, (2, 0), "another file under its name");
    std::fs::set_permissions(lab.path("a"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(cost_of(&lab, "a", 2).await, (1, 0), "other permissions");
    lab.set("x", "4").set("y", "5");
    std::fs::remove_file(lab.path("a")).unwrap();
    symlink("x", lab.path("a")).unwrap();
    assert_eq!(cost_of(&lab, "a", 4).await, (2, 0));
    std::fs::remove_file(lab.path("a")).unwrap();
    symlink("y", lab.path("a")).unwrap();
    assert_eq!(cost_of(&lab, "a", 5).await, (2, 0), "a link that leads elsewhere");
    take_ran();
}

#[tokio::test]
async fn what_a_glob_has_looked_at_is_not_looked_at_again() {
    let mut lab = Lab::settled();
    for n in 0..300 {
        lab.set(&format!("deep/{}/c{n}", n % 7), "1");
    }
    let cost = async |lab: &Lab| {
        let session = lab.session();
        assert_eq!(*session.get(Sum { pattern: "**/c*".to_owned() }).await.unwrap(), 300);
        session.counts()
    };
    cost(&lab).await;
    lab.restart().await;
    take_ran();
    let Counts { directories, looked_at, read, .. } = cost(&lab).await;
    assert_eq!((directories, read, take_ran().len()), (0, 0, 0));
    assert!((300..310).contains(&looked_at), "each file and directory once: {looked_at}");
}

/// Reads and lists all that it is told, whatever is there.
#[derive(Serialize, Deserialize)]
struct All(Vec<String>);

impl Query for All {
    type Output = Vec<Option<usize>>;
    type Error = LookError;
    const KIND: &'static str = "all";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Vec<Option<usize>>, LookError> {
        let mut seen = Vec::new();
        for path in &self.0 {
            seen.push(match path.strip_prefix("list ") {
                Some(directory) => cx.list(directory).await?.map(|names| names.len()),
                None => cx.read(path).await?.map(|content| content.len()),
            });
        }
        Ok(seen)
    }
}

#[tokio::test]
async fn many_files_in_many_directories_are_looked_at_together_and_each_rightly() {
    let lab = Lab::settled();
    let queries = lab.queries.clone().with::<All>().unwrap();
    let mut paths = vec!["list ".to_owned(), "list none".to_owned(), "none/x".to_owned()];
    for n in 0..60 {
        let path = format!("d{}/e/{n}", n / 6);
        lab.set(&path, &"x".repeat(n));
        paths.extend([
            path,
            format!("list d{}/e", n / 6),
            format!("d{}/none", n / 6),
            format!("d{}/e/{n}/x", n / 6),
        ]);
    }
    let ask = async || {
        let session = queries.session(lab.outside.clone());
        let seen = session.get(All(paths.clone())).await.unwrap();
        (seen.answer.entry.value.clone(), session.counts(), seen.why)
    };
    let (first, ..) = ask().await;
    assert_eq!(first.iter().flatten().count(), 1 + 60 * 2);
    let (again, counts, _) = ask().await;
    assert_eq!((again, counts.read, counts.directories), (first, 0, 0));
    assert_eq!(counts.looked_at, 3 + 60 * 2 + 10 * 2, "each once");
    // A directory takes the place of a file, and a file that of a directory.
    std::fs::remove_file(lab.path("d3/e/20")).unwrap();
    lab.set("d3/e/20/x", "12345");
    std::fs::remove_dir_all(lab.path("d4")).unwrap();
    lab.set("d4", "");
    let error = queries.session(lab.outside.clone()).get(All(paths.clone())).await.unwrap_err();
    assert!(super::lab::words(&error).contains("d3/e/20"), "{}", super::lab::words(&error));
    std::fs::remove_dir_all(lab.path("d3/e/20")).unwrap();
    let (seen, counts, _) = ask().await;
    assert_eq!(seen.iter().flatten().count(), 1 + 60 * 2 - 1 - 12);
    assert_eq!((counts.read, counts.directories), (53, 10), "what is left, once, for the computation");
}
