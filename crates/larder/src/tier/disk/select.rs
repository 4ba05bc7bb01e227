//! Turning a selector into a walk over the index.
//!
//! Invariant: the rows visited are those for which [`Selector::matches`] holds. The queries only narrow down.

use std::sync::Arc;

use hashbrown::HashMap;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::fault::Fault;
use super::put::tags;
use crate::clock::Timestamp;
use crate::key::{IdPattern, Key, KindName, Scope, Selector};

/// One selected entry, without its value.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) row: i64,
    pub(super) key: Key,
    pub(super) bytes: u64,
    pub(super) blob_bytes: u64,
    pub(super) created: Timestamp,
    pub(super) used: Timestamp,
    pub(super) uses: u64,
    pub(super) cost_nanos: u64,
}

const COLUMNS: &str = "e.id, e.kind, e.name, e.bytes, e.created, e.used, e.uses, e.cost, e.blob_bytes";

/// Calls `visit` with each entry that `selector` selects, in no stated order.
pub(super) fn visit(
    connection: &Connection,
    selector: &Selector,
    mut visit: impl FnMut(Selected) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let kinds = kinds(connection, selector)?;
    if let Some(tag) = selector.tag() {
        let sql = format!("SELECT {COLUMNS} FROM tags t JOIN entries e ON e.id = t.entry WHERE t.tag = ?1");
        return walk(connection, &sql, vec![Value::Text(tag.to_owned())], &kinds, selector, &mut visit);
    }
    let range = Range::of(selector.id());
    if range == Range::ALL && selector.scope().is_none() && selector.kind().0.is_none() {
        let sql = format!("SELECT {COLUMNS} FROM entries e");
        return walk(connection, &sql, vec![], &kinds, selector, &mut visit);
    }
    for &kind in kinds.keys() {
        let mut values = vec![Value::Integer(kind), Value::Text(range.from.clone())];
        let condition = match &range.until {
            Until::Itself => "e.name = ?2",
            Until::Last => "e.name >= ?2",
            Until::Before(end) => {
                values.push(Value::Text(end.clone()));
                "e.name >= ?2 AND e.name < ?3"
            }
        };
        let sql = format!("SELECT {COLUMNS} FROM entries e WHERE e.kind = ?1 AND {condition}");
        walk(connection, &sql, values, &kinds, selector, &mut visit)?;
    }
    Ok(())
}

/// Kinds by row number.
pub(super) type Kinds = HashMap<i64, (Scope, KindName)>;

fn walk(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    kinds: &Kinds,
    selector: &Selector,
    visit: &mut impl FnMut(Selected) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let Some((scope, kind)) = kinds.get(&row.get::<_, i64>(1)?) else { continue };
        let selected = selected(row, scope, kind)?;
        if !selector.matches_key(&selected.key) {
            continue;
        }
        let tags: Vec<Arc<str>> =
            if selector.tag().is_some() { tags(connection, selected.row)? } else { vec![] };
        if selector.matches(&selected.key, &tags, Some(selected.used)) {
            visit(selected)?;
        }
    }
    Ok(())
}

fn selected(row: &Row<'_>, scope: &Scope, kind: &KindName) -> Result<Selected, Fault> {
    let number = |at| row.get::<_, i64>(at).map(|number| number as u64);
    let key = Key::new(scope, kind, row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?);
    Ok(Selected {
        row: row.get(0)?,
        key: key.map_err(|_| Fault::Damaged("name of an entry"))?,
        bytes: number(3)?,
        created: Timestamp::from_millis(number(4)?),
        used: Timestamp::from_millis(number(5)?),
        uses: number(6)?,
        cost_nanos: number(7)?,
        blob_bytes: number(8)?,
    })
}

/// The kinds that a selector may take, by row number.
pub(super) fn kinds(connection: &Connection, selector: &Selector) -> Result<Kinds, Fault> {
    let mut query = connection.prepare_cached("SELECT id, scope, name, version FROM kinds")?;
    let mut rows = query.query([])?;
    let mut kinds = Kinds::new();
    while let Some(row) = rows.next()? {
        let damaged = |_| Fault::Damaged("name of a kind");
        let scope = Scope::new(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?).map_err(damaged)?;
        let name = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let kind = KindName::new(name, row.get(3)?).map_err(damaged)?;
        let (named, version) = selector.kind();
        if selector.scope().is_none_or(|one| *one == scope)
            && named.is_none_or(|one| one == kind.name())
            && version.is_none_or(|one| one == kind.version())
        {
            kinds.insert(row.get(0)?, (scope, kind));
        }
    }
    Ok(kinds)
}

/// A range of ids, in the order of their bytes.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    from: String,
    until: Until,
}

#[derive(Debug, PartialEq, Eq)]
enum Until {
    Itself,
    Before(String),
    Last,
}

impl Range {
    const ALL: Self = Self { from: String::new(), until: Until::Last };

    /// A range that holds all ids which `pattern` takes.
    fn of(pattern: &IdPattern) -> Self {
        match pattern {
            IdPattern::Any => Self::ALL,
            IdPattern::Exact(id) => Self { from: id.to_string(), until: Until::Itself },
            IdPattern::Prefix(prefix) => Self::beginning(prefix),
            IdPattern::Glob(glob, _) => {
                Self::beginning(&glob[..glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len())])
            }
        }
    }

    fn beginning(prefix: &str) -> Self {
        let mut end = prefix.to_owned();
        while let Some(last) = end.pop() {
            if let Some(next) = (last..=char::MAX).nth(1) {
                end.push(next);
                return Self { from: prefix.to_owned(), until: Until::Before(end) };
            }
        }
        Self { from: prefix.to_owned(), until: Until::Last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_becomes_the_range_of_what_begins_so() {
        let check = |prefix: &str, end: Option<&str>| {
            let until = end.map_or(Until::Last, |end| Until::Before(end.to_owned()));
            assert_eq!(Range::beginning(prefix), Range { from: prefix.to_owned(), until });
        };
        check("", None);
        check("src/", Some("src0"));
        check("a\u{d7ff}", Some("a\u{e000}"));
        check("a\u{10ffff}", Some("b"));
        check("\u{10ffff}\u{10ffff}", None);
    }
}
