//! Variables in layers, of which later ones win.
//!
//! Not here: evaluating what stands in them.

use std::sync::Arc;

use crate::plain::{Mapping, Plain};

/// How much a layer weighs against others: later ones win. What is said in one layer twice, the last wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Defaults of roles.
    Defaults,
    /// Variables of the play and its files.
    Play,
    /// Variables of roles.
    Role,
    /// Variables of what a task stands in, and its own.
    Task,
    /// From the command line.
    Extra,
    /// What Ansible sets itself.
    Magic,
}

/// Variables in layers. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    /// Sorted by rank.
    layers: Vec<(Rank, Arc<Mapping>)>,
}

impl Variables {
    /// Adds a layer above those of its rank.
    pub(crate) fn add(&mut self, rank: Rank, layer: Arc<Mapping>) {
        if !layer.is_empty() {
            let at = self.layers.partition_point(|(known, _)| *known <= rank);
            self.layers.insert(at, (rank, layer));
        }
    }

    /// The same with a layer more.
    pub(crate) fn with(&self, rank: Rank, layer: &Mapping) -> Self {
        let mut variables = self.clone();
        if !layer.is_empty() {
            variables.add(rank, Arc::new(layer.clone()));
        }
        variables
    }

    /// A variable as it was written.
    pub(crate) fn get(&self, name: &str) -> Option<&Plain> {
        self.layers.iter().rev().find_map(|(_, layer)| layer.get(name))
    }
}
