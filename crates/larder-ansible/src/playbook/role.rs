//! What a role says of itself in `meta/main.yml` and `meta/argument_specs.yml`.
//!
//! Not here: where roles are and what is in them (`query`).

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use super::play::{RoleReference, roles};
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};

/// `meta/main.yml`, as far as planning needs it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RoleMeta {
    /// Roles that come before it.
    pub dependencies: Vec<RoleReference>,
    /// Whether it runs again where it has run with the same parameters.
    pub allow_duplicates: bool,
    /// Collections in which its short names are looked for.
    pub collections: Vec<String>,
    /// Specifications of its arguments, by entry point.
    pub argument_specs: Mapping,
}

impl RoleMeta {
    /// Reads it.
    pub(crate) fn read(document: &Plain) -> Result<Self, Fault> {
        let way = Way::ROOT;
        if document.is_null() {
            return Ok(Self::default());
        }
        let fields = Fields::new(document, &way, "role's metadata")?;
        let own: &[&str] =
            &["allow_duplicates", "collections", "dependencies", "galaxy_info", "argument_specs"];
        fields.check_keys(&[own])?;
        Ok(Self {
            dependencies: roles(fields.list("dependencies")?, &way.key("dependencies"))?,
            allow_duplicates: fields.get("allow_duplicates").and_then(Plain::truth).unwrap_or(false),
            collections: fields.texts("collections")?,
            argument_specs: fields.get("argument_specs").and_then(Plain::as_map).cloned().unwrap_or_default(),
        })
    }
}
