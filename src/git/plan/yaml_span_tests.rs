//! Tests of the YAML editor: every byte outside of the value stays.

use std::fmt::Write as _;

use super::*;
use crate::git::plan::values::Step;
use proptest::prelude::*;
use serde_json::json;

const IMAGE: [Step; 0] = [];

fn path(text: &str) -> FieldPath {
    let mut steps = IMAGE.to_vec();
    for part in text.split('.') {
        steps.push(match part.parse::<usize>() {
            Ok(at) => Step::Index(at),
            Err(_) => Step::Key(part.to_owned()),
        });
    }
    FieldPath(steps)
}

fn change(
    text: &str,
    document: usize,
    at: &str,
    from: Value,
    to: Value,
) -> Result<String, EditRefused> {
    edit(text, &[Edit { document, path: path(at), from, to, written_as: None }])
}

#[test]
fn a_value_is_replaced_and_comments_spacing_and_quotes_stay() {
    let text = "# head\nspec:   # why\n    image:   'web:1'   # keep me\n\n    other: \"x\"\n";
    let after = change(text, 0, "spec.image", json!("web:1"), json!("web:2")).unwrap();
    assert_eq!(after, text.replace("'web:1'", "'web:2'"));
}

#[test]
fn crlf_bom_and_other_documents_stay_byte_identical() {
    let text =
        "\u{feff}a: 1\r\n---\r\nspec:\r\n  image: wéb:1 # ü\r\n  x: y\r\n--- \r\nimage: web:1\r\n";
    let after = change(text, 1, "spec.image", json!("wéb:1"), json!("wéb:2")).unwrap();
    assert_eq!(after, text.replace("wéb:1", "wéb:2"));
}

#[test]
fn a_file_without_a_last_line_break_keeps_that() {
    let after = change("a: b\n---\nimage: web:1", 1, "image", json!("web:1"), json!("web:2"));
    assert_eq!(after.unwrap(), "a: b\n---\nimage: web:2");
    assert_eq!(
        change("--- {image: a}", 0, "image", json!("a"), json!("b")).unwrap(),
        "--- {image: b}"
    );
}

#[test]
fn a_string_that_would_be_read_as_something_else_gets_quotes() {
    for (to, written) in [
        (json!("1.10"), "\"1.10\""),
        (json!("yes"), "\"yes\""),
        (json!("0644"), "\"0644\""),
        (json!("a: b"), "\"a: b\""),
        (json!("a #b"), "\"a #b\""),
        (json!(""), "\"\""),
        (json!("*x"), "\"*x\""),
        (json!("two\nlines"), "\"two\\nlines\""),
        (json!(3), "3"),
        (json!(true), "true"),
        (json!("v2"), "v2"),
    ] {
        let after = change("tag: v1 # c\n", 0, "tag", json!("v1"), to).unwrap();
        assert_eq!(after, format!("tag: {written} # c\n"));
    }
    let flow = change("{tag: v1, b: 2}\n", 0, "tag", json!("v1"), json!("a, c: d")).unwrap();
    assert_eq!(flow, "{tag: \"a, c: d\", b: 2}\n");
}

#[test]
fn the_way_in_which_the_stable_value_was_written_is_preferred() {
    let one = Edit {
        document: 0,
        path: path("tag"),
        from: json!("1.9"),
        to: json!("1.10"),
        written_as: Some("'1.10'".into()),
    };
    assert_eq!(edit("tag: \"1.9\"\n", &[one]).unwrap(), "tag: '1.10'\n");
}

#[test]
fn json_files_are_edited_like_yaml() {
    let text = "{\n\t\"spec\": {\"image\": \"web:1\",\n  \"n\": 1}}\n";
    let after = change(text, 0, "spec.image", json!("web:1"), json!("web:2")).unwrap();
    assert_eq!(after, text.replace("web:1", "web:2"));
}

#[test]
fn shared_tagged_block_and_multi_line_values_are_refused() {
    for (text, at, from) in [
        ("a: &x web\nb: *x\n", "a", json!("web")),
        ("a: &x web\nb: *x\n", "b", json!("web")),
        ("a: &x {i: web}\nb: *x\n", "a.i", json!("web")),
        ("base: &x {i: web}\nb:\n  <<: *x\n", "b.i", json!("web")),
        ("a: !!str web\n", "a", json!("web")),
        ("a: |\n  web\n", "a", json!("web\n")),
        ("a: web\n  site\n", "a", json!("web site")),
        ("a: \"web\n  site\"\n", "a", json!("web site")),
        ("a: web\n", "b", json!("web")),
        ("a: web\n", "a", json!("other")),
        ("a:\n", "a", json!(null)),
        ("a: [web]\n", "a", json!(["web"])),
    ] {
        assert!(change(text, 0, at, from, json!("new")).is_err(), "{text}");
    }
}

