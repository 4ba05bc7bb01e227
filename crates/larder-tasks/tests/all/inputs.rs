//! Which files count as inputs.

use std::sync::Arc;

use larder::source::WatchedFiles;

use crate::lab::Lab;

#[test]
fn without_inputs_the_package_is_watched_where_outputs_are_declared_kept_or_not() {
    let touched = |task: &str| {
        let lab = Lab::of(&[("larder.toml", task), ("src", "1")]);
        let graph = lab.try_graph(&["a"], &[], false).unwrap();
        let watched = Arc::new(WatchedFiles::new(&lab.root(), 100));
        lab.with_tasks(&[], async |tasks| {
            let before = tasks.watch_inputs(&graph, &watched).await;
            lab.write("src", "2");
            tasks.watch_inputs(&graph, &watched).await.touched_since(&before).count()
        })
    };
    let task = "[tasks.a]\ncommand = 'cat src > a'\n";
    assert_eq!(touched(&format!("{task}outputs = ['a']\ncache = false\n")), 1);
    assert_eq!(touched(&format!("{task}outputs = ['a']\ncache = {{ mode = 'off' }}\n")), 1);
    assert_eq!(touched(&format!("{task}outputs = ['a']\ninputs = []\ncache = false\n")), 0);
    assert_eq!(touched(&format!("{task}cache = false\n")), 0);
    assert_eq!(touched(task), 0);
}
