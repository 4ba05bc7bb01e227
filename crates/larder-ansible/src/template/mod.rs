//! Templates where planning needs a constant: `hosts: "{{ web }}"`, `import_tasks: "{{ os }}.yml"`.
//!
//! Evaluates Jinja over the variables that are known before anything runs. What depends on a host, a fact or a
//! lookup is an error that names it, as it is for Ansible.
//! Invariant: an evaluation ends: it has fuel, and a variable that needs itself is found out.
//! Not here: where variables come from (`query`); templates that are only evaluated when a task runs.

mod filters;
mod variables;

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use parking_lot::Mutex;

pub(crate) use variables::{Rank, Variables};

use crate::plain::Plain;

/// How many steps one evaluation may take.
const FUEL: u64 = 1_000_000;
/// How many variables may stand for each other in a row.
const DEPTH_LIMIT: usize = 40;

/// Why a template has no value before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("`{0}` is not defined before the play runs")]
    Undefined(String),
    #[error("`{0}` is encrypted")]
    Encrypted(String),
    #[error("`{0}` is defined by itself")]
    Recursive(String),
    #[error("the template can't be evaluated: {0}")]
    Failed(String),
}

/// Whether a text has a template in it.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The value of a text: itself, or what its templates give. A text that is one expression keeps its type.
pub(crate) fn evaluate(text: &str, variables: &Variables) -> Result<Plain, Unknown> {
    if !is_template(text) {
        return Ok(Plain::text(text));
    }
    let scope = Arc::new(Scope { variables: variables.clone(), state: Mutex::default() });
    let outcome = scope.evaluate(text);
    let state = scope.state.lock();
    match outcome {
        Ok(value) => match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => plain(&value, &state),
        },
        Err(error) => Err(state.explain(&error)),
    }
}

/// The text that a text with templates gives.
pub(crate) fn text(text: &str, variables: &Variables) -> Result<String, Unknown> {
    evaluate(text, variables).map(|value| value.shown())
}

/// Whether a condition holds; `None` if that depends on what is not known.
pub(crate) fn condition(text: &str, variables: &Variables) -> Option<bool> {
    match evaluate(&format!("{{{{ {text} }}}}"), variables) {
        Ok(Plain::Bool(truth)) => Some(truth),
        _ => None,
    }
}

/// Names that a text's templates use and do not set themselves; `None` if they can't be read.
pub(crate) fn names(text: &str) -> Option<BTreeSet<String>> {
    let environment = environment();
    let template = environment.template_from_str(text).ok()?;
    Some(template.undeclared_variables(false).into_iter().collect())
}

/// Variables as a template sees them: evaluated when they are asked for.
#[derive(Debug)]
struct Scope {
    variables: Variables,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Variables that are being evaluated, outermost first.
    active: Vec<String>,
    /// The variable that was asked for last and is not there.
    missing: Option<String>,
    /// What went wrong within a variable.
    failure: Option<Unknown>,
}

impl State {
    fn undefined(&self) -> Unknown {
        match &self.missing {
            Some(missing) => Unknown::Undefined(missing.clone()),
            None => Unknown::Failed("it has no value".to_owned()),
        }
    }

    fn explain(&self, error: &minijinja::Error) -> Unknown {
        match (&self.failure, &self.missing) {
            (Some(failure), _) => failure.clone(),
            (None, Some(missing)) if error.kind() == ErrorKind::UndefinedError => {
                Unknown::Undefined(missing.clone())
            }
            _ => {
                let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
                Unknown::Failed(format!("{}{detail}", error.kind()))
            }
        }
    }
}

impl Scope {
    fn evaluate(self: &Arc<Self>, text: &str) -> Result<Value, minijinja::Error> {
        let environment = environment();
        let context = Value::from_dyn_object(Arc::clone(self));
        match whole_expression(text) {
            Some(expression) => environment.compile_expression(expression)?.eval(context),
            None => environment.template_from_str(text)?.render(context).map(Value::from),
        }
    }

    /// A variable's value with the templates in it evaluated.
    fn variable(self: &Arc<Self>, name: &str) -> Option<Value> {
        let Some(value) = self.variables.get(name) else {
            self.state.lock().missing = Some(name.to_owned());
            return None;
        };
        let mut state = self.state.lock();
        if state.active.len() >= DEPTH_LIMIT || state.active.iter().any(|active| active == name) {
            state.failure.get_or_insert(Unknown::Recursive(name.to_owned()));
            return None;
        }
        state.active.push(name.to_owned());
        drop(state);
        let value = self.value(name, value);
        self.state.lock().active.pop();
        value
    }

