//! Settings of a cache, from layers.
//!
//! Later layers win: defaults, the profile, the user's file, the project's file, `LARDER_…` variables, flags.
//! A file's settings stand in its table `[cache]`. Each value keeps its origin, and whatever is wrong in any
//! layer, also in a value that a later layer overrides, is refused with the place where it stands.
//!
//! The phases: [`Layers`] collects assignments, reading files with `file` and `schema`; `resolve` puts them over
//! one another and looks for contradictions; the result is a [`Config`].
//!
//! Invariant: nothing here touches the machine, except [`Machine::probe`] and [`processors`]. Files,
//! variables and directories come in as parameters.
//! Not here: the tables of a project file that describe tasks, and how an error is shown to people.

mod error;
mod file;
mod layers;
mod machine;
mod resolve;
mod schema;
mod settings;
mod size;
mod text;

pub use error::{ConfigError, Excerpt, Fault, Problem};
pub use layers::{Layer, Layers, Origin, Places};
pub use machine::{Machine, processors};
pub use resolve::{Config, Row};
pub use schema::{SETTINGS, Setting};
pub use settings::{
    DiskSettings, KindSettings, MemorySettings, Mode, Profile, ScopeSettings, Secret, Settings,
    SharedSettings, StatsSettings,
};
pub use size::{Amount, ByteSize};
pub use text::{duration_text, parse_duration};
