//! Patterns beyond what Ansible is asked in `oracle`: what is wrong with them, and what takes long.

use expect_test::{Expect, expect};

use super::lab::Lab;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("hosts", "[web]\nweb[1:3]\n[db]\ndb1\n").write("limit", "web1\r\nweb2\n");
    lab
}

#[test]
fn a_pattern_that_does_not_read_is_named_with_a_remedy() {
    let check = |pattern: &str, limit, problem: Expect| {
        problem.assert_eq(&lab().hosts(&["hosts"], pattern, limit).unwrap_err().render());
    };
    check(
        "~web(",
        None,
        expect![[r#"
            host pattern `~web(` is no regular expression: opening parenthesis without closing parenthesis
             = help: what follows `~` is a regular expression of Python's
        "#]],
    );
    check(
        r"~(a\g0)b\g0)*+\",
        None,
        expect![[r#"
            host pattern `~(a\g0)b\g0)*+\` is no regular expression: bad escape \g
             = help: what follows `~` is a regular expression of Python's
        "#]],
    );
    check(
        "~(?(9)~()(x)D()~+#.)a$",
        None,
        expect![[r#"
            host pattern `~(?(9)~()(x)D()~+#.)a$` is no regular expression: invalid group reference 9
             = help: what follows `~` is a regular expression of Python's
        "#]],
    );
    check(
        "~(w)(?(+9)eb|x)",
        None,
        expect![[r#"
            host pattern `~(w)(?(+9)eb|x)` is no regular expression: bad character in group name '+9'
             = help: what follows `~` is a regular expression of Python's
        "#]],
    );
    check(
        "web[7]",
        None,
        expect![[r#"
        no host is at the subscript of pattern `web[7]`
         = help: subscripts count from 0, and from -1 at the end
    "#]],
    );
    check(
        "web:!",
        None,
        expect![[r#"
        a host pattern is nothing but `!` or `&`
         = help: write what is meant after it, as in `!db`
    "#]],
    );
    check(
        "all",
        Some("@nowhere"),
        expect![[r#"
        nowhere: there is no such file of limits
         = help: name a file with a pattern on each line after the @
    "#]],
    );
}

#[test]
fn a_regular_expression_that_takes_too_long_is_given_up() {
    let lab = Lab::new();
    lab.write("hosts", "w".repeat(60) + "x\n");
    let problem = lab.hosts(&["hosts"], "~(w+w+)+\\1$", None).unwrap_err();
    expect![[r#"
        host pattern `~(w+w+)+\1$` takes too long to match `wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwx`
         = help: write it without nested repetitions
    "#]].assert_eq(&problem.render());
}

#[test]
fn a_condition_asks_for_a_group_that_is_there() {
    assert_eq!(lab().hosts(&["hosts"], r"~(w)?(?(1)eb1|db)", None).unwrap(), ["db1", "web1"]);
    assert_eq!(lab().hosts(&["hosts"], r"~web\(?(1)?", None).unwrap(), ["web1", "web2", "web3"]);
}

#[test]
fn a_limit_takes_away_and_never_adds() {
    let hosts = |pattern: &str, limit: &str| lab().hosts(&["hosts"], pattern, Some(limit)).unwrap().join(" ");
    assert_eq!(hosts("web", "@limit"), "web1 web2");
    assert_eq!(hosts("web", "@limit:!web1"), "web2");
    assert_eq!(hosts("web", "db"), "");
    assert_eq!(hosts("localhost", "localhost"), "localhost");
}

#[test]
fn what_matches_nothing_is_told() {
    let lab = lab();
    let chosen =
        super::lab::block_on(Lab::choose(&lab.session(), &["hosts"], &["web1:nobody"], None)).unwrap();
    assert_eq!((chosen.hosts, chosen.unmatched), (vec!["web1".into()], vec!["nobody".into()]));
}

#[test]
fn several_texts_of_a_play_are_joined_before_modifiers_are_applied() {
    let lab = lab();
    let chosen = super::lab::block_on(Lab::choose(&lab.session(), &["hosts"], &["!web2", "web", "db"], None));
    assert_eq!(chosen.unwrap().hosts.join(" "), "web1 web3 db1");
}

#[test]
fn hosts_of_groups_below_groups_come_level_by_level_as_they_were_written() {
    let lab = Lab::new();
    let groups = "[top:children]\nm1\nm2\n[m1:children]\nx1\nx2\n[m2:children]\nx2\ny1\n[x1]\nhx1\n";
    lab.write("hosts", format!("{groups}[x2]\nhx2\n[y1]\nhy1\n[m1]\nhm1\n[m2]\nhm2\nhx1\n"));
    assert_eq!(lab.hosts(&["hosts"], "top", None).unwrap().join(" "), "hm1 hm2 hx1 hx2 hy1");
}