#[test]
fn texts_that_no_manifest_needs_are_unreadable() {
    for text in [
        "a: 1\na: 2\n",
        "? [a, b]\n: c\n",
        "a: !private x\n",
        "a: *nowhere\n",
        "a: [\n",
        "a:\tb: c\n  - d\n",
        "yes: 1\n",
        "a: &x 1\n---\nb: *x\n",
    ] {
        assert!(YamlText::parse(text).is_err(), "{text:?}");
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert!(YamlText::parse(&deep).is_err());
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..10 {
        let prev = n - 1;
        let _ = writeln!(bomb, "a{n}: &a{n} [{}]", vec![format!("*a{prev}"); 10].join(", "));
    }
    assert!(YamlText::parse(&bomb).is_err());
}

#[test]
fn aliases_and_merge_keys_are_understood_when_reading() {
    let text = "x: &x {a: 1, b: 2}\nw:\n  <<: *x\n  b: 3\nz: *x\n";
    let yaml = YamlText::parse(text).unwrap();
    let value = yaml.values().next().unwrap();
    assert_eq!(value["w"], json!({"a": 1, "b": 3}));
    assert_eq!(value["z"], json!({"a": 1, "b": 2}));
}

/// Text of a document in one of many styles, with a hole for the value.
fn document() -> impl Strategy<Value = (String, String)> {
    let comment =
        prop_oneof![Just(""), Just(" # c: 'x'"), Just("  #\t\"tab\" &a *b"), Just("\t# ü")];
    let scalar = prop_oneof![
        Just("web:1".to_owned()),
        Just("'we''b:1'".to_owned()),
        Just("\"w\\u00e9b\\t:1\"".to_owned()),
        Just("r.example:5000/wéb@sha256:abc".to_owned()),
        Just("3".to_owned()),
        Just("0644".to_owned()),
        Just("!!str 5".to_owned()),
        Just("&anchor web".to_owned()),
        Just("|-\n          block".to_owned()),
        "[a-z0-9:./@'#\" -]{1,12}",
    ];
    let indent = prop_oneof![Just("  "), Just("    "), Just(" "), Just("   ")];
    let before = prop_oneof![
        Just(String::new()),
        Just("# head\n\n".to_owned()),
        Just("a: &anch [x, 'y']\nb: *anch\n".to_owned()),
        Just("text: |\n  image: web:1\n\n  # not a comment\n".to_owned()),
        Just("fold: >-\n    a\n    b\nq: \"a\n  b\"\n".to_owned()),
    ];
    let seq_indent = any::<bool>();
    (before, indent, scalar, comment, seq_indent, any::<bool>()).prop_map(
        |(before, indent, scalar, comment, seq_indent, flow)| {
            let text = if flow {
                format!("{before}spec: {{list: [{{name: x, image: {scalar} }}], z: 1}}{comment}\n")
            } else {
                let dash = if seq_indent { format!("{indent}{indent}") } else { indent.to_owned() };
                format!(
                    "{before}spec:{comment}\n{indent}list:\n{dash}- name: x\n{dash}  image: {scalar}{comment}\n{dash}  z: 1\n"
                )
            };
            (text, scalar)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// The law: an edit changes bytes inside of the old value only, or is refused.
    #[test]
    fn an_edit_keeps_every_other_byte_or_is_refused(
        docs in prop::collection::vec(document(), 1..4),
        which in 0usize..4,
        crlf in any::<bool>(),
        bom in any::<bool>(),
        trailing in any::<bool>(),
        to in prop_oneof!["[ -~é]{0,16}", Just("web:2".to_owned()), Just("1.10".to_owned())],
    ) {
        let mut text = docs.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>().join("---\n");
        if !trailing { text = text.trim_end().to_owned(); }
        if crlf { text = text.replace('\n', "\r\n"); }
        if bom { text.insert(0, '\u{feff}'); }
        let document = which % docs.len();
        let at = path("spec.list.0.image");
        let Ok(before) = YamlText::parse(&text) else { return Ok(()) };
        prop_assume!(before.documents.len() == docs.len());
        let values: Vec<Value> = before.values().cloned().collect();
        let Some(from) = at.find(&values[document]).cloned() else { return Ok(()) };
        let one = Edit { document, path: at.clone(), from, to: json!(to), written_as: None };
        if let Ok(after) = edit(&text, &[one]) {
            // Bytes outside of the value.
            let old = docs[document].1.clone();
            let prefix = text.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
            let suffix = text.bytes().rev().zip(after.bytes().rev()).take_while(|(a, b)| a == b).count();
            let touched = text.len().saturating_sub(prefix + suffix);
            prop_assert!(touched <= old.trim().len(), "touched {touched} bytes of {old:?}\n{text}\n{after}");
            // Meaning, by a second, unrelated parser.
            let other: Vec<Value> = serde_norway::Deserializer::from_str(after.trim_start_matches('\u{feff}'))
                .map_while(|d| <Value as serde::Deserialize>::deserialize(d).ok())
                .collect();
            if other.len() == docs.len() {
                prop_assert_eq!(at.find(&other[document]).and_then(Value::as_str), Some(to.as_str()));
            }
            // And back again gives the same meaning.
            let parsed = YamlText::parse(&after).unwrap();
            let mut wanted = values;
            *at.find_mut(&mut wanted[document]).unwrap() = json!(to);
            prop_assert_eq!(parsed.values().cloned().collect::<Vec<_>>(), wanted);
        }
    }

    /// Whatever the bytes, reading ends and does not bring the process down.
    #[test]
    fn any_text_is_read_or_refused(text in "[\\x00-\\x7fé\u{feff}]{0,200}") {
        let _ = YamlText::parse(&text);
    }

    #[test]
    fn yaml_like_text_is_read_or_refused(text in "([a-c]: |- |\\[|\\]|\\{|\\}|&a |\\*a|\\||>|'|\"|#|\n|\n  |---\n|!!str |\\? |, |%YAML 1.2\n|\t|\r\n){0,40}") {
        let _ = YamlText::parse(&text);
    }
}
