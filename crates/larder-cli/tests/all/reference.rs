//! `docs/config.md` says of each setting what the code says.

use larder::config::{Layers, Places, Profile, SETTINGS};

const REFERENCE: &str = include_str!("../../../../docs/config.md");

fn values(profile: Profile) -> Vec<(String, String)> {
    let places = Places { default_dir: Some("/dir".into()), home: None, current_dir: "/".into() };
    let mut layers = Layers::new(places);
    layers.flag("--set", "profile", profile.as_str());
    layers.resolve().unwrap().rows().into_iter().map(|row| (row.name, row.value)).collect()
}

/// The rows have to stand in the reference as one table; if not, the whole table is shown, ready to be pasted.
fn check(rows: &[String]) {
    let table = rows.concat();
    assert!(REFERENCE.contains(&table), "docs/config.md lacks this table:\n{table}");
}

#[test]
fn the_reference_has_each_setting_with_its_default() {
    let defaults = values(Profile::Development);
    let mut rows = vec!["| setting | default | values | what it does |\n|---|---|---|---|\n".to_owned()];
    for setting in SETTINGS {
        let default = defaults.iter().find(|(name, _)| name == setting.name);
        let default = match default.map(|(_, value)| value.as_str()) {
            Some("/dir") => "the platform's cache directory".to_owned(),
            Some(value) => format!("`{value}`"),
            None => "none".to_owned(),
        };
        rows.push(format!("| `{}` | {default} | {} | {} |\n", setting.name, setting.values, setting.about));
    }
    check(&rows);
}

#[test]
fn the_reference_has_what_each_profile_changes() {
    let [development, production, ci] = [Profile::Development, Profile::Production, Profile::Ci].map(values);
    let mut rows = vec!["| setting | development | production | ci |\n|---|---|---|---|\n".to_owned()];
    for (n, (name, value)) in development.iter().enumerate() {
        let (production, ci) = (&production[n].1, &ci[n].1);
        if name != "profile" && (value != production || value != ci) {
            rows.push(format!("| `{name}` | {value} | {production} | {ci} |\n"));
        }
    }
    check(&rows);
}
