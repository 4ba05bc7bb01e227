//! The program in `examples/words`, as `docs/queries.md` goes through it.

use std::fs;

use expect_test::expect;
use larder::engine::{Outside, Watch};

#[path = "../../../../../examples/words/main.rs"]
mod words;

#[tokio::test]
async fn the_example_counts_what_changed_and_a_change_of_spaces_goes_no_further() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    file("one.md", "a rose is a rose\n");
    file("two.md", "is a rose\n");
    // Each run is a process of its own, as far as the engine can tell.
    let run = async || {
        let (opened, queries) = words::open(cache.path()).unwrap();
        let (told, _) = words::count(&queries, &Outside::new(root.path())).await.unwrap();
        opened.close().await;
        told
    };
    expect![[r#"
        words.all "**/*.md": computed: nothing was kept (on 1 glob)
          words.file "one.md": computed: nothing was kept (on 1 file)
          words.file "two.md": computed: nothing was kept (on 1 file)
        a 3, rose 3, is 2
    "#]]
    .assert_eq(&run().await);
    expect![[r#"
        words.all "**/*.md": as before (on 1 glob, 2 queries)
        a 3, rose 3, is 2
    "#]]
    .assert_eq(&run().await);
    file("two.md", "is   a\n\nrose");
    expect![[r#"
        words.all "**/*.md": as before (on 1 glob, 1 query)
          words.file "two.md": computed: file two.md has other content (dc09979e5db3, was 1988837ccaf1) (on 1 file)
        a 3, rose 3, is 2
    "#]]
    .assert_eq(&run().await);
    file("two.md", "is a rose a rose");
    expect![[r#"
        words.all "**/*.md": computed: words.file "two.md" has another answer (on 1 glob, 1 query)
          words.file "two.md": computed: file two.md has other content (bbc51a97d37c, was dc09979e5db3); for an older answer, file two.md has other content (bbc51a97d37c, was 1988837ccaf1) (on 1 file)
        a 4, rose 4, is 2
    "#]]
    .assert_eq(&run().await);
}

#[tokio::test]
async fn the_example_looks_at_nothing_again_while_it_stays_and_nothing_happens() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
    file("one.md", "a rose is a rose\n");
    file("two.md", "is a rose\n");
    let (_opened, queries) = words::open(cache.path()).unwrap();
    let outside = Outside::new(root.path()).watched(&Watch::new());
    let count = async || words::count(&queries, &outside).await.unwrap();
    for _ in 0..3 {
        assert!(count().await.0.ends_with("a 3, rose 3, is 2\n"));
    }
    let (_, counts) = count().await;
    assert_eq!((counts.looked_at, counts.read, counts.carried), (0, 0, 3));
    file("two.md", "is a rose a rose");
    let (told, counts) = count().await;
    assert!(told.ends_with("a 4, rose 4, is 2\n"), "{told}");
    assert_eq!((counts.read, counts.carried), (2, 2), "to see that it changed, and for its words");
}
