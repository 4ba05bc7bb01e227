//! Graphs that are wide and deep: how many queries wait at once.

use std::cell::Cell;
use std::convert::Infallible;

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::lab::Lab;

thread_local! {
    /// How many computations have begun and not ended, and how many there were at once at most. It says something where
    /// all run on one thread.
    static UNDER_WAY: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// A node of a tree, which asks for all below it together, or one after the other.
#[derive(Serialize, Deserialize)]
struct Tree {
    way: Vec<u8>,
    fan: u8,
    depth: usize,
}

impl Query for Tree {
    type Output = u64;
    type Error = Infallible;
    const KIND: &'static str = "tree";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Infallible> {
        let (now, most) = UNDER_WAY.get();
        UNDER_WAY.set((now.wrapping_add(1), most.max(now.wrapping_add(1))));
        // One that a program made might be read from just now.
        tokio::task::yield_now().await;
        // All are above one variable, so that a change of that touches all.
        let mut sum = 1 + cx.env("V").map_or(0, |value| value.len() as u64);
        if self.way.len() < self.depth {
            let below = (0..self.fan).map(|n| {
                let way = self.way.iter().copied().chain([n]).collect();
                Self { way, fan: self.fan, depth: self.depth }
            });
            sum += cx.get_all(below).await.into_iter().map(|node| node.unwrap().value).sum::<u64>();
        }
        let (now, most) = UNDER_WAY.get();
        UNDER_WAY.set((now.wrapping_sub(1), most));
        Ok(sum)
    }
}

#[tokio::test]
async fn however_wide_a_graph_is_no_more_wait_than_it_is_deep_times_a_constant() {
    let lab = Lab::new();
    let queries = lab.queries.clone().with::<Tree>().unwrap();
    for (fan, depth) in [(8, 3), (30, 2), (1, 200)] {
        let nodes = (0..=depth).map(|level| u64::from(fan).pow(level as u32)).sum::<u64>();
        let tree = || Tree { way: Vec::new(), fan, depth };
        UNDER_WAY.set((0, 0));
        let session = queries.session(lab.outside.clone());
        assert_eq!(*session.get(tree()).await.unwrap(), nodes);
        let (left, most) = UNDER_WAY.get();
        assert_eq!(left, 0);
        // 64 beside the first, each with all above it at worst.
        assert!(most <= 65 * (depth + 1) && most > depth, "{most} of {nodes}");
        // When each is verified, and computed anew, as few wait.
        let mut changed = lab.outside.clone();
        changed.environment.insert("V".into(), "x".into());
        UNDER_WAY.set((0, 0));
        assert_eq!(*queries.session(changed).get(tree()).await.unwrap(), 2 * nodes);
        let (left, most) = UNDER_WAY.get();
        assert!(left == 0 && most <= 65 * (depth + 1), "{most} of {nodes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn several_sessions_over_one_wide_graph_all_come_to_an_end() {
    let lab = Lab::new();
    let queries = lab.queries.clone().with::<Tree>().unwrap();
    let sessions = (0..6).map(|_| {
        let session = queries.session(lab.outside.clone());
        tokio::spawn(async move { *session.get(Tree { way: Vec::new(), fan: 8, depth: 3 }).await.unwrap() })
    });
    for session in sessions.collect::<Vec<_>>() {
        assert_eq!(session.await.unwrap(), 1 + 8 + 64 + 512);
    }
}
