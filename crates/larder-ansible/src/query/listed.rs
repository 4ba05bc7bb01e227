//! What is listed of a playbook.

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::Options;
use super::compile::Compile;
use super::document::problem;
use super::plays::PlayList;
use crate::listing::ListedPlay;
use crate::problem::Problem;

/// A play as it is listed, so that listing what is kept reads little.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ListPlay {
    compile: Compile,
}

impl Query for ListPlay {
    type Output = ListedPlay;
    type Error = Problem;
    const KIND: &'static str = "ansible.listing.play";
    const VERSION: u32 = 2;

    async fn compute(&self, cx: &Context) -> Result<ListedPlay, Problem> {
        let play = cx.get(self.compile.clone()).await.map_err(problem)?;
        Ok(ListedPlay::of(&play))
    }
}

/// The plays of a playbook as they are listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) path: String,
    pub(crate) options: Options,
}

impl Query for Listing {
    type Output = Vec<ListedPlay>;
    type Error = Problem;
    const KIND: &'static str = "ansible.listing";
    const VERSION: u32 = 2;

    async fn compute(&self, cx: &Context) -> Result<Vec<ListedPlay>, Problem> {
        let Self { path, options } = self;
        let list =
            cx.get(PlayList { path: path.clone(), options: options.clone() }).await.map_err(problem)?;
        let compiles = list.iter().map(|play| Compile { play: play.clone(), options: options.clone() });
        let plays = cx.get_all(compiles.map(|compile| ListPlay { compile })).await.into_iter();
        plays.map(|play| Ok(play.map_err(problem)?.value.clone())).collect()
    }
}