    fn value(self: &Arc<Self>, name: &str, value: &Plain) -> Option<Value> {
        match value {
            Plain::String(text) if is_template(text) => match self.evaluate(text) {
                Ok(value) if value.is_undefined() => {
                    let mut state = self.state.lock();
                    let failure = state.undefined();
                    state.failure.get_or_insert(failure);
                    None
                }
                Ok(value) => Some(value),
                Err(error) => {
                    let mut state = self.state.lock();
                    let failure = state.explain(&error);
                    state.failure.get_or_insert(failure);
                    None
                }
            },
            Plain::List(items) => items
                .iter()
                .map(|item| self.value(name, item))
                .collect::<Option<Vec<Value>>>()
                .map(Value::from),
            Plain::Map(entries) => {
                let entry = |(key, value): (&str, &Plain)| Some((key.to_owned(), self.value(name, value)?));
                entries.iter().map(entry).collect::<Option<Vec<_>>>().map(Value::from_pairs)
            }
            Plain::Vault(_) => {
                self.state.lock().failure.get_or_insert(Unknown::Encrypted(name.to_owned()));
                None
            }
            Plain::Null => Some(Value::from(())),
            Plain::Bool(truth) => Some(Value::from(*truth)),
            Plain::Integer(number) => Some(Value::from(*number)),
            Plain::Float(number) => Some(Value::from(*number)),
            Plain::String(text) => Some(Value::from(&**text)),
        }
    }
}

impl Object for Scope {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.variable(key.as_str()?)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    filters::add(&mut environment);
    environment
}

/// The expression of a text that is one and nothing else.
fn whole_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let is_one = !["{{", "}}", "{%", "{#"].iter().any(|mark| inner.contains(mark));
    is_one.then(|| inner.trim_start_matches('-').trim_end_matches('-').trim())
}

/// A template's value as a document would say it.
fn plain(value: &Value, state: &State) -> Result<Plain, Unknown> {
    if value.is_undefined() {
        return Err(state.undefined());
    }
    let failed = |error: String| Unknown::Failed(error);
    let json = serde_json::to_value(value).map_err(|error| failed(error.to_string()))?;
    Plain::of_json(json).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &str, template: &str, expected: &str) {
        let document = &crate::yaml::parse("f", variables.as_bytes()).unwrap()[0];
        let Plain::Map(map) = Plain::from(document) else { panic!("variables are a mapping") };
        let mut variables = Variables::default();
        variables.add(Rank::Play, Arc::new(map));
        let shown = match evaluate(template, &variables) {
            Ok(value) => serde_json::to_string(&value).unwrap(),
            Err(unknown) => unknown.to_string(),
        };
        assert_eq!(shown, expected, "of {template}");
    }

    #[test]
    fn one_expression_keeps_its_type_and_text_around_it_makes_text() {
        check("n: 3", "{{ n }}", "3");
        check("n: 3", "{{ n }}0%", "\"30%\"");
        check("l: [a, b]", "{{ l }}", r#"["a","b"]"#);
        check("d: {k: [x]}", "{{ d.k[0] }}", "\"x\"");
        check("x: 1", "no template", "\"no template\"");
        check("os: Debian", "{{ os | lower }}.yml", "\"debian.yml\"");
        check("x: 1", "{{ y | default('z') }}", "\"z\"");
        check("p: a/b.yml", "{{ p | basename }}", "\"b.yml\"");
        check("f: 'no'", "{{ f | bool }}", "false");
    }

    #[test]
    fn variables_may_stand_for_each_other_and_not_for_themselves() {
        check("{a: '{{ b }}-a', b: '{{ c }}', c: x}", "{{ a }}", "\"x-a\"");
        check("{a: '{{ b }}', b: '{{ a }}'}", "{{ a }}", "`a` is defined by itself");
        check("{a: '{{ a }}'}", "x{{ a }}", "`a` is defined by itself");
    }

    #[test]
    fn what_is_not_known_is_named() {
        check("x: 1", "{{ y }}", "`y` is not defined before the play runs");
        check("{a: '{{ z }}'}", "{{ a }}", "`z` is not defined before the play runs");
        check("{s: !vault x}", "{{ s }}", "`s` is encrypted");
        check(
            "x: 1",
            "{{ lookup('env', 'HOME') }}",
            "the template can't be evaluated: unknown function: lookup is unknown",
        );
        check(
            "x: 1",
            "{{ x | to_nice_yaml }}",
            "the template can't be evaluated: unknown filter: filter to_nice_yaml is unknown",
        );
        check(
            "x: 1",
            "{% for a in range(9000) %}{% for b in range(9000) %}{% endfor %}{% endfor %}",
            "the template can't be evaluated: engine ran out of fuel",
        );
    }
}
